"""A team as it is now: from the hot store, else as it was settled.

What is shown of its people is resolved later, by nickname alone (people.py).
"""

import asyncio

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.catalog import Catalog, Listed
from campaigns.order.models import Order
from campaigns.team.models import Team
from engine import keys
from engine.db import Database
from engine.errors import Missing, Unavailable
from engine.ids import offer_of_crowd, shard_of_team
from engine.shards import reopening
from engine.teams import Teams

ID_CHARS_MAX = 80
_PAID = ("paid", "returned")
SEATS_SHOWN_MAX = 3  # a team's; a crowd's are only counted


class TeamNow(msgspec.Struct, kw_only=True):
    """Seats by state, and who sits there: buyer_id → whether they have paid. A crowd: nobody."""

    team_id: str
    offer_id: str
    kind: str
    state: str
    captain_id: str
    size: int
    paid: int
    pending: int
    subsidy: int
    step: int
    deadline_ms: int
    live: bool
    seats: dict[str, bool] = {}

    def shown(self, now_ms: int, *, ends: bool = False) -> str:
        """The state for people: past its deadline a team takes no one, whoever writes that when.

        `ends`: nor does one whose campaign was cancelled and does not let it finish.
        """
        undecided = self.state in ("opening", "forming", "reached")
        is_over = ends or now_ms >= self.deadline_ms
        return "closing" if undecided and is_over else self.state

    @property
    def left(self) -> int:
        """Free seats of a team of fixed size."""
        return max(0, self.size - self.paid - self.pending - self.subsidy)


def missing_team() -> Missing:
    """No such team."""
    return Missing("team_not_found", "There is no such team.", "Look at the open teams.")


def from_hot(team_id: str, hot: dict[str, str]) -> TeamNow:
    """A team's hash, without its people."""
    return TeamNow(
        team_id=team_id,
        offer_id=hot["offer_id"],
        kind=hot["kind"],
        state=hot["state"],
        captain_id=hot["captain_id"],
        size=int(hot["size"]),
        paid=int(hot["paid"]),
        pending=int(hot["held"]) + int(hot["paying"]),
        subsidy=int(hot["subsidy"]),
        step=int(hot["step"]),
        deadline_ms=int(hot["deadline_ms"]),
        live=True,
    )


async def read_team(
    db: Database, teams: Teams, catalog: Catalog, team_id: str
) -> tuple[TeamNow, Listed]:
    """The team with its people, and its offer.

    Missing `team_not_found`; Unavailable `reopening` while nobody can tell.
    """
    shard = await _shard(catalog, team_id)
    try:
        hot = await teams.state(shard, team_id)
        if hot:
            found = from_hot(team_id, hot)
            if found.kind == "team":
                found.seats = await _seats(teams, shard, team_id)
            return found, await catalog.find(found.offer_id)
        meta = await teams.hash_of(keys.meta(shard))
        is_open = meta.get("sealed") == ""
    except Unavailable:
        is_open = False
    async with db.begin() as session:
        settled = await _settled(session, team_id)
    if settled is None:
        # A shard that was never opened has no teams, and will not have this one.
        raise missing_team() if is_open or not teams.epochs.has(shard) else reopening()
    return settled, await catalog.find(settled.offer_id)


async def _shard(catalog: Catalog, team_id: str) -> int:
    if len(team_id) > ID_CHARS_MAX:
        raise missing_team()
    offer_id = offer_of_crowd(team_id)
    if offer_id is not None:
        try:
            return (await catalog.find(offer_id)).shard
        except Missing:
            raise missing_team() from None
    shard = shard_of_team(team_id)
    if shard is None:
        raise missing_team()
    return shard


async def _seats(teams: Teams, shard: int, team_id: str) -> dict[str, bool]:
    sits = await teams.seats(shard, team_id)
    claims = await asyncio.gather(
        *(teams.hash_of(keys.claims(shard) + claim_id) for claim_id in sits.values())
    )
    return {
        buyer_id: claim.get("state") in _PAID for buyer_id, claim in zip(sits, claims, strict=True)
    }


async def _settled(session: AsyncSession, team_id: str) -> TeamNow | None:
    row = await session.get(Team, team_id)
    if row is None:
        return None
    sits: dict[str, bool] = {}
    if row.kind == "team":
        orders = await session.execute(
            select(Order.buyer_id, Order.claim_state)
            .where(Order.team_id == team_id, Order.seat == "taken")
            .order_by(Order.claimed_at_ms)
            .limit(SEATS_SHOWN_MAX)
        )
        sits = {buyer_id: state in _PAID for buyer_id, state in orders}
    return TeamNow(
        team_id=row.id,
        offer_id=row.offer_id,
        kind=row.kind,
        state=row.state,
        captain_id=row.captain_id,
        size=row.size,
        paid=row.paid,
        pending=sum(not paid for paid in sits.values()),
        subsidy=row.subsidy,
        step=row.step,
        deadline_ms=row.deadline_ms,
        live=False,
        seats=sits,
    )
