"""Ends payment attempts that nobody paid in time: query the provider, then close.

A unit comes free only with a receipt: closed there, or unknown there after the attempt may not
be sent any more. No answer keeps it, with retries and an alarm. Rows are taken under a lease
that is committed before the provider is asked; what follows holds only while the lease does.
"""

import logging
from typing import Any

from sqlalchemy import ColumnElement, select, update

from campaigns.payment.attempts import VOIDING, alarm_of, release_by_receipt
from campaigns.payment.facts import apply_fact, notification_of, record_payment
from campaigns.payment.models import PaymentAttempt
from campaigns.payment.provider import Payment, ProviderError
from engine.errors import Unavailable
from engine.ids import now_ms
from workers.alarms import end_alarm, raise_alarm
from workers.loop import Parts, backoff_ms, describe, each, is_outage

log = logging.getLogger(__name__)


async def run_once(parts: Parts) -> int:
    """Lease the attempts that are due and bring each a step further; how many."""
    return await each(await _lease(parts), lambda attempt: _isolated(parts, attempt))


async def _lease(parts: Parts) -> list[PaymentAttempt]:
    now = now_ms()
    due = (
        select(PaymentAttempt.id)
        .where(PaymentAttempt.state.in_(("begun", "open")))
        .where(PaymentAttempt.next_at_ms <= now, PaymentAttempt.lease_until_ms <= now)
        .order_by(PaymentAttempt.next_at_ms)
        .limit(parts.settings.outside_batch_max)
        .with_for_update(skip_locked=True)
        .cte("due")  # as a plain IN (…) a planner may run it more than once, past the limit
    )
    async with parts.db.begin() as session:
        leased = await session.scalars(
            update(PaymentAttempt)
            .where(PaymentAttempt.id == due.c.id)
            .values(lease_until_ms=now + parts.settings.lease_ms, tries=PaymentAttempt.tries + 1)
            .returning(PaymentAttempt)
            .execution_options(synchronize_session=False)
        )
        return list(leased)


async def _isolated(parts: Parts, attempt: PaymentAttempt) -> None:
    """One attempt's trouble is its own: it is noted on its row and tried again later."""
    try:
        if attempt.state == "begun":
            await _void_begun(parts, attempt)
        else:
            await _ask(parts, attempt)
    except ProviderError as error:
        await _postpone(parts, attempt, describe(error))
    except Exception as error:
        if is_outage(error):
            raise  # a store is away: that is the loop's to wait for, the lease runs out by itself
        log.exception("pay_watch: attempt %s", attempt.id)
        await _postpone(parts, attempt, describe(error))


async def _void_begun(parts: Parts, attempt: PaymentAttempt) -> None:
    """Its begin crashed before it was open, so it was never sent."""
    if await _finish(parts, attempt, PaymentAttempt.state == "begun", "void", "begun"):
        await _release(parts, attempt)


async def _ask(parts: Parts, attempt: PaymentAttempt) -> None:
    status = await parts.provider.query(attempt.id)
    match status.state:
        case "paid":
            assert status.payment is not None
            await _paid(parts, attempt, status.payment, "query")
        case "closed":  # closed before, and the crash came before the receipt was kept
            await _closed(parts, attempt)
        case "unknown":
            await _unknown(parts, attempt)
        case "pending":
            assert attempt.pay_expires_at_ms is not None
            if attempt.reason != VOIDING and now_ms() < attempt.pay_expires_at_ms:
                await _change(parts, attempt, next_at_ms=attempt.pay_expires_at_ms)
            else:
                await _close(parts, attempt)


async def _close(parts: Parts, attempt: PaymentAttempt) -> None:
    result = await parts.provider.close(attempt.id)
    match result.state:
        case "already_paid":
            assert result.payment is not None
            await _paid(parts, attempt, result.payment, "close")
        case "closed":
            await _closed(parts, attempt)
        case "unknown":
            raise ProviderError("provider_forgot", "The provider knew this attempt a moment ago")


async def _paid(parts: Parts, attempt: PaymentAttempt, payment: Payment, source: str) -> None:
    fact_id = await record_payment(
        parts.db,
        notification_of(attempt.id, payment),
        provider_name=parts.provider_name,
        source=source,
    )
    await _end_alarm(parts, attempt)
    try:
        await apply_fact(parts.db, parts.inventory, fact_id)
    except Unavailable as error:
        log.debug("fact %s is left to the repeats: %s", fact_id, error)


