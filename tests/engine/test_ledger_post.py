"""Posting on PostgreSQL: batches, exactly once, clawback, and refusals without a trace."""

import pytest
from sqlalchemy import text

from engine.db import Database
from engine.errors import Conflict, KaituanError
from engine.ledger import chart
from engine.ledger.entries import Entry, Line, Standing, order_split, payment_received, refund_done
from engine.ledger.post import balances, post, sums
from engine.ledger.splits import Credit, SplitPlan
from tests.engine.ledger_checks import counts, put, unsound

PLAN = SplitPlan(promoter_bps=800, upline_bps=200, store_bps=1500, level_two=True, cap_bps=3000)
CREDIT = Credit(promoter_id="g1", upline_id="g2", store_id="s1")
CLEARING = chart.clearing("sandbox")
PENDING, AVAILABLE, DEBT = (
    make("g1") for make in (chart.promoter_pending, chart.promoter_available, chart.promoter_debt)
)


def moved(reference: str, *lines: Line) -> Entry:
    return Entry(reference, "test", None, 1, lines)


def sale(number: int, paid: int = 19_900) -> list[Entry]:
    order_id = f"ord{number}"
    return [
        payment_received(f"pay{number}", "sandbox", paid, order_id, 1),
        order_split(order_id, paid, PLAN, CREDIT, 2),
    ]


async def test_a_batch_of_sales_adds_up(db: Database) -> None:
    entries = [entry for number in range(50) for entry in sale(number)]
    assert await put(db, *entries) == 100
    async with db.begin() as session:
        assert await balances(session, "promoter:") == {
            PENDING: 50 * 1592,
            chart.promoter_pending("g2"): 50 * 398,
        }
        assert await balances(session, "store:s1") == {chart.store("s1"): 50 * 2985}
        assert await sums(session, [CLEARING, chart.ESCROW, chart.HQ, chart.FEES, PENDING]) == {
            CLEARING: -50 * 19_900,
            chart.ESCROW: 0,
            chart.HQ: 50 * 14_925,
            chart.FEES: 0,
            PENDING: 50 * 1592,
        }
    assert await unsound(db) == []


async def test_what_is_posted_twice_counts_once(db: Database) -> None:
    assert await put(db, *sale(1), *sale(1)) == 2
    before = await counts(db)
    assert await put(db, *sale(1)) == 0
    assert await put(db, *sale(2), *sale(1)) == 2
    later = [Entry(e.reference, e.kind, e.order_id, e.at_ms + 99, e.lines) for e in sale(1)]
    assert await put(db, *later) == 0
    assert await counts(db) == (before[0] * 2, before[1] * 2, before[2])
    assert await unsound(db) == []


async def test_a_reference_never_stands_for_two_things(db: Database) -> None:
    first, second = sale(1)
    await put(db, first, second)
    before = await counts(db)
    line = first.lines[0]
    others = [
        Entry(first.reference, first.kind, first.order_id, 1, (Line(*_but(line, 1)),)),
        Entry(first.reference, first.kind, "ord2", 1, first.lines),
        Entry(first.reference, "other", first.order_id, 1, first.lines),
        Entry(second.reference, second.kind, second.order_id, 1, second.lines[:-1]),
        order_split("ord1", 19_900, PLAN, Credit(promoter_id="g3", store_id="s1"), 2),
    ]
    for other in others:
        with pytest.raises(KaituanError, match="reference_reused") as caught:
            await put(db, *sale(7), other)
        assert caught.value.extra == {"reference": other.reference}
    with pytest.raises(KaituanError, match="reference_reused"):
        await put(
            db, moved("x", Line(CLEARING, chart.HQ, 1)), moved("x", Line(CLEARING, chart.HQ, 2))
        )
    assert await counts(db) == before


def _but(line: Line, more: int) -> tuple[chart.Account, chart.Account, int]:
    return line.source, line.destination, line.amount_fen + more


async def test_zero_lines_are_dropped_and_nothing_to_post_leaves_no_trace(db: Database) -> None:
    nothing = moved("none", Line(CLEARING, chart.HQ, 0))
    assert await put(db) == 0
    assert await put(db, nothing, moved("empty")) == 0
    assert await counts(db) == (0, 0, 0)
    assert (
        await put(db, moved("some", Line(CLEARING, PENDING, 0), Line(CLEARING, chart.HQ, 1))) == 1
    )
    assert await counts(db) == (1, 1, 0)


