"""A team for its page, and a buyer's own teams. Nobody's id is shown, only nicknames."""

import asyncio

from sqlalchemy import Row, select, tuple_

from campaigns.campaign.cancel_words import team_says as cancel_says
from campaigns.catalog import Catalog, Listed
from campaigns.offer.groups import crowd_terms, price_now, team_terms
from campaigns.offer.landing import guarantee_says, late_says
from campaigns.offer.models import Offer
from campaigns.order.models import Order
from campaigns.team.hot import TeamNow, from_hot, missing_team, read_team
from campaigns.team.models import UNDECIDED, Team
from campaigns.team.people import nicknames
from campaigns.team.schemas import Member, MyTeam, MyTeams, TeamView
from engine import keys
from engine.db import Database
from engine.errors import Unavailable
from engine.ids import now_ms
from engine.teams import Teams
from engine.tokens import Access

__all__ = ["missing_team", "my_teams", "view_team"]


async def view_team(
    db: Database, teams: Teams, catalog: Catalog, who: Access, team_id: str
) -> TeamView:
    """One team; Missing `team_not_found`, Unavailable `reopening`."""
    team, listed = await read_team(db, teams, catalog, team_id)
    rules = listed.config.team
    assert rules is not None
    crowd = await crowd_terms(db, teams, listed) if team.kind == "crowd" else None
    about = team_terms(listed.config)
    price_id, price_fen = price_now(listed.config, crowd, now_ms())
    offer = await _offer_now(teams, listed)
    async with db.begin() as session:
        names = await nicknames(session, {*team.seats, team.captain_id} - {""})
        state = offer.get("state") or (await session.get_one(Offer, listed.offer_id)).state
        settled = await session.get(Team, team_id)
    is_cancelled = state in ("cancelled", "finishing")
    return TeamView(
        team_id=team.team_id,
        offer_id=team.offer_id,
        kind=team.kind,
        state=team.shown(now_ms(), ends=state == "cancelled"),
        sku_id=listed.sku_id,
        sku_name=listed.sku_name,
        size=team.size or None,
        seat_qty=rules.seat_qty or None,
        paid=team.paid,
        pending=team.pending,
        subsidy=team.subsidy,
        seats_left=team.left if team.size else None,
        stock_for_missing=_has_stock(offer, listed, team),
        newcomers_only=rules.newcomers_only,
        captain=names.get(team.captain_id),
        members=_members(team, names, who),
        my_claim_id=await _my_claim(db, teams, listed.shard, team, who),
        price_id=price_id,
        price_fen=price_fen,
        ladder=crowd.ladder if crowd else (),
        deadline_ms=team.deadline_ms,
        server_time_ms=now_ms(),
        ready_after_days=listed.ready_after_days or 0,
        late_says=late_says(team.kind, listed.config.late),
        guarantee_says=guarantee_says(team.kind, listed.guaranteed),
        says=crowd.charging_says if crowd else about.says if about else "",
        why=settled.why if settled is not None else "",
        cancelled=is_cancelled,
        cancel_says=cancel_says(
            team.kind, listed.config.on_cancel, rules.charging, is_cancelled=is_cancelled
        ),
        live=team.live,
    )


def _members(team: TeamNow, names: dict[str, str], who: Access) -> tuple[Member, ...]:
    """The captain first, then those who have paid."""
    found = [
        Member(
            nickname=names[buyer_id],
            captain=buyer_id == team.captain_id,
            paid=paid,
            me=buyer_id == who.subject,
        )
        for buyer_id, paid in team.seats.items()
    ]
    return tuple(sorted(found, key=lambda one: (not one.captain, not one.paid, one.nickname)))


async def _offer_now(teams: Teams, listed: Listed) -> dict[str, str]:
    """The offer's hash; empty while the hot store is away."""
    try:
        return await teams.hash_of(keys.offers(listed.shard) + listed.offer_id)
    except Unavailable:
        return {}


def _has_stock(offer: dict[str, str], listed: Listed, team: TeamNow) -> bool:
    rules = listed.config.team
    assert rules is not None
    missing = team.left if team.size else 1
    return int(offer.get("available", 0)) >= missing * (rules.seat_qty or 1)


async def _my_claim(
    db: Database, teams: Teams, shard: int, team: TeamNow, who: Access
) -> str | None:
    if who.role != "customer":
        return None
    if team.live:
        return await teams.seat_of(shard, team.team_id, who.subject)
    mine = select(Order.claim_id).where(
        Order.team_id == team.team_id, Order.buyer_id == who.subject, Order.seat == "taken"
    )
    async with db.begin() as session:
        return await session.scalar(mine)


async def my_teams(
    db: Database, teams: Teams, catalog: Catalog, who: Access, *, limit: int, after: str | None
) -> MyTeams:
    """The asker's seats with their teams, newest first; `after` is the last order's id."""
    query = (
        select(Order, Team)
        .join(Team, Team.id == Order.team_id)
        .where(Order.buyer_id == who.subject)
        .order_by(Order.claimed_at_ms.desc(), Order.id.desc())
        .limit(limit + 1)
    )
    async with db.begin() as session:
        if after is not None:
            last = await session.get(Order, after)
            if last is None or last.buyer_id != who.subject:
                return MyTeams((), None)
            before = tuple_(Order.claimed_at_ms, Order.id) < tuple_(last.claimed_at_ms, last.id)
            query = query.where(before)
        found = (await session.execute(query)).all()
    page = await asyncio.gather(*(_my_team(teams, catalog, who, row) for row in found[:limit]))
    return MyTeams(tuple(page), page[-1].order_id if len(found) > limit else None)


async def _my_team(teams: Teams, catalog: Catalog, who: Access, row: "Row[Order, Team]") -> MyTeam:
    order, settled = row
    state, paid, subsidy = settled.state, settled.paid, settled.subsidy
    captain_id = settled.captain_id
    if settled.state in UNDECIDED:  # the hot store is ahead of what was settled
        try:
            hot = await teams.state(settled.shard, settled.id)
        except Unavailable:
            hot = {}
        if hot:
            now = from_hot(settled.id, hot)
            state, paid, subsidy = now.shown(now_ms()), now.paid, now.subsidy
            captain_id = now.captain_id
    return MyTeam(
        team_id=settled.id,
        offer_id=settled.offer_id,
        sku_name=(await catalog.find(settled.offer_id)).sku_name,
        kind=settled.kind,
        state=state,
        why=settled.why,
        size=settled.size or None,
        paid=paid,
        subsidy=subsidy,
        deadline_ms=settled.deadline_ms,
        captain=captain_id == who.subject,
        seat=order.seat,
        claim_id=order.claim_id,
        order_id=order.id,
        order_state=order.state,
        paid_fen=order.paid_fen,
        refunded_fen=order.refunded_fen,
    )
