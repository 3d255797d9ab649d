"""The audit: all laws whose sources are given, one after the other, and their report.

It only reads: the hot store by read-only scripts, PostgreSQL in read-only snapshots. It may run
beside a sale; see `run_audit` for what it then leaves alone.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from engine.audit.history import has_history
from engine.audit.laws_clients import i6_answers_have_orders, i7_same_key_same_answer
from engine.audit.laws_hot import (
    i1_stock_adds_up,
    i2_holds_match,
    i4_both_stores_agree,
    i5_no_undersell,
)
from engine.audit.laws_ledger import (
    m1_transactions_balance,
    m2_balances_agree,
    m3_each_cause_once,
    m10_rows_cannot_change,
)
from engine.audit.laws_limits import i8_limits_hold
from engine.audit.laws_rest import s1_nothing_stuck, t8_payments_end_well
from engine.audit.laws_rooms import (
    r1_numbered_without_gap,
    r2_one_contiguous_range,
    r3_epochs_begin_with_snapshots,
    r4_told_to_nobody_else,
)
from engine.audit.laws_shares import (
    m4_splits_recomputed,
    m5_shares_within_bounds,
    m9_refunds_within_paid,
)
from engine.audit.laws_stock import i3_rows_within_total, i9_window_and_price
from engine.audit.laws_stream import i10_stream_complete
from engine.audit.laws_teams import (
    t1_seats_within_capacity,
    t2_nobody_twice,
    t3_seats_are_claims,
    t4_decided_once,
    t5_failed_are_refunded,
    t6_nobody_held_past_the_deadline,
    t7_a_last_seat_goes_to_one,
)
from engine.audit.report import LawResult, Report
from engine.audit.sources import Given, ProviderBill, open_scratch
from engine.audit.spool import spool_bill, spool_history
from engine.audit.viewer_log import viewer_files
from engine.db import Database
from engine.wire import Wire

STALE_MS = 15_000  # more than the settler's and the worker's usual lag

Law = Callable[[Given], Awaitable[LawResult]]
LAWS: Sequence[tuple[str, Law]] = (
    ("I1", i1_stock_adds_up),
    ("I2", i2_holds_match),
    ("I3", i3_rows_within_total),
    ("I4", i4_both_stores_agree),
    ("I5", i5_no_undersell),
    ("I6", i6_answers_have_orders),
    ("I7", i7_same_key_same_answer),
    ("I8", i8_limits_hold),
    ("I9", i9_window_and_price),
    ("I10", i10_stream_complete),
    ("R1", r1_numbered_without_gap),
    ("R2", r2_one_contiguous_range),
    ("R3", r3_epochs_begin_with_snapshots),
    ("R4", r4_told_to_nobody_else),
    ("T1", t1_seats_within_capacity),
    ("T2", t2_nobody_twice),
    ("T3", t3_seats_are_claims),
    ("T4", t4_decided_once),
    ("T5", t5_failed_are_refunded),
    ("T6", t6_nobody_held_past_the_deadline),
    ("T7", t7_a_last_seat_goes_to_one),
    ("T8", t8_payments_end_well),
    ("S1", s1_nothing_stuck),
    ("M1", m1_transactions_balance),
    ("M2", m2_balances_agree),
    ("M3", m3_each_cause_once),
    ("M4", m4_splits_recomputed),
    ("M5", m5_shares_within_bounds),
    ("M9", m9_refunds_within_paid),
    ("M10", m10_rows_cannot_change),
)


async def run_audit(
    db: Database,
    wire: Wire,
    *,
    history: Path | None = None,
    bill: ProviderBill | None = None,
    at_rest: bool = False,
    stale_ms: int = STALE_MS,
    rooms_since_ms: int = 0,
) -> Report:
    """Check every law; `wire` may be any started one, it needs no scripts.

    `at_rest`: everything is settled and nothing is under way (see rest.await_rest); whatever
    still is then breaks S1. Otherwise laws that need rest look only at facts older than
    `stale_ms`, and both stores are compared at one point of the stream, while it runs.
    Logs of rooms that ended before `rooms_since_ms` are left out.
    Raises BadInput `bad_history` for a history that contradicts itself, Unavailable and what the
    database raises while a store is away: then nothing is known.
    """
    with open_scratch() as scratch:
        given = Given(
            db=db,
            wire=wire,
            at_rest=at_rest,
            stale_ms=stale_ms,
            scratch=scratch,
            rooms_since_ms=rooms_since_ms,
        )
        if history is not None:
            given.viewers = history if viewer_files(history) else None
            # A directory with viewers alone is fine; one with nothing at all is a mistake.
            given.history = given.viewers is None or has_history(history)
            if given.history:
                spool_history(scratch, history)
        if bill is not None:
            given.bill_until_ms = spool_bill(scratch, bill.rows)
            given.bill, given.bill_complete = True, bill.complete
        await given.look_around()
        return Report(laws=tuple([await _check(name, law, given) for name, law in LAWS]))


async def _check(name: str, law: Law, given: Given) -> LawResult:
    try:
        return await law(given)
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
        # Data that a law cannot even read: that is a finding, and the other laws go on.
        why = f"{type(error).__name__}: {error}"
        return LawResult(
            law=name, ok=False, checked=0, sentence="cannot be checked", problems=(why,)
        )
