"""Seats for settler tests: teams that are opened, joined, paid and decided as in life."""

from typing import Any

from campaigns.offer.models import Offer, OfferCommand
from campaigns.offer.service import apply_offer_command
from campaigns.team.models import TeamCommand
from engine import keys
from engine.ids import new_id, now_ms
from engine.inventory import Reply
from engine.offers import TeamRules
from tests.workers.acts import begin_paying, confirm
from tests.workers.stage import Stage

Steps = tuple[tuple[int, str, int], ...]
HOUR_MS = 3_600_000
WIDE = {"per_order_max": 9, "per_buyer_max": 9, "per_campaign_max": 9}


async def team_offer(
    stage: Stage,
    total: int = 9,
    *,
    late: str = "new",
    on_cancel: str = "finish",
    **changes: Any,
) -> Offer:
    """An open offer of teams of three; `changes` are fields of its TeamRules."""
    fields = {"size": 3, "seat_qty": 1, "term_ms": HOUR_MS, "closing_max_ms": HOUR_MS, **changes}
    rules = TeamRules(**fields)
    return await stage.offer(total, kind="team", late=late, team=rules, on_cancel=on_cancel, **WIDE)


async def crowd_offer(
    stage: Stage,
    total: int = 9,
    *,
    charging: str = "low",
    steps: Steps | None = None,
    on_cancel: str = "finish",
) -> Offer:
    """An open crowd: from two paid seats on 990 fen hold, from four 900; `regular` costs 990."""
    rules = TeamRules(
        size=0,
        seat_qty=0,
        term_ms=0,
        closing_max_ms=0,
        crowd_id=new_id("tem-c"),
        steps=steps or ((2, "p1" if charging == "low" else "p2", 990), (4, "p3", 900)),
        charging=charging,
    )
    return await stage.offer(
        total, kind="crowd", late="seat", team=rules, on_cancel=on_cancel, **WIDE
    )


def crowd_of(offer: Offer) -> str:
    """The id of a crowd offer's only team."""
    return str(offer.config["team"]["crowd_id"])


async def sits(stage: Stage, offer: Offer, buyer: str, team_id: str = "", **more: Any) -> str:
    """A held seat; its claim."""
    reply = await stage.seat(offer, buyer, team_id, **more)
    assert reply.what == "held", reply
    return reply.details[0]


async def team_of(stage: Stage, offer: Offer, claim_id: str) -> str:
    """The team that the claim names now."""
    return (await stage.inventory.claim_state(offer.shard, claim_id))["team_id"]


async def pays(stage: Stage, offer: Offer, claim_id: str, *, qty: int = 1) -> tuple[str, Reply]:
    """Paying and paid, whatever comes of it; the fact's id."""
    attempt_id = await begin_paying(stage, offer, claim_id, qty=qty)
    return await confirm(stage, offer, claim_id, attempt_id, qty=qty)


async def opened(stage: Stage, offer: Offer, buyer: str, **more: Any) -> tuple[str, str]:
    """(team, claim) of a team whose captain has paid."""
    claim_id = await sits(stage, offer, buyer, **more)
    await pays(stage, offer, claim_id)
    return await team_of(stage, offer, claim_id), claim_id


async def joined(stage: Stage, offer: Offer, buyer: str, team_id: str, **more: Any) -> str:
    """A paid seat; its claim."""
    claim_id = await sits(stage, offer, buyer, team_id, **more)
    await pays(stage, offer, claim_id, qty=int(more.get("qty", 1)))
    return claim_id


async def deadline_passes(stage: Stage, offer: Offer, team_id: str) -> None:
    """The team's deadline was a moment ago, in both stores; its held seats are swept."""
    await stage.settle()
    call, groups, past = stage.wire.call, keys.groups(offer.shard), now_ms() - 1
    await call("HSET", groups + team_id, "deadline_ms", past)
    await call("ZADD", groups + "deadlines", "XX", past, team_id)
    await call("ZADD", f"{groups}joinable:{offer.id}", "XX", past, team_id)
    await stage.run("UPDATE teams SET deadline_ms = :at WHERE id = :id", at=past, id=team_id)
    for claim_id in (await stage.teams.seats(offer.shard, team_id)).values():
        await call("ZADD", keys.deadlines(offer.shard), "XX", past, claim_id)
    await stage.inventory.sweep(offer.shard, 1_000)


async def decided(stage: Stage, offer: Offer, team_id: str) -> str:
    """Close and decide a team whose deadline passes now; what became of it, settled."""
    await deadline_passes(stage, offer, team_id)
    await stage.teams.close(offer.shard, 100, again_ms=0)
    reply = await stage.teams.decide(offer.shard, team_id)
    await stage.settle()
    return reply.what


async def subsidised(
    stage: Stage, offer: Offer, team_id: str, *, seats: int = 1, honour: bool = False
) -> Reply:
    """Command row and script; the team must be settled. `honour`: the first one of its team."""
    command = TeamCommand(
        id=f"tcm-honour-{team_id}-0" if honour else new_id("cmd"),
        team_id=team_id,
        offer_id=offer.id,
        shard=offer.shard,
        kind="honour" if honour else "subsidise",
        seats=seats,
        amount_fen=990 * seats,
        reason="",
        actor="hq",
        created_at_ms=now_ms(),
    )
    async with stage.db.begin() as session:
        session.add(command)
    return await stage.teams.subsidise(
        offer.shard, team_id, command_id=command.id, seats=seats, honour=honour
    )


async def cancelled(stage: Stage, offer: Offer, *, runs: bool = True) -> str:
    """The row of a cancellation, and its script if it `runs`; the command's id."""
    command = OfferCommand(
        id=f"cancel-{offer.id}",
        offer_id=offer.id,
        shard=offer.shard,
        kind="cancel",
        units=0,
        reason="recalled",
        actor="hq",
        created_at_ms=now_ms(),
    )
    async with stage.db.begin() as session:
        session.add(command)
    if runs:
        await apply_offer_command(stage.db, stage.inventory, command.id)
    return command.id