async def _closed(parts: Parts, attempt: PaymentAttempt) -> None:
    if await _finish(parts, attempt, PaymentAttempt.state == "open", "closed", "expired"):
        await _release(parts, attempt)


async def _unknown(parts: Parts, attempt: PaymentAttempt) -> None:
    """Never announced there. First it may not be sent any more, then the provider is asked again.

    Asking once is not enough: a prepay could be on its way. While one may be (its lease holds)
    nothing is decided, and no new lease is given once the row is `voiding`.
    """
    if attempt.reason != VOIDING:
        now = now_ms()
        if attempt.send_until_ms >= now:
            await _change(parts, attempt, next_at_ms=attempt.send_until_ms + 1)
            return
        is_idle = (PaymentAttempt.state == "open") & (PaymentAttempt.send_until_ms < now)
        voiding = await _change(parts, attempt, is_idle, keep_lease=True, reason=VOIDING)
        if voiding:
            attempt.reason = VOIDING
            await _ask(parts, attempt)
        return
    if attempt.send_until_ms >= now_ms():  # taken back while a prepay may be on its way
        await _change(parts, attempt, next_at_ms=attempt.send_until_ms + 1)
        return
    is_void = (PaymentAttempt.state == "open") & (PaymentAttempt.reason == VOIDING)
    if await _finish(parts, attempt, is_void, "void", "unknown"):
        await _release(parts, attempt)


async def _release(parts: Parts, attempt: PaymentAttempt) -> None:
    """The receipt is committed; a shard that cannot be reached now is the repeats' to tell."""
    try:
        await release_by_receipt(parts.db, parts.inventory, attempt.id)
    except Unavailable as error:
        log.debug("receipt %s is left to the repeats: %s", attempt.id, error)


async def _finish(
    parts: Parts, attempt: PaymentAttempt, condition: ColumnElement[bool], state: str, reason: str
) -> bool:
    changed = await _change(
        parts, attempt, condition, state=state, reason=reason, last_error="", next_at_ms=now_ms()
    )
    if changed:
        await _end_alarm(parts, attempt)
    return changed


async def _end_alarm(parts: Parts, attempt: PaymentAttempt) -> None:
    if attempt.tries >= parts.settings.outside_tries_alarm:
        async with parts.db.begin() as session:
            await end_alarm(session, alarm_of(attempt.id))


async def _postpone(parts: Parts, attempt: PaymentAttempt, error: str) -> None:
    settings = parts.settings
    wait_ms = backoff_ms(attempt.tries, settings.retry_base_ms, settings.retry_cap_ms)
    waits = PaymentAttempt.state.in_(("begun", "open"))  # else a callback was faster: no alarm
    postponed = await _change(
        parts, attempt, waits, next_at_ms=now_ms() + wait_ms, last_error=error
    )
    # At each try from then on: the very one may have ended in a crash.
    if postponed and attempt.tries >= settings.outside_tries_alarm:
        async with parts.db.begin() as session:
            await raise_alarm(
                session,
                alarm_of(attempt.id),
                kind="payment_not_closed",
                shard=attempt.shard,
                detail={"claim_id": attempt.claim_id, "tries": attempt.tries, "error": error},
            )


async def _change(
    parts: Parts,
    attempt: PaymentAttempt,
    *conditions: ColumnElement[bool],
    keep_lease: bool = False,
    **values: Any,
) -> bool:
    """Change the row if our lease still holds; False when it does not (then do nothing more)."""
    if not keep_lease:
        values["lease_until_ms"] = 0
    async with parts.db.begin() as session:
        hit = await session.scalar(
            update(PaymentAttempt)
            .where(PaymentAttempt.id == attempt.id, *conditions)
            .where(PaymentAttempt.lease_until_ms == attempt.lease_until_ms)
            .where(PaymentAttempt.lease_until_ms > now_ms())
            .values(**values)
            .returning(PaymentAttempt.id)
            .execution_options(synchronize_session=False)
        )
    return hit is not None
