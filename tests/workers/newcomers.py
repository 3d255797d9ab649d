"""New customers for settler tests: offers on two shards, claims by their right, what came of it."""

import asyncio
from typing import Any

from campaigns.offer.models import Offer
from campaigns.payment.begin import begin_payment
from campaigns.refund.models import Refund
from engine.db import Database
from engine.inventory import Reply
from engine.stream import look
from tests.workers.acts import pay
from tests.workers.laws import rows
from tests.workers.seats import WIDE
from tests.workers.stage import Stage
from workers.loop import Parts
from workers.repeats import Repeats
from workers.settle import positions
from workers.settle.batch import settle_batch

Offers = tuple[Offer, Offer]
STANDS = ("paid", "")
LOST = ("refunding", "not_new")


async def offers(stage: Stage, **changes: Any) -> Offers:
    """One offer for new customers on each of the two shards."""
    found: dict[int, Offer] = {}
    while len(found) < 2:
        offer = await stage.offer(50, audience="new", **{**WIDE, **changes})
        found.setdefault(offer.shard, offer)
    return found[0], found[1]


async def claimed(stage: Stage, offer: Offer, buyer: str = "b1", *, qty: int = 1) -> str:
    """A held claim by the right of a new customer."""
    reply: Reply = await stage.inventory.claim(
        offer.shard,
        offer_id=offer.id,
        campaign_id=offer.campaign_id,
        buyer_id=buyer,
        qty=qty,
        price_id="p1",
        key=f"new-{buyer}",
        body_hash=f"h{qty}",
        traits="n",
    )
    assert reply.what == "held", reply
    return reply.details[0]


async def bought(stage: Stage, offer: Offer, buyer: str = "b1", *, qty: int = 1) -> str:
    """A paid claim by the right of a new customer; a moment goes by."""
    claim_id = await claimed(stage, offer, buyer, qty=qty)
    await pay(stage, offer, claim_id, qty=qty)
    await asyncio.sleep(0.002)
    return claim_id


async def states(stage: Stage) -> dict[str, tuple[str, str]]:
    """claim → the order's state and reason."""
    found = await rows(stage, "SELECT claim_id, state, reason FROM orders")
    return {row["claim_id"]: (row["state"], row["reason"]) for row in found}


async def refunds(stage: Stage) -> list[tuple[Any, ...]]:
    """(claim, shard, cause, fen, units) of every intent."""
    found = await rows(
        stage, "SELECT claim_id, shard, cause, amount_fen, units FROM refunds ORDER BY claim_id"
    )
    return [tuple(row.values()) for row in found]


async def settle_one(stage: Stage, shard: int, db: Database | None = None) -> None:
    """Settle what one shard has, and no other's."""
    async with stage.db.begin() as session:
        position = await positions.read(session, shard)
    assert position is not None
    seen = await look(stage.wire, shard, position.epoch, position.seq, 500)
    await settle_batch(db or stage.db, position, seen.entries)
    await stage.inventory.settled(shard, position.seq, epoch=position.epoch)


async def repeats(stage: Stage) -> None:
    """A worker's turn of the repeats, settled."""
    nobody: Any = None
    parts = Parts(stage.db, stage.inventory, nobody, "sandbox", stage.settings)
    await Repeats(parts).run_once()
    await stage.settle()


async def begin(stage: Stage, claim_id: str) -> None:
    """The buyer asks to pay."""
    nobody: Any = None
    await begin_payment(
        stage.db, stage.inventory, nobody, stage.settings, claim_id=claim_id, buyer_id="b1"
    )


async def done(stage: Stage, offer: Offer, claim_id: str) -> None:
    """The provider has done the loser's refund: rows and units as the worker leaves them."""
    async with stage.db.begin() as session:
        refund = (
            await rows(stage, "SELECT id, units FROM refunds WHERE claim_id = :c", c=claim_id)
        )[0]
        row = await session.get_one(Refund, refund["id"])
        row.state, row.done_at_ms = "done", row.created_at_ms
    await stage.run(
        "UPDATE orders SET refunded_fen = paid_fen, state = 'refunded' WHERE claim_id = :c",
        c=claim_id,
    )
    reply = await stage.inventory.give_back(
        offer.shard, claim_id, units=refund["units"], refund_id=refund["id"]
    )
    assert reply.what == "returned", reply
