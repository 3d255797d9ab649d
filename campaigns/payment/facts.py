"""What the provider says was paid: recorded once, then carried to its claim.

`record_payment` commits the fact with its posting (clearing → escrow); from then a callback may
be answered with success, whatever the shard is doing. `apply_fact` runs the script that decides
what the payment means. Its event, settled, sets the outcome; until then the repeats loop asks
again, so a failure here loses nothing.
"""

import logging
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.payment.attempts import alarm_of
from campaigns.payment.models import PaymentAttempt, PaymentFact
from campaigns.payment.provider import Notification, Payment
from campaigns.refund.intents import refund_whole
from engine.db import Database
from engine.ids import now_ms
from engine.inventory import Inventory
from engine.ledger.entries import payment_received
from engine.ledger.post import post
from engine.models import Incident, ShardPosition

log = logging.getLogger(__name__)


def notification_of(attempt_id: str, payment: Payment) -> Notification:
    """A payment that a query or close told of, in the callback's shape."""
    return Notification(
        attempt_id=attempt_id,
        transaction_id=payment.transaction_id,
        amount_fen=payment.amount_fen,
        currency=payment.currency,
        paid_at_ms=payment.paid_at_ms,
    )


async def record_payment(
    db: Database, told: Notification, *, provider_name: str, source: str
) -> str:
    """Commit the fact (id = the provider's transaction) and its posting; the fact's id.

    Idempotent. `told` must come from the provider: verify callbacks first. `source` is
    `callback`, `query`, `close` or `bill`. An attempt nobody knows gets its refund at once.
    """
    async with db.begin() as session:
        attempt = await session.get(PaymentAttempt, told.attempt_id)
        fact = _fact(told, attempt, source)
        inserted = await session.scalar(
            insert(PaymentFact)
            .values(**fact)
            .on_conflict_do_nothing(index_elements=["id"])
            .returning(PaymentFact.id)
        )
        if inserted is None:
            await _compare(session, told)
            return told.transaction_id
        if attempt is None:
            refund_whole(
                session,
                payment_id=told.transaction_id,
                amount_fen=told.amount_fen,
                cause="unknown_claim",
            )
        else:
            # Money was taken, so there is nothing left to close: the watch is done with it, and
            # nobody else would end its alarm.
            await session.execute(
                update(PaymentAttempt)
                .where(PaymentAttempt.id == attempt.id)
                .where(PaymentAttempt.state.in_(("begun", "open")))
                .values(state="paid")
                .execution_options(synchronize_session=False)
            )
            await session.execute(
                update(Incident)
                .where(Incident.cause == alarm_of(attempt.id), Incident.resolved_at_ms.is_(None))
                .values(resolved_at_ms=now_ms())
                .execution_options(synchronize_session=False)
            )
        entry = payment_received(
            told.transaction_id,
            provider_name,
            told.amount_fen,
            fact["order_id"],
            fact["received_at_ms"],
        )
        await post(session, [entry])
    return told.transaction_id


def _fact(told: Notification, attempt: PaymentAttempt | None, source: str) -> dict[str, Any]:
    verdict = _verdict(told, attempt)
    return {
        "id": told.transaction_id,
        "attempt_id": told.attempt_id,
        "claim_id": attempt.claim_id if attempt else None,
        "order_id": attempt.order_id if attempt else None,
        "shard": attempt.shard if attempt else None,
        "amount_fen": told.amount_fen,
        "currency": told.currency,
        "verdict": verdict,
        "source": source,
        "paid_at_ms": told.paid_at_ms,
        "received_at_ms": now_ms(),
        "outcome": None if attempt else "unknown",
    }


def _verdict(told: Notification, attempt: PaymentAttempt | None) -> str:
    if attempt is None:
        return "unknown_claim"
    if told.currency != "CNY":
        return "wrong_currency"
    return "ok" if told.amount_fen == attempt.amount_fen else "wrong_amount"


async def _compare(session: AsyncSession, told: Notification) -> None:
    """A transaction that is told twice is told the same; else somebody must look."""
    stored = await session.get_one(PaymentFact, told.transaction_id)
    before = (stored.attempt_id, stored.amount_fen, stored.currency)
    now = (told.attempt_id, told.amount_fen, told.currency)
    if before == now:
        return
    log.error("payment %s was told as %s and now as %s", told.transaction_id, before, now)
    await session.execute(
        insert(Incident)
        .values(
            cause=f"payment_contradicted:{told.transaction_id}",
            kind="payment_contradicted",
            shard=stored.shard,
            detail={"before": list(before), "now": list(now)},
            created_at_ms=now_ms(),
        )
        .on_conflict_do_nothing()
    )


async def apply_fact(
    db: Database, inventory: Inventory, fact_id: str, *, epoch: int | None = None
) -> str:
    """Carry a recorded fact to its claim; the script's word, or `done` when it is decided.

    The epoch comes from the same statement as the row (or is the caller's, read likewise): a
    fact that was undecided before a rebuild may be decided after it, and the fence sees that.
    Unavailable while the shard cannot be reached.
    """
    async with db.begin() as session:
        row = (
            await session.execute(
                select(PaymentFact, ShardPosition.epoch)
                .join(ShardPosition, ShardPosition.shard == PaymentFact.shard)
                .where(PaymentFact.id == fact_id, PaymentFact.outcome.is_(None))
            )
        ).one_or_none()
    if row is None:
        return "done"
    fact, known = row
    assert fact.shard is not None
    assert fact.claim_id is not None
    epoch = known if epoch is None else epoch
    reply = await inventory.pay_confirm(
        fact.shard,
        fact.claim_id,
        attempt_id=fact.attempt_id,
        fact_id=fact.id,
        verdict=fact.verdict,
        epoch=epoch,
    )
    if reply.what == "unknown":
        await _decide_unknown(db, fact, epoch)
    return reply.what


async def _decide_unknown(db: Database, fact: PaymentFact, epoch: int) -> None:
    """No shard knows the claim any more: decided here, in the epoch that said so, and refunded."""
    same_epoch = (
        select(func.count())
        .where(ShardPosition.shard == fact.shard, ShardPosition.epoch == epoch)
        .scalar_subquery()
    )
    async with db.begin() as session:
        decided = await session.scalar(
            update(PaymentFact)
            .where(PaymentFact.id == fact.id, PaymentFact.outcome.is_(None), same_epoch == 1)
            .values(outcome="unknown")
            .returning(PaymentFact.id)
            .execution_options(synchronize_session=False)
        )
        if decided is not None:
            refund_whole(
                session,
                payment_id=fact.id,
                amount_fen=fact.amount_fen,
                cause="unknown_claim",
                order_id=fact.order_id,
                claim_id=fact.claim_id,
                shard=fact.shard,
            )
