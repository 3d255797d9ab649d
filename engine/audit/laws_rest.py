"""S1 and T8: nothing is stuck, and each payment has ended as one of two things."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.audit.report import Finding, LawResult
from engine.audit.rest import WORK, stuck, unsettled
from engine.audit.sources import GRACE_MS, PAGE_ROWS_MAX, Given, pages, snapshot

_INCIDENTS = """
SELECT cause FROM incidents WHERE resolved_at_ms IS NULL AND created_at_ms <= :cut
AND kind NOT IN ('guard', 'gap', 'claim_lost')
"""
_REOPENING = """
SELECT p.shard, e.closed_at_ms FROM shard_position p
LEFT JOIN shard_epochs e ON e.shard = p.shard AND e.epoch = p.epoch - 1
WHERE p.state = 'reopening' AND coalesce(e.closed_at_ms, 0) <= :cut
"""


async def s1_nothing_stuck(given: Given) -> LawResult:
    """No row, shard or alarm stays in a state that somebody must end beyond its time."""
    finding = Finding("S1", "nothing stays in an unfinished state beyond its deadline")
    clocks = {"wall": given.wall_now_ms, "hot": given.hot_now_ms}
    async with snapshot(given.db) as session:
        for work in WORK:
            # At rest a deadline that has just passed is still work of the next turn.
            grace_ms = max(given.lag_ms, GRACE_MS if work.lapses else 0)
            cut_ms = clocks[work.clock] - grace_ms
            found = await stuck(session, work, cut_ms, at_rest=given.at_rest)
            finding.look(found.looked_at)
            for one in found.ids:
                finding.problem(f"{work.table} {one}: {work.what} ({found.waiting} such)")
        cut = {"cut": given.wall_now_ms - given.lag_ms}
        async for page in pages(session, _INCIDENTS, cut):
            for row in page:
                finding.expect(False, f"incident {row['cause']} is not resolved")
        if not given.at_rest:
            async for page in pages(session, _REOPENING, cut):
                for row in page:
                    finding.expect(False, f"shard {row['shard']} does not finish its reopening")
    if given.at_rest:
        async for why in unsettled(given.db, given.wire):
            finding.expect(False, why)
    finding.look(len(given.shards))
    return finding.result()


_PAYMENTS = """
SELECT f.id, f.amount_fen, f.outcome, f.received_at_ms, o.id AS order_id, o.state AS order_state,
       coalesce(r.done, 0)::bigint AS refunded, coalesce(r.due, 0) AS due
FROM payment_facts f
LEFT JOIN orders o ON o.payment_id = f.id
LEFT JOIN (SELECT payment_id, sum(amount_fen) FILTER (WHERE state = 'done') AS done,
                  count(*) FILTER (WHERE state <> 'done') AS due
           FROM refunds GROUP BY payment_id) r ON r.payment_id = f.id
"""
_STANDING = ("paid", "ready", "fulfilled", "completed")


async def t8_payments_end_well(given: Given) -> LawResult:
    """Each payment is exactly one of: its order stands, or it is fully refunded."""
    finding = Finding("T8", "each payment's order stands, or it is fully refunded")
    async with snapshot(given.db) as session:
        async for page in pages(session, _PAYMENTS):
            for row in page:
                if not given.at_rest and _under_way(given, row):
                    continue
                _one_ending(row, finding)
        if given.history:
            await _witness(given, session, finding, _PAID_BY_CLIENTS, "a client paid")
        if given.bill:
            await _witness(given, session, finding, _PAID_ON_BILL, "the bill shows")
    if not given.bill:
        finding.sentence += " (without the provider's bill)"
    return finding.result()


def _under_way(given: Given, row: RowMapping) -> bool:
    young = row["received_at_ms"] > given.wall_now_ms - given.lag_ms
    return bool(young or row["outcome"] is None or row["due"])  # too long is S1's


def _one_ending(row: RowMapping, finding: Finding) -> None:
    refunded, amount, state = row["refunded"], row["amount_fen"], row["order_state"]
    stands = row["outcome"] == "paid" and state in _STANDING and refunded < amount
    is_back = refunded == amount and (row["order_id"] is None or state == "refunded")
    text_ = (
        f"payment {row['id']} of {amount} fen is {row['outcome'] or 'undecided'}, "
        f"{refunded} fen refunded, its order {row['order_id'] or 'none'} is {state or 'not there'}"
    )
    finding.expect(stands != is_back, text_)


_PAID_BY_CLIENTS = """
SELECT transaction_id, attempt_id, amount_fen, answered_at_ms AS at_ms FROM requests
WHERE op = 'pay_done' AND type = 'ok'
"""
_PAID_ON_BILL = """
SELECT transaction_id, attempt_id, amount_fen, at_ms FROM bill WHERE kind = 'payment'
"""
_FACTS = text("SELECT id FROM payment_facts WHERE id = ANY(CAST(:ids AS text[]))")
# While an attempt may still be paid, its callback may still come, or the watch will ask.
_PAYABLE = text(
    "SELECT id FROM payment_attempts WHERE id = ANY(CAST(:ids AS text[]))"
    " AND state = 'open' AND pay_expires_at_ms > :cut"
)


async def _witness(
    given: Given, session: AsyncSession, finding: Finding, sql: str, who: str
) -> None:
    """Money that was taken is known to us, as soon as nobody can still tell us."""
    cursor = given.scratch.execute(sql)
    while page := cursor.fetchmany(PAGE_ROWS_MAX):
        known = await _ids(session, _FACTS, [row["transaction_id"] for row in page])
        missing = [row for row in page if row["transaction_id"] not in known]
        attempts = [row["attempt_id"] for row in missing]
        cut_ms = given.wall_now_ms - max(GRACE_MS, given.lag_ms)
        payable = await _ids(session, _PAYABLE, attempts, cut=cut_ms)
        finding.look(len(page))
        for row in missing:
            young = row["at_ms"] > given.wall_now_ms - given.lag_ms
            if not young and row["attempt_id"] not in payable:
                name = f"{row['transaction_id']} of {row['amount_fen']} fen"
                finding.problem(f"{who} {name} for attempt {row['attempt_id']}: not known here")


async def _ids(session: AsyncSession, query: Any, ids: Sequence[str], **given: object) -> set[str]:
    return set(await session.scalars(query, {"ids": ids, **given}))
