"""HQ's side of the evening's group buys: their offers, the merchant's seats, what became of them.

The figures are read where they are decided: teams, orders and refunds from their rows, moves and
landings from the archive of events.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import text

from cli.demo.headquarters import CROWD_SKU, PAIR_SKU, TRIO_SKU, Headquarters
from cli.demo.plan import GroupOffer
from cli.demo.screen import Screen
from cli.demo.staff import Refused
from engine.db import Database
from engine.money import yuan
from engine.settings import Settings

LOOK_EVERY_S = 0.3

_TEAMS = text(
    "SELECT kind, state, count(*), sum(subsidy) FROM teams"
    " WHERE offer_id = ANY(CAST(:offers AS text[])) GROUP BY kind, state"
)
_CROWD = text(
    "SELECT t.state, t.step, t.paid, (f.config -> 'team' -> 'steps' -> (t.step - 1) ->> 2)::bigint"
    " FROM teams t JOIN offers f ON f.id = t.offer_id"
    " WHERE t.kind = 'crowd' AND t.offer_id = ANY(CAST(:offers AS text[]))"
)
_REFUNDS = text(
    "SELECT CASE WHEN r.cause LIKE 'after_sale:%' THEN 'after_sale'"
    "  WHEN r.cause IN ('team_failed', 'crowd_difference') THEN r.cause ELSE 'others' END AS why,"
    " sum(r.amount_fen)::bigint FROM refunds r JOIN orders o ON o.claim_id = r.claim_id"
    " WHERE o.offer_id = ANY(CAST(:offers AS text[])) AND r.state = 'done' GROUP BY why"
)
_BATCHES = text(
    "SELECT payload FROM event_batches b WHERE NOT orphaned AND shard IN"
    " (SELECT shard FROM offers WHERE id = ANY(CAST(:offers AS text[])))"
)
_payload = msgspec.msgpack.Decoder(list[tuple[int, dict[str, str]]])


class GroupFigures(msgspec.Struct, kw_only=True):
    """As `--json` writes them."""

    formed: int = 0  # teams
    failed: int = 0
    undecided: int = 0
    subsidised: int = 0  # seats that the merchant took
    rescued: int = 0  # members who were moved
    landed: dict[str, int] = {}  # late payments: seat, other, new
    crowd_state: str = ""
    crowd_step: int = 0
    crowd_seats: int = 0
    crowd_price_fen: int = 0
    refunded_fen: dict[str, int] = {}  # by cause

    @property
    def ended(self) -> bool:
        """Each team and the crowd are decided."""
        return not self.undecided and self.crowd_state in ("formed", "failed")


def group_offers_of(by_sku: Mapping[str, dict[str, Any]]) -> tuple[GroupOffer, ...]:
    """Teams of two, teams of three, the crowd: as their pages show them."""
    sizes = {PAIR_SKU: 2, TRIO_SKU: 3, CROWD_SKU: 0}
    return tuple(
        [
            GroupOffer(
                offer_id=by_sku[sku]["offer_id"],
                size=size,
                price_id=by_sku[sku]["price_ids"][0],
                captain_price_id=by_sku[sku].get("captain_price_id") or "",
            )
            for sku, size in sizes.items()
        ]
    )


async def ask_the_merchant(
    hq: Headquarters, asking: Callable[[], Sequence[str]], screen: Screen, *, most: int = 1
) -> None:
    """HQ takes a labelled seat in teams that hope for it; most others are left to fail."""
    asked: list[str] = []
    taken = 0
    while taken < most:
        await asyncio.sleep(LOOK_EVERY_S)
        for team_id in [one for one in asking() if one not in asked][: most - taken]:
            asked.append(team_id)
            try:
                await hq.subsidise(team_id)
                taken += 1
                screen.tell("the merchant took a labelled seat in a team that lacked one")
            except Refused:  # strangers filled it meanwhile, or its time is up: the next one
                continue


async def group_figures(settings: Settings, offers: Sequence[str]) -> GroupFigures:
    """What became of these offers' teams; read at rest."""
    figures, given = GroupFigures(), {"offers": list(offers)}
    db = Database(settings.database_url, pool_max=1)
    try:
        async with db.begin() as session:
            for kind, state, count, subsidy in await session.execute(_TEAMS, given):
                if kind == "team":
                    figures.subsidised += subsidy
                    word = state if state in ("formed", "failed") else "undecided"
                    setattr(figures, word, getattr(figures, word) + count)
            for state, step, seats, fen in await session.execute(_CROWD, given):
                figures.crowd_state, figures.crowd_step = state, step
                figures.crowd_seats, figures.crowd_price_fen = seats, fen or 0
            for why, fen in await session.execute(_REFUNDS, given):
                figures.refunded_fen[why] = fen
            heard = Counter[str]()
            rows = await session.stream_scalars(_BATCHES, given)
            async for payload in rows:
                heard.update(told(payload, frozenset(offers)))
    finally:
        await db.close()
    figures.rescued = heard.pop("moved", 0)
    figures.landed = dict(heard)
    return figures


def told(payload: bytes, offers: frozenset[str]) -> Iterable[str]:
    """`moved` for each rescue, and how each late payment landed."""
    for _, fields in _payload.decode(payload):
        if fields.get("offer_id") not in offers:
            continue
        if fields["kind"] == "team.seat_moved":
            yield "moved"
        elif fields["kind"] == "claim.paid" and fields.get("landed"):
            yield fields["landed"]


def group_lines(figures: GroupFigures) -> list[tuple[str, str]]:
    """A few lines for the summary."""
    landed = figures.landed
    back = figures.refunded_fen
    return [
        ("teams formed / failed", f"{figures.formed:,} / {figures.failed:,}"),
        ("members moved by a rescue", f"{figures.rescued:,}"),
        ("seats that the merchant took", f"{figures.subsidised:,}"),
        (
            "late payments: own seat / other team / new team",
            " / ".join(f"{landed.get(word, 0):,}" for word in ("seat", "other", "new")),
        ),
        (
            f"crowd {figures.crowd_state} at step {figures.crowd_step}",
            f"{figures.crowd_seats:,} seats at {yuan(figures.crowd_price_fen)}",
        ),
        ("refunded to members of failed teams", yuan(back.get("team_failed", 0))),
        ("refunded as the crowd's differences", yuan(back.get("crowd_difference", 0))),
    ]
