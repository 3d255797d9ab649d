"""After the provider said done: the refund is booked, and its units go back on sale.

Booking is one transaction that holds only for the lease under which the provider was asked.
The units follow by script; its event, settled, marks the refund applied, and until then the
repeats loop asks again.
"""

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.order.models import Order
from campaigns.refund.models import Refund
from engine.db import Database
from engine.ids import now_ms
from engine.inventory import Inventory
from engine.ledger.entries import Standing, refund_done
from engine.ledger.post import post
from engine.ledger.splits import from_snapshot
from engine.models import ShardPosition


async def record_refund_done(
    db: Database,
    refund: Refund,
    *,
    lease_until_ms: int,
    provider_name: str,
    done_at_ms: int,
) -> bool:
    """Book the provider's success with its posting; False when the lease is no longer ours.

    Locks the order before the refund, as request_refund and the settler do.
    """
    async with db.begin() as session:
        order = await _locked_order(session, refund)
        done = await session.scalar(
            update(Refund)
            .where(Refund.id == refund.id, Refund.state == "due")
            .where(Refund.lease_until_ms == lease_until_ms, Refund.lease_until_ms > now_ms())
            .values(state="done", done_at_ms=done_at_ms, lease_until_ms=0, last_error="")
            .returning(Refund.id)
            .execution_options(synchronize_session=False)
        )
        if done is None:
            return False
        standing = None
        if order is not None and order.payment_id == refund.payment_id:
            if order.split_fen is not None:  # else its team is undecided, or has failed
                plan, credit = from_snapshot(order.credit)
                standing = Standing(plan, credit, order.paid_fen, order.refunded_fen)
            order.refunded_fen += refund.amount_fen
            if order.refunded_fen == order.paid_fen:
                order.state = "refunded"
        entry = refund_done(
            refund.id,
            provider_name,
            refund.amount_fen,
            refund.order_id,
            done_at_ms,
            standing,
        )
        await session.flush()
        await post(session, [entry])
    return True


async def _locked_order(session: AsyncSession, refund: Refund) -> Order | None:
    if refund.order_id is None:
        return None
    order: Order | None = await session.scalar(
        select(Order).where(Order.id == refund.order_id).with_for_update()
    )
    return order


async def give_units_back(db: Database, inventory: Inventory, refund_id: str) -> str:
    """Put a done refund's units back on sale; the script's word, or `done` when nothing is left.

    The epoch is read with the row: units that were not given back before a rebuild may have
    been settled by it, and the fence sees that. Unavailable while the shard cannot be reached.
    """
    async with db.begin() as session:
        row = (
            await session.execute(
                select(Refund, ShardPosition.epoch)
                .join(ShardPosition, ShardPosition.shard == Refund.shard)
                .where(Refund.id == refund_id, Refund.state == "done", Refund.units > 0)
                .where(Refund.applied_seq.is_(None))
            )
        ).one_or_none()
    if row is None:
        return "done"
    refund, epoch = row
    assert refund.shard is not None
    assert refund.claim_id is not None
    reply = await inventory.give_back(
        refund.shard, refund.claim_id, units=refund.units, refund_id=refund.id, epoch=epoch
    )
    return reply.what
