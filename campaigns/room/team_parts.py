"""What rooms and teams' own topics say of teams, from the hot store."""

import msgspec

from engine import keys
from engine.errors import Unavailable
from engine.ids import now_ms
from engine.inventory import Inventory
from engine.offers import TeamRules
from engine.room_events import (
    CrowdNow,
    OfferTeams,
    Price,
    Step,
    TeamCard,
    TeamKindWord,
    TeamNow,
    TeamStateWord,
)


def team_card(rules: TeamRules) -> TeamCard:
    """A group buy's rules as its card shows them."""
    price = rules.captain_price
    return TeamCard(
        size=rules.size,
        seat_qty=rules.seat_qty,
        term_ms=rules.term_ms,
        newcomers_only=rules.newcomers_only,
        captain_price=None if price is None else Price(price[0], price[1], 0),
        steps=tuple(Step(*step) for step in rules.steps),
        charging=rules.charging,
    )


async def offer_teams(
    inventory: Inventory, shard: int, offer_id: str, fields: dict[str, str]
) -> OfferTeams | None:
    """Its open teams or its crowd; `fields` are the offer's hash. None for a sale without teams,
    or while the hot store is away."""
    if fields.get("kind") not in ("team", "crowd"):
        return None
    groups, crowd = keys.groups(shard), None
    try:
        joinable = await inventory.wire.call(
            "ZCOUNT", f"{groups}joinable:{offer_id}", now_ms(), "+inf"
        )
        if fields["crowd_id"]:
            crowd = _crowd(fields["crowd_id"], await inventory.hash_of(groups + fields["crowd_id"]))
    except Unavailable:
        return None
    return OfferTeams(at_ms=now_ms(), offer_id=offer_id, open_teams=joinable, crowd=crowd)


def _crowd(team_id: str, team: dict[str, str]) -> CrowdNow | None:
    if not team:
        return None
    return CrowdNow(
        team_id=team_id,
        state=msgspec.convert(team["state"], TeamStateWord),
        paid=int(team["paid"]),
        pending=int(team["held"]) + int(team["paying"]),
        step=int(team["step"]),
        deadline_ms=int(team["deadline_ms"]),
    )


async def team_now(inventory: Inventory, shard: int, team_id: str) -> TeamNow | None:
    """The team as it is; None when the hot store knows none of that id. Unavailable."""
    team = await inventory.hash_of(keys.groups(shard) + team_id)
    if not team:
        return None
    return TeamNow(
        at_ms=now_ms(),
        team_id=team_id,
        offer_id=team["offer_id"],
        team_kind=msgspec.convert(team["kind"], TeamKindWord),
        state=msgspec.convert(team["state"], TeamStateWord),
        size=int(team["size"]),
        paid=int(team["paid"]),
        pending=int(team["held"]) + int(team["paying"]),
        subsidy=int(team["subsidy"]),
        step=int(team["step"]),
        deadline_ms=int(team["deadline_ms"]),
    )