@pytest.mark.parametrize(
    "line",
    [
        Line(CLEARING, chart.ESCROW, -1),
        Line(chart.HQ, chart.HQ, 1),
        Line(chart.Account("bank"), chart.HQ, 1),
        Line(chart.HQ, chart.Account("promoter:g1"), 1),
    ],
)
async def test_a_line_that_makes_no_sense_is_refused(db: Database, line: Line) -> None:
    with pytest.raises(ValueError, match=r"cannot be posted|is not an account"):
        await put(db, *sale(1), moved("bad", line))
    assert await counts(db) == (0, 0, 0)


async def test_refunds_leave_the_split_of_what_is_left(db: Database) -> None:
    await put(db, *sale(1))
    for before, amount in ((0, 1), (1, 9_998), (9_999, 9_901)):
        standing = Standing(PLAN, CREDIT, 19_900, before)
        done = refund_done(f"ref{before}", "sandbox", amount, "ord1", 3, standing)
        assert await put(db, done) == 1
        assert await put(db, done) == 0
        left = order_split("ord1", 19_900 - before - amount, PLAN, CREDIT, 2)
        accounts = [line.destination for line in sale(1)[1].lines]
        async with db.begin() as session:
            kept = {line.destination: line.amount_fen for line in left.lines}
            assert await sums(session, accounts) == {a: kept.get(a, 0) for a in accounts}
            assert await sums(session, [chart.ESCROW]) == {chart.ESCROW: 0}
            assert (await sums(session, [CLEARING]))[CLEARING] == before + amount - 19_900
    assert await unsound(db) == []


async def test_clawback_takes_pending_then_available_then_leaves_a_debt(db: Database) -> None:
    await put(db, moved("earn", Line(chart.ESCROW, PENDING, 100)))
    await put(db, moved("mature", Line(PENDING, AVAILABLE, 70)))
    back = moved("back", Line(PENDING, chart.ESCROW, 120))
    assert await put(db, back) == 1
    async with db.begin() as session:
        assert await balances(session, "promoter:g1:") == {AVAILABLE: 0, DEBT: -20, PENDING: 0}
        lines = await session.execute(
            text("SELECT source, amount_fen FROM postings WHERE destination = 'escrow'")
        )
        assert set(map(tuple, lines)) == {(PENDING, 30), (AVAILABLE, 70), (DEBT, 20)}
    assert await put(db, back) == 0  # spread over three accounts, and still the same entry
    with pytest.raises(KaituanError, match="reference_reused"):
        await put(db, moved("back", Line(PENDING, chart.ESCROW, 121)))
    assert await put(db, moved("store", Line(chart.store("s9"), chart.ESCROW, 5))) == 1
    async with db.begin() as session:
        assert await balances(session, "store:") == {chart.store("s9"): -5}
    assert await unsound(db) == []


async def test_whoever_lacks_the_fen_cannot_pay_and_nothing_of_the_batch_stays(
    db: Database,
) -> None:
    await put(db, moved("earn", Line(chart.ESCROW, PENDING, 100)))
    before = await counts(db)
    with pytest.raises(Conflict, match="balance_too_low") as caught:
        await put(db, *sale(1), moved("mature", Line(PENDING, AVAILABLE, 1_693)))
    assert caught.value.extra == {"reference": "mature", "account": PENDING}
    assert await counts(db) == before
    assert await put(db, *sale(1), moved("mature", Line(PENDING, AVAILABLE, 1_692))) == 3
    assert await unsound(db) == []


async def test_a_prefix_is_taken_literally(db: Database) -> None:
    await put(db, moved("a", Line(CLEARING, chart.store("a_b"), 1)))
    await put(db, moved("b", Line(CLEARING, chart.store("axb"), 2)))
    async with db.begin() as session:
        assert await balances(session, "store:a_") == {chart.store("a_b"): 1}
        assert await balances(session, "store:%") == {}
        assert await post(session, []) == 0
