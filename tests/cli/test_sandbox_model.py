"""The sandbox's books against a model: any mix of acts, the sums and the bill agree.

Runs the acts of the server on a real SQLite file, without HTTP, so that hundreds of mixes fit
into a second. The model knows only what a customer and a merchant were told.
"""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from campaigns.payment.sandbox_client import PrepayRequest, RefundRequest
from cli.sandbox import bills, notices, payments, refunds, switches
from cli.sandbox.limits import Limits
from cli.sandbox.refusal import Refused
from cli.sandbox.store import Store, open_file

LIMITS = Limits(refunds_per_payment_max=4)
URL = "http://127.0.0.1:9/callback"
ATTEMPTS = [f"att_{n}" for n in range(3)]
NUMBERS = [f"ref_{n}" for n in range(6)]


T = TypeVar("T")


def tried(act: Callable[[], T]) -> T | Refused:
    """What the act gave, or how it was refused."""
    try:
        return act()
    except Refused as refused:
        return refused


class Books(RuleBasedStateMachine):
    """One open sandbox file; every act is tried, and refusals must change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.conn = open_file(Path(self.folder.name) / "books.sqlite3")
        self.conn.execute("PRAGMA synchronous = OFF")  # nothing is killed here
        self.now_ms = 1_000
        self.prepaid: dict[str, str] = {}
        self.paid: dict[str, tuple[str, int]] = {}
        self.closed: set[str] = set()
        self.refunded: dict[str, tuple[str, int]] = {}
        self.late_is_paid, self.fails, self.processing_ms = False, 0, 0

    def teardown(self) -> None:
        self.conn.close()
        self.folder.cleanup()

    @initialize()
    def one_is_paid(self) -> None:
        """Most of what can go wrong comes after a payment, so begin with one."""
        self.prepay(ATTEMPTS[0], 1)
        request = payments.PayRequest()
        payment = payments.pay(self.conn, 1_000, LIMITS, self.prepaid[ATTEMPTS[0]], request)
        self.paid[ATTEMPTS[0]] = (payment.transaction_id, payment.amount_fen)

    @rule(attempt_id=st.sampled_from(ATTEMPTS), fen=st.integers(1, 2))
    def prepay(self, attempt_id: str, fen: int) -> None:
        request = PrepayRequest(attempt_id, 100 * fen, "tea", 10**9, URL)
        answer = tried(lambda: payments.prepay(self.conn, self.now_ms, LIMITS, "http://s", request))
        if isinstance(answer, Refused):
            assert attempt_id in self.prepaid
            assert answer.status == 409
        else:
            assert self.prepaid.setdefault(attempt_id, answer.prepay_id) == answer.prepay_id

    @precondition(lambda self: self.prepaid)
    @rule(data=st.data(), wrong=st.booleans())
    def pay(self, data: st.DataObject, wrong: bool) -> None:
        attempt_id = data.draw(st.sampled_from(sorted(self.prepaid)))
        request = payments.PayRequest(("wrong_amount",) if wrong else ())
        prepay_id = self.prepaid[attempt_id]
        payment = tried(lambda: payments.pay(self.conn, self.now_ms, LIMITS, prepay_id, request))
        if isinstance(payment, Refused):
            assert payment.code == "CLOSED"
            assert attempt_id in self.closed
            assert attempt_id not in self.paid
            assert not self.late_is_paid
        else:
            told = (payment.transaction_id, payment.amount_fen)
            assert self.paid.setdefault(attempt_id, told) == told

    @rule(attempt_id=st.sampled_from(ATTEMPTS))
    def close(self, attempt_id: str) -> None:
        state = payments.close(self.conn, attempt_id).state
        if attempt_id in self.paid:
            assert state == "already_paid"
        elif attempt_id in self.prepaid:
            assert state == "closed"
            self.closed.add(attempt_id)
        else:
            assert state == "unknown"

    @rule(late=st.booleans(), fails=st.integers(0, 1), processing_ms=st.sampled_from([0, 50]))
    def switch(self, late: bool, fails: int, processing_ms: int) -> None:
        self.late_is_paid, self.fails, self.processing_ms = late, fails, processing_ms
        switched = switches.Switches(
            paid_after_close=switches.Rule(share_bps=10_000 if late else 0),
            refunds=switches.RefundTrouble(fail_next=fails, processing_ms=processing_ms),
        )
        switches.save(self.conn, switched)

    @precondition(lambda self: self.paid)
    @rule(data=st.data(), number=st.sampled_from(NUMBERS), fen=st.sampled_from([1, 30, 60, 100]))
    def refund(self, data: st.DataObject, number: str, fen: int) -> None:
        attempt_id = data.draw(st.sampled_from(sorted(self.paid)))
        self.ask_refund(number, self.paid[attempt_id][0], fen)

    @precondition(lambda self: self.refunded)
    @rule(data=st.data())
    def refund_again(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.refunded)))
        self.ask_refund(number, *self.refunded[number])

    def ask_refund(self, number: str, transaction_id: str, fen: int) -> None:
        paid_fen = dict(self.paid.values())[transaction_id]
        before = refunds.status(self.conn, number).state
        wanted = self.refusal_of(number, transaction_id, fen, paid_fen)
        request = RefundRequest(number, transaction_id, fen, paid_fen, "late")
        answer = tried(lambda: refunds.refund(self.conn, self.now_ms, LIMITS, request))
        if isinstance(answer, Refused):
            assert answer.code == wanted
        else:
            assert wanted is None
            self.refunded[number] = (transaction_id, fen)
            if before in ("unknown", "failed"):  # this call began it, or began it again
                begun = "processing" if self.processing_ms else "success"
                assert answer.state == ("failed" if self.fails else begun)
                self.fails = 0
            else:
                assert answer.state in (before, "success")

    def refusal_of(self, number: str, transaction_id: str, fen: int, paid_fen: int) -> str | None:
        """With which code this refund must be refused, by what was told so far."""
        if self.refunded.get(number, (transaction_id, fen)) != (transaction_id, fen):
            return "REFUND_DIFFERS"
        state = {known: refunds.status(self.conn, known).state for known in self.refunded}
        if number in state and state[number] != "failed":
            return None
        same = [known for known, (of, _) in self.refunded.items() if of == transaction_id]
        if number not in state and len(same) >= LIMITS.refunds_per_payment_max:
            return "TOO_MANY_REFUNDS"
        given_fen = sum(self.refunded[known][1] for known in same if state[known] != "failed")
        return "NOT_ENOUGH" if given_fen + fen > paid_fen else None

    @rule(ms=st.integers(1, 60))
    def wait(self, ms: int) -> None:
        self.now_ms += ms
        refunds.settle_due(self.conn, self.now_ms, LIMITS.refunds_settled_max)

    @rule()
    def close_period(self) -> None:
        bills.close_period(self.conn, bills.periods(self.conn).open)

    @invariant()
    def the_bill_is_what_they_were_told(self) -> None:
        rows = self.conn.execute("SELECT * FROM bill_rows").fetchall()
        billed = {
            row["attempt_id"]: (row["transaction_id"], row["amount_fen"])
            for row in rows
            if row["kind"] == "payment"
        }
        assert billed == self.paid
        given = Counter[str]()
        done = set()
        for row in rows:
            if row["kind"] == "refund":
                assert self.refunded[row["refund_no"]] == (row["transaction_id"], row["amount_fen"])
                given[row["transaction_id"]] += row["amount_fen"]
                done.add(row["refund_no"])
        assert all(given[number] <= fen for number, fen in self.paid.values())
        states = {number: refunds.status(self.conn, number).state for number in self.refunded}
        assert done == {number for number, state in states.items() if state == "success"}

    @invariant()
    def every_payment_has_its_notice(self) -> None:
        for attempt_id in self.paid:
            assert len(notices.seen(self.conn, attempt_id)) == 1


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def _planned(conn: sqlite3.Connection, limits: Limits) -> int:
    request = PrepayRequest("att_1", 100, "tea", 10**9, URL)
    prepay = payments.prepay(conn, 1_000, limits, "http://s", request)
    payments.pay(conn, 1_000, limits, prepay.prepay_id, payments.PayRequest())
    (row,) = notices.due(conn, 1_000, set(), 10)
    return int(row["notice_id"])


@pytest.mark.parametrize(
    ("limits", "tries"),
    [(Limits(notice_tries_max=3), 3), (Limits(notice_time_max_ms=1_000), 3), (Limits(), 15)],
)
def test_a_notice_is_given_up_after_its_tries_or_its_time(
    tmp_path: Path, limits: Limits, tries: int
) -> None:
    conn = open_file(tmp_path / "books.sqlite3")
    notice_id, now_ms, made = _planned(conn, limits), 1_000, 0
    while notices.seen(conn, "att_1")[0].state == "waiting":
        notices.record(conn, now_ms, limits, notice_id, "no_answer")
        now_ms = notices.next_due_at_ms(conn, now_ms) or now_ms
        made += 1
    assert (notices.seen(conn, "att_1")[0].state, made) == ("given_up", tries)
    conn.close()


async def test_acts_share_a_commit_and_each_is_all_or_none(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def write(conn: sqlite3.Connection, number: int) -> int:
        conn.execute("INSERT INTO meta VALUES (?, ?)", (f"n{number}", number))
        if number % 3 == 0:
            raise Refused(409, "THIRD", "Every third one is refused after it wrote.")
        return number

    acts = (store.act(lambda conn, n=n: write(conn, n)) for n in range(30))  # type: ignore[misc]
    results = await asyncio.gather(*acts, return_exceptions=True)
    assert [n for n, result in enumerate(results) if isinstance(result, Refused)] == [
        *range(0, 30, 3)
    ]
    count = await store.act(
        lambda conn: conn.execute("SELECT count(*) FROM meta WHERE name LIKE 'n%'").fetchone()[0]
    )
    assert count == 20
    store.close()
    again = Store(tmp_path)  # the lock and the file were given free
    again.close()
