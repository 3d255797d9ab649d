"""Entries: the lines of a payment, a split and a refund, and that escrow comes out even."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ledger import chart
from engine.ledger.entries import (
    Entry,
    Line,
    Standing,
    order_split,
    payment_received,
    refund_done,
    subsidy_seat,
)
from engine.ledger.splits import Credit, SplitPlan

PLAN = SplitPlan(promoter_bps=800, upline_bps=200, store_bps=1500, level_two=True, cap_bps=3000)
CREDIT = Credit(promoter_id="g1", upline_id="g2", store_id="s1")
CLEARING = chart.clearing("sandbox")


def net(*entries: Entry) -> Counter[str]:
    """What each account gains over all entries."""
    totals: Counter[str] = Counter()
    for entry in entries:
        for line in entry.lines:
            totals[line.source] -= line.amount_fen
            totals[line.destination] += line.amount_fen
    return Counter({account: fen for account, fen in totals.items() if fen})


def test_a_payment_goes_from_clearing_to_escrow() -> None:
    entry = payment_received("pay1", "sandbox", 19_900, "ord1", 7)
    line = Line(CLEARING, chart.ESCROW, 19_900)
    assert entry == Entry("payment:pay1", "payment", "ord1", 7, (line,))


def test_a_standing_order_is_split_out_of_escrow() -> None:
    entry = order_split("ord1", 19_900, PLAN, CREDIT, 8)
    assert entry.reference == "split:ord1"
    assert net(entry) == {
        chart.ESCROW: -19_900,
        chart.promoter_pending("g1"): 1592,
        chart.promoter_pending("g2"): 398,
        chart.store("s1"): 2985,
        chart.HQ: 14_925,
    }


def test_a_subsidy_seat_is_paid_to_hq_by_the_subsidy() -> None:
    entry = subsidy_seat("tcm1", 1_980, 8)
    assert (entry.reference, entry.order_id) == ("subsidy:tcm1", None)
    assert net(entry) == {chart.SUBSIDY: -1_980, chart.HQ: 1_980}


def test_a_payment_that_never_stood_goes_straight_back() -> None:
    entry = refund_done("ref1", "sandbox", 19_900, None, 9, None)
    line = Line(chart.ESCROW, CLEARING, 19_900)
    assert entry == Entry("refund:ref1", "refund", None, 9, (line,))


@given(st.integers(1, 10**7), st.data())
def test_refunds_of_a_standing_order_undo_it_exactly(paid: int, data: st.DataObject) -> None:
    entries = [
        payment_received("p", "sandbox", paid, "o", 1),
        order_split("o", paid, PLAN, CREDIT, 2),
    ]
    before = 0
    while before < paid:
        amount = data.draw(st.integers(1, paid - before)) if len(entries) < 6 else paid - before
        standing = Standing(PLAN, CREDIT, paid, before)
        entries.append(refund_done(f"r{before}", "sandbox", amount, "o", 3, standing))
        before += amount
        expected = net(order_split("o", paid - before, PLAN, CREDIT, 2))
        del expected[chart.ESCROW]
        expected[CLEARING] = before - paid
        assert net(*entries) == Counter({name: fen for name, fen in expected.items() if fen})
    assert net(*entries) == {}


@pytest.mark.parametrize(("amount", "before"), [(101, 0), (1, 100), (-1, 5), (5, -1)])
def test_refunds_above_what_was_paid_are_refused(amount: int, before: int) -> None:
    with pytest.raises(ValueError, match="refund of"):
        refund_done("r", "sandbox", amount, "o", 1, Standing(PLAN, CREDIT, 100, before))
