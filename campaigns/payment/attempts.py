"""The life of a payment attempt's row: begun → open → paid | closed | void.

A row is committed as `begun` before the script that makes its claim paying, and may be sent to
the provider only once it is `open` (docs/decisions/payment-attempts.md). `reason` says more:
`voiding` on an open row = never to be sent again and to be closed whatever its term is left;
`refused` on a void one = the script did not take it, so it is no receipt and releases nothing.
"""

from typing import Final

from sqlalchemy import ColumnElement, case, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.order.models import Order
from campaigns.payment.models import PaymentAttempt
from engine.db import Database
from engine.ids import new_id, now_ms
from engine.inventory import Inventory
from engine.models import ShardPosition

# A begin takes milliseconds. A row that is still `begun` after this was left by a crash.
BEGUN_KEEP_MS: Final = 5_000
VOIDING: Final = "voiding"
REFUSED: Final = "refused"


def alarm_of(attempt_id: str) -> str:
    """Cause of the incident that the provider does not let this attempt be ended."""
    return f"payment_not_closed:{attempt_id}"


async def live_attempt(session: AsyncSession, claim_id: str) -> PaymentAttempt | None:
    """The claim's attempt that counts: paid before open before begun; None without any."""
    rank = case({"paid": 0, "open": 1}, value=PaymentAttempt.state, else_=2)
    return await session.scalar(
        select(PaymentAttempt)
        .where(PaymentAttempt.claim_id == claim_id)
        .where(PaymentAttempt.state.in_(("paid", "open", "begun")))
        .order_by(rank, PaymentAttempt.id)
        .limit(1)
    )


def begun(session: AsyncSession, order: Order) -> PaymentAttempt:
    """Add a fresh row; the pay_watch loop voids it when its begin crashed."""
    now = now_ms()
    attempt = PaymentAttempt(
        id=new_id("att"),
        claim_id=order.claim_id,
        order_id=order.id,
        shard=order.shard,
        amount_fen=order.amount_fen,
        state="begun",
        created_at_ms=now,
        next_at_ms=now + BEGUN_KEEP_MS,
    )
    session.add(attempt)
    return attempt


async def read_attempt(db: Database, attempt_id: str) -> PaymentAttempt | None:
    """The row as committed."""
    async with db.begin() as session:
        return await session.get(PaymentAttempt, attempt_id)


async def open_attempt(
    db: Database, attempt_id: str, *, pay_expires_at_ms: int, send_until_ms: int
) -> PaymentAttempt | None:
    """From `begun` to `open`, with a first lease for sending; None when it is not begun."""
    return await _change(
        db,
        attempt_id,
        PaymentAttempt.state == "begun",
        state="open",
        pay_expires_at_ms=pay_expires_at_ms,
        next_at_ms=pay_expires_at_ms,
        send_until_ms=send_until_ms,
    )


async def lease_sending(
    db: Database, attempt_id: str, *, send_until_ms: int
) -> PaymentAttempt | None:
    """Promise that a prepay under way ends before `send_until_ms`; None when it may not be sent."""
    until = func.greatest(PaymentAttempt.send_until_ms, send_until_ms)
    return await _change(db, attempt_id, _SENDABLE, send_until_ms=until)


async def keep_pay_url(db: Database, attempt_id: str, pay_url: str) -> PaymentAttempt | None:
    """Keep where the buyer pays; None when it was taken back meanwhile (then tell nobody)."""
    return await _change(db, attempt_id, _SENDABLE, pay_url=pay_url)


async def refuse_begun(db: Database, attempt_id: str, detail: str) -> None:
    """The script did not take this attempt: it never becomes open."""
    await _change(
        db,
        attempt_id,
        PaymentAttempt.state == "begun",
        state="void",
        reason=REFUSED,
        last_error=detail,
    )


async def take_back(db: Database, attempt_id: str) -> None:
    """Never send it again, and let the watch close it now, whatever its term is left."""
    await _change(db, attempt_id, _SENDABLE, reason=VOIDING, next_at_ms=now_ms())


async def ask_now(db: Database, attempt_id: str) -> None:
    """Let the watch ask the provider now: its answer did not fit what we know."""
    await _change(db, attempt_id, PaymentAttempt.state == "open", next_at_ms=now_ms())


_SENDABLE = (PaymentAttempt.state == "open") & (PaymentAttempt.reason == "")


async def _change(
    db: Database, attempt_id: str, condition: ColumnElement[bool], **values: object
) -> PaymentAttempt | None:
    async with db.begin() as session:
        return await session.scalar(
            update(PaymentAttempt)
            .where(PaymentAttempt.id == attempt_id, condition)
            .values(**values)
            .returning(PaymentAttempt)
            .execution_options(synchronize_session=False)
        )


async def release_by_receipt(db: Database, inventory: Inventory, attempt_id: str) -> str:
    """Give the claim's units back if the attempt is a receipt; the script's word, or `no_receipt`.

    The epoch is read with the row: a receipt read before a rebuild is not used after it.
    """
    async with db.begin() as session:
        row = (
            await session.execute(
                select(PaymentAttempt, ShardPosition.epoch)
                .join(ShardPosition, ShardPosition.shard == PaymentAttempt.shard)
                .where(PaymentAttempt.id == attempt_id)
                .where(PaymentAttempt.state.in_(("closed", "void")))
                .where(PaymentAttempt.reason != REFUSED)
            )
        ).one_or_none()
    if row is None:
        return "no_receipt"
    attempt, epoch = row
    reply = await inventory.release(
        attempt.shard,
        attempt.claim_id,
        attempt_id=attempt.id,
        why=attempt.state,
        epoch=epoch,
    )
    return reply.what


async def repeat_begin(db: Database, inventory: Inventory, attempt_id: str) -> str:
    """Say `claim.paying` of an open attempt again, until it is settled; the script's word.

    When the claim is no longer this attempt's to pay, it is taken back: the watch closes it.
    """
    async with db.begin() as session:
        row = (
            await session.execute(
                select(PaymentAttempt, ShardPosition.epoch)
                .join(ShardPosition, ShardPosition.shard == PaymentAttempt.shard)
                .where(PaymentAttempt.id == attempt_id)
                .where(_SENDABLE, PaymentAttempt.applied_seq.is_(None))
            )
        ).one_or_none()
    if row is None:
        return "done"
    attempt, epoch = row
    reply = await inventory.pay_begin(attempt.shard, attempt.claim_id, attempt.id, epoch=epoch)
    if reply.what not in ("paying", "reopening"):
        await take_back(db, attempt.id)
    return reply.what
