"""Sends refund intents to the provider until it says done, each for itself.

Lease (committed) → provider, always under the same number → booking that holds only while the
lease does. Ten thousand at once go out at the provider's pace (pace.py). A refund that fails or
gets no answer waits with backoff and raises an alarm after some tries; the others do not notice.
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.payment.models import PaymentFact
from campaigns.payment.provider import ProviderError
from campaigns.refund.done import give_units_back, record_refund_done
from campaigns.refund.models import Refund
from engine.errors import Unavailable
from engine.ids import now_ms
from workers.alarms import end_alarm, raise_alarm
from workers.loop import Parts, backoff_ms, describe, each, is_outage
from workers.pace import Bound, Pace

log = logging.getLogger(__name__)


class _Leased(NamedTuple):
    """A refund and what its payment was of, as the provider wants to hear it."""

    refund: Refund
    total_fen: int


async def run_once(parts: Parts) -> int:
    """Lease the refunds that are due and send each, as fast as the provider allows; how many."""
    settings = parts.settings
    pace = Pace(
        "refund", Bound(settings.refunds_per_s_max), Bound(settings.refund_errors_per_s_max)
    )
    sent: list[str] = []
    while len(sent) < settings.outside_batch_max:
        leased = await _lease(parts, pace, sent)
        if not leased:
            break
        sent += [one.refund.id for one in leased]
        await _send_all(parts, pace, leased)
    return len(sent)


async def _lease(parts: Parts, pace: Pace, sent: Sequence[str]) -> list[_Leased]:
    """As many as the pace allows, and none that this turn has sent already."""
    async with parts.db.begin() as session:
        free = min(parts.settings.outside_batch_max - len(sent), await pace.free(session))
        leased = await _take(parts, session, free, sent) if free else []
        if leased:
            await pace.reserve(session, len(leased))
    return leased


async def _send_all(parts: Parts, pace: Pace, leased: Sequence[_Leased]) -> None:
    well: list[str] = []
    try:
        await each(leased, lambda one: _isolated(parts, one, well))
    finally:
        async with parts.db.begin() as session:
            await pace.answered(session, len(well), len(leased) - len(well))


async def _take(
    parts: Parts, session: AsyncSession, most: int, sent: Sequence[str]
) -> list[_Leased]:
    """Those that were never sent come first, so that failing ones delay nobody."""
    now = now_ms()
    due = (
        select(Refund.id)
        .where(Refund.state == "due", Refund.id.not_in(sent))
        .where(Refund.next_at_ms <= now, Refund.lease_until_ms <= now)
        .order_by(Refund.tries > 0, Refund.next_at_ms)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")  # as a plain IN (…) a planner may run it more than once, past the limit
    )
    refunds = await session.scalars(
        update(Refund)
        .where(Refund.id == due.c.id)
        .values(lease_until_ms=now + parts.settings.lease_ms, tries=Refund.tries + 1)
        .returning(Refund)
        .execution_options(synchronize_session=False)
    )
    leased = list(refunds)
    ids = [refund.payment_id for refund in leased]
    facts = await session.execute(
        select(PaymentFact.id, PaymentFact.amount_fen).where(PaymentFact.id.in_(ids))
    )
    totals = {row[0]: row[1] for row in facts}
    return [_Leased(refund, totals[refund.payment_id]) for refund in leased]


async def _isolated(parts: Parts, leased: _Leased, well: list[str]) -> None:
    refund = leased.refund
    try:
        await _send(parts, leased, well)
    except ProviderError as error:
        await _postpone(parts, refund, describe(error))
    except Exception as error:
        if is_outage(error):
            raise  # a store is away: that is the loop's to wait for, the lease runs out by itself
        log.exception("refunds: refund %s", refund.id)
        await _postpone(parts, refund, describe(error))


async def _send(parts: Parts, leased: _Leased, well: list[str]) -> None:
    """`well`: whose answer was no error, whatever it says."""
    refund = leased.refund
    status = await parts.provider.refund(
        refund.id, refund.payment_id, refund.amount_fen, leased.total_fen, refund.cause[:80]
    )
    if status.state != "failed":
        well.append(refund.id)
    if status.state != "success":
        await _postpone(parts, refund, status.code or status.state)
        return
    assert status.done_at_ms is not None
    booked = await record_refund_done(
        parts.db,
        refund,
        lease_until_ms=refund.lease_until_ms,
        provider_name=parts.provider_name,
        done_at_ms=status.done_at_ms,
    )
    if not booked:
        return
    if refund.tries >= parts.settings.outside_tries_alarm:
        async with parts.db.begin() as session:
            await end_alarm(session, _cause(refund))
    if refund.units > 0:
        try:
            await give_units_back(parts.db, parts.inventory, refund.id)
        except Unavailable as error:
            log.debug("units of %s are left to the repeats: %s", refund.id, error)


async def _postpone(parts: Parts, refund: Refund, error: str) -> None:
    settings = parts.settings
    wait_ms = backoff_ms(refund.tries, settings.retry_base_ms, settings.retry_cap_ms)
    values: dict[str, Any] = {"next_at_ms": now_ms() + wait_ms, "lease_until_ms": 0}
    async with parts.db.begin() as session:
        postponed = await session.scalar(
            update(Refund)
            .where(Refund.id == refund.id, Refund.state == "due")
            .where(Refund.lease_until_ms == refund.lease_until_ms)
            .values(last_error=error, **values)
            .returning(Refund.id)
            .execution_options(synchronize_session=False)
        )
        # At each try from then on: the very one may have ended in a crash.
        if postponed is not None and refund.tries >= settings.outside_tries_alarm:
            await raise_alarm(
                session,
                _cause(refund),
                kind="refund_not_done",
                shard=refund.shard,
                detail={"payment_id": refund.payment_id, "tries": refund.tries, "error": error},
            )


def _cause(refund: Refund) -> str:
    return f"refund_not_done:{refund.id}"
