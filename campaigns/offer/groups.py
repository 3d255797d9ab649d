"""A group buy's terms as buyers see them: its teams, or its crowd with how far it is.

A crowd's progress is the hot store's; while that is away, what was settled.
"""

from sqlalchemy import select

from campaigns.catalog import Listed
from campaigns.offer.landing import CHARGING, team_says
from campaigns.offer.schemas import CrowdTerms, LadderStep, TeamTerms
from campaigns.team.models import Team
from engine.db import Database
from engine.errors import Unavailable
from engine.offers import OfferConfig
from engine.teams import Teams


def team_terms(config: OfferConfig) -> TeamTerms | None:
    """The rules of the offer's teams; None when it has none."""
    rules = config.team
    if rules is None or not rules.size:
        return None
    captain = rules.captain_price
    return TeamTerms(
        size=rules.size,
        seat_qty=rules.seat_qty,
        term_ms=rules.term_ms,
        newcomers_only=rules.newcomers_only,
        captain_price_id=captain[0] if captain else None,
        captain_price_fen=captain[1] if captain else None,
        says=team_says(rules.size, rules.newcomers_only),
    )


async def crowd_terms(db: Database, teams: Teams, listed: Listed) -> CrowdTerms | None:
    """The offer's crowd as it is now; None when it has none."""
    rules = listed.config.team
    if rules is None or not rules.crowd_id:
        return None
    state, paid, step = await _progress(db, teams, listed.shard, rules.crowd_id)
    charging, says = CHARGING[rules.charging]
    low = rules.charging == "low"
    return CrowdTerms(
        team_id=rules.crowd_id,
        state=state,
        paid=paid,
        seat_qty=rules.seat_qty or None,
        ladder=tuple(
            [
                LadderStep(seats=seats, price_id=price_id, price_fen=fen, reached=number <= step)
                for number, (seats, price_id, fen) in enumerate(rules.steps, 1)
            ]
        ),
        charging=charging,
        charging_says=says,
        regular_price_fen=None if low else listed.config.prices[0][1],
    )


def price_now(config: OfferConfig, crowd: CrowdTerms | None, now_ms: int) -> tuple[str, int]:
    """(price_id, fen) that a claim or seat names now: by the clock, or by the crowd's step."""
    rules = config.team
    if crowd is not None and rules is not None and rules.charging == "low":
        reached = [step for step in crowd.ladder if step.reached]
        step = reached[-1] if reached else crowd.ladder[0]
        return step.price_id, step.price_fen
    begun = [price for price in config.prices if price[2] <= now_ms]
    price_id, fen, _ = max(begun, key=lambda price: price[2])
    return price_id, fen


async def _progress(
    db: Database, teams: Teams, shard: int, team_id: str
) -> tuple[str | None, int, int]:
    """(state, paid seats, step)."""
    try:
        hot = await teams.state(shard, team_id)
    except Unavailable:
        hot = {}
    if hot:
        return hot["state"], int(hot["paid"]), int(hot["step"])
    async with db.begin() as session:
        row = await session.scalar(select(Team).where(Team.id == team_id))
    return (row.state, row.paid, row.step) if row else (None, 0, 0)
