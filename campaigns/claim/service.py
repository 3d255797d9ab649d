"""What became of a claim: its hot state, and whether its order is committed.

`ordered` is true only when PostgreSQL has the row. SQL is asked unless the hot store itself says
that the claim's event is not settled yet. A claim that went down with the hot store is said to
be lost, once as an incident for us and to everybody who asks.
"""

import asyncio
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.claim.schemas import CancelOut, ClaimView
from campaigns.order.models import Order
from engine import keys
from engine.db import Database
from engine.errors import Conflict, Gone, Missing, Unavailable
from engine.ids import ClaimId, parse_claim_id
from engine.incidents import record_incident
from engine.inventory import Inventory
from engine.models import ShardEpoch
from engine.shards import reopening
from engine.tokens import Access


class _Hot(NamedTuple):
    """What the hot store says. `open`: its shard takes commands, so what is not there, is not."""

    claim: dict[str, str]
    open: bool
    unsettled: bool


def missing_claim() -> Missing:
    """No such claim, or someone else's."""
    return Missing("claim_not_found", "There is no such claim.", "Look at your orders.")


async def view_claim(db: Database, inventory: Inventory, who: Access, claim_id: str) -> ClaimView:
    """The claim as `who` may see it.

    Raises Missing `claim_not_found`, Gone `claim_lost`, Unavailable `reopening`.
    """
    parsed = _parsed(claim_id)
    hot = await _read_hot(inventory, parsed, claim_id)
    if hot.claim and not _may_see(who, hot.claim["buyer_id"]):
        raise missing_claim()
    if hot.claim and hot.unsettled:
        return _from_hot(claim_id, hot.claim, None)
    async with db.begin() as session:
        lost = await _is_lost(session, parsed)
        order = await session.scalar(select(Order).where(Order.claim_id == claim_id))
    if order is not None and not _may_see(who, order.buyer_id):
        raise missing_claim()
    if hot.claim:
        return _from_hot(claim_id, hot.claim, order)
    if order is not None:
        return _from_order(order)
    if lost:
        async with db.begin() as session:
            await record_incident(
                session,
                cause=f"claim_lost:{parsed.shard}:{parsed.epoch}",  # once per epoch
                kind="claim_lost",
                shard=parsed.shard,
                detail={"epoch": parsed.epoch, "first_claim_id": claim_id},
            )
        raise Gone(
            "claim_lost",
            "This claim was lost with the hot store.",
            "It was not paid, and nothing was charged. Please claim again with a new key.",
        )
    if not hot.open:
        raise reopening()
    raise missing_claim()


async def cancel_claim(db: Database, inventory: Inventory, who: Access, claim_id: str) -> CancelOut:
    """Let a held claim go; a repeat answers the same.

    Raises Conflict `claim_not_held` when it is being paid, or paid; else as `view_claim`.
    """
    seen = await view_claim(db, inventory, who, claim_id)
    if seen.state == "released":
        return CancelOut(claim_id, "released")
    shard = _parsed(claim_id).shard
    reply = await inventory.release(shard, claim_id, attempt_id="", why="cancelled")
    if reply.what == "reopening":
        raise reopening()
    if reply.what == "released":
        return CancelOut(claim_id, "released")
    if reply.what == "unknown":
        raise missing_claim()
    raise Conflict(
        "claim_not_held",
        "This claim can no longer be cancelled.",
        "It is being paid or was paid. A payment that is not made lapses by itself; a paid order "
        "can be refunded.",
        state=reply.what,
    )


def _parsed(claim_id: str) -> ClaimId:
    parsed = parse_claim_id(claim_id)
    if parsed is None:
        raise missing_claim()
    return parsed


def _may_see(who: Access, buyer_id: str) -> bool:
    return who.role == "hq" or who.subject == buyer_id


async def _read_hot(inventory: Inventory, parsed: ClaimId, claim_id: str) -> _Hot:
    try:
        claim, meta = await asyncio.gather(
            inventory.claim_state(parsed.shard, claim_id),
            inventory.hash_of(keys.meta(parsed.shard)),
        )
        is_open = (
            meta.get("sealed") == ""
            and meta["run_id"] == inventory.wire.run_id
            and int(meta["epoch"]) == inventory.epochs.of(parsed.shard)
        )
    except Unavailable:
        return _Hot({}, False, False)
    unsettled = (
        bool(claim)
        and claim["epoch"] == meta.get("epoch")
        and int(claim["seq"]) > int(meta["settled_seq"])
    )
    return _Hot(claim, is_open, unsettled)


async def _is_lost(session: AsyncSession, parsed: ClaimId) -> bool:
    """Whether the claim's epoch is closed and its seq lies above what was settled of it.

    Read before the order: an epoch is closed only after its last order is committed.
    """
    last_seq = await session.scalar(
        select(ShardEpoch.last_seq).where(
            ShardEpoch.shard == parsed.shard, ShardEpoch.epoch == parsed.epoch
        )
    )
    return last_seq is not None and parsed.seq > last_seq


def _from_hot(claim_id: str, claim: dict[str, str], order: Order | None) -> ClaimView:
    units = int(claim["units"])
    term = claim.get("pay_expires_at_ms")
    return ClaimView(
        claim_id=claim_id,
        state=claim["state"],
        ordered=order is not None,
        order_id=order.id if order else None,
        offer_id=claim["offer_id"],
        qty=order.qty if order else units,
        units=units,
        price_fen=int(claim["price_fen"]),
        expires_at_ms=int(claim["expires_at_ms"]),
        pay_expires_at_ms=int(term) if term else None,
        order_state=order.state if order else None,
        reason=(order.reason or None) if order else None,
        team_id=claim.get("team_id"),
    )


def _from_order(order: Order) -> ClaimView:
    return ClaimView(
        claim_id=order.claim_id,
        state=order.claim_state,
        ordered=True,
        order_id=order.id,
        offer_id=order.offer_id,
        qty=order.qty,
        units=order.units,
        price_fen=order.unit_price_fen,
        expires_at_ms=order.expires_at_ms,
        pay_expires_at_ms=order.pay_expires_at_ms,
        order_state=order.state,
        reason=order.reason or None,
        team_id=order.team_id,
    )
