"""A refund intent of a whole payment that does not stand, in the caller's transaction."""

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.refund.models import Refund
from engine.ids import new_id, now_ms


def refund_whole(
    session: AsyncSession,
    *,
    payment_id: str,
    amount_fen: int,
    cause: str,
    order_id: str | None = None,
    claim_id: str | None = None,
    shard: int | None = None,
) -> Refund:
    """Add the intent; the refunds loop sends it. Once per (payment, cause), as the table says."""
    now = now_ms()
    refund = Refund(
        id=new_id("rfd"),
        payment_id=payment_id,
        order_id=order_id,
        claim_id=claim_id,
        shard=shard,
        cause=cause,
        amount_fen=amount_fen,
        state="due",
        requested_by="system",
        created_at_ms=now,
        next_at_ms=now,
    )
    session.add(refund)
    return refund
