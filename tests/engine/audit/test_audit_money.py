"""Planted faults of payments, postings, shares and refunds: each is named by its own law."""

import msgspec
import pytest

from engine.audit.sources import ProviderBill
from engine.ids import new_id, now_ms
from engine.ledger import chart
from engine.ledger.entries import Entry, Line
from engine.ledger.post import post
from tests.engine.audit.evening import Scene


async def _post(scene: Scene, *lines: Line) -> None:
    """One more transaction of the paid order, by the ledger's own rules."""
    entry = Entry(f"extra:{new_id('x')}", "extra", scene.names["order"], now_ms(), lines)
    async with scene.db.begin() as session:
        await post(session, [entry])


async def test_t8_a_late_payment_that_nobody_refunds(scene: Scene) -> None:
    """Its refund never was, nor anything of it in the books or on the bill."""
    query = "SELECT id FROM refunds WHERE cause = 'late'"
    refund = await scene.value(query)
    await scene.run_unguarded(
        "postings",
        "DELETE FROM postings WHERE transaction_id ="
        " (SELECT id FROM ledger_transactions WHERE reference = 'refund:' || :r)",
        r=refund,
    )
    await scene.run_unguarded(
        "ledger_transactions", "DELETE FROM ledger_transactions WHERE reference = 'refund:' || :r",
        r=refund,
    )  # fmt: skip
    await scene.run("DELETE FROM refunds WHERE id = :r", r=refund)
    scene.bill = tuple([row for row in scene.bill if row.refund_no != refund])
    report = await scene.audit()
    assert set(report.broken) == {"T8"}
    assert "is late, 0 fen refunded" in report.law("T8").problems[0]


async def test_t8_an_order_that_stands_and_is_refunded(scene: Scene) -> None:
    await scene.run("UPDATE orders SET state = 'paid' WHERE state = 'refunded' AND team_id IS NULL")
    assert await scene.broken() == {"T8"}


async def test_t8_an_order_that_was_lost_after_its_payment(scene: Scene) -> None:
    await scene.run("UPDATE orders SET state = 'refunded' WHERE id = :o", o=scene.names["order"])
    assert await scene.broken() == {"T8"}


async def test_t8_the_bill_shows_a_payment_that_nobody_here_knows(scene: Scene) -> None:
    payment = next(row for row in scene.bill if row.kind == "payment")
    ghost = msgspec.structs.replace(payment, attempt_id="att_gone", transaction_id="txn_ghost")
    scene.bill = (*scene.bill, ghost)
    assert await scene.broken() == {"T8"}


async def test_t8_a_client_paid_and_nobody_here_knows(scene: Scene) -> None:
    """While the attempt may still be paid its callback may still come; not after it."""
    line = {"op": "pay_done", "id": "c1-paid", "attempt_id": scene.names["attempt"]}
    scene.append(type="invoke", **line, amount_fen=990)
    scene.append(type="ok", **line, transaction_id="txn_ghost")
    assert await scene.broken() == set()
    await scene.run("UPDATE payment_attempts SET pay_expires_at_ms = 1, tries = 1, next_at_ms ="
                    " 3999999999999 WHERE state = 'open'")  # fmt: skip
    assert "T8" in await scene.broken()
    assert await scene.broken(at_rest=False, stale_ms=0) == {"T8"}


async def test_m1_a_transaction_without_postings(scene: Scene) -> None:
    await scene.run(
        "INSERT INTO ledger_transactions (reference, kind, at_ms) VALUES ('extra:1', 'extra', 1)"
    )
    assert await scene.broken() == {"M1"}


async def test_m1_a_zero_posting(scene: Scene) -> None:
    await scene.run("ALTER TABLE postings DROP CONSTRAINT postings_amount_positive")
    assert await scene.broken() == {"M1"}
    await scene.run(
        "INSERT INTO postings (transaction_id, line, source, destination, amount_fen)"
        " SELECT transaction_id, max(line) + 1, 'escrow', 'hq', 0 FROM postings"
        " GROUP BY transaction_id LIMIT 1"
    )
    report = await scene.audit()
    assert set(report.broken) == {"M1"}
    assert any("1 that move nothing" in one for one in report.law("M1").problems)


async def test_m1_an_account_that_is_none(scene: Scene) -> None:
    await scene.run_unguarded(
        "postings", "UPDATE postings SET destination = 'pocket' WHERE destination = 'hq'"
    )
    report = await scene.audit()
    assert "M1" in report.broken
    assert "'pocket' is no account" in report.law("M1").problems[0]


@pytest.mark.parametrize("column", ["balance_fen", "version"])
async def test_m2_a_balance_that_its_postings_do_not_give(scene: Scene, column: str) -> None:
    await scene.run(f"UPDATE ledger_accounts SET {column} = {column} + 1 WHERE name = 'store:s1'")
    assert await scene.broken() == {"M2"}


async def test_m2_an_account_is_gone(scene: Scene) -> None:
    await scene.run("DELETE FROM ledger_accounts WHERE name = 'store:s1'")
    assert await scene.broken() == {"M2"}


async def test_m2_a_chain_that_was_rewritten(scene: Scene) -> None:
    """First and last are right, what lies between is not."""
    await scene.run_unguarded(
        "postings",
        "UPDATE postings SET destination_balance_fen = destination_balance_fen + 1"
        " WHERE destination = 'store:s1' AND destination_version = 1",
    )
    report = await scene.audit()
    assert set(report.broken) == {"M2"}
    assert "account store:s1 version 1" in report.law("M2").problems[0]


async def test_m2_accounts_that_only_record_carry_no_version(scene: Scene) -> None:
    await scene.run_unguarded(
        "postings", "UPDATE postings SET destination_version = 1 WHERE destination = 'hq'"
    )
    assert await scene.broken() == {"M2"}


@pytest.mark.parametrize("kind", ["payment", "refund", "split"])
async def test_m3_a_cause_without_its_posting(scene: Scene, kind: str) -> None:
    """Renamed, so that balances and shares stay as they are."""
    await scene.run_unguarded(
        "ledger_transactions",
        "UPDATE ledger_transactions SET kind = 'extra' WHERE id ="
        " (SELECT id FROM ledger_transactions WHERE kind = :k LIMIT 1)",
        k=kind,
    )
    report = await scene.audit()
    assert set(report.broken) == {"M3"}
    assert "is posted 0 times" in report.law("M3").problems[0]


async def test_m3_a_posting_without_its_cause(scene: Scene) -> None:
    async with scene.db.begin() as session:
        line = Line(chart.clearing("sandbox"), chart.ESCROW, 5)
        await post(session, [Entry("payment:nobody", "payment", None, 1, (line,))])
    report = await scene.audit()
    assert set(report.broken) == {"M3"}
    assert "the payment is not there" in report.law("M3").problems[0]


async def test_m3_one_cause_twice(scene: Scene) -> None:
    """The unique index is gone, and the same reference was posted again."""
    await scene.run(
        "ALTER TABLE ledger_transactions DROP CONSTRAINT ledger_transactions_reference_key"
    )
    await scene.run(
        "INSERT INTO ledger_transactions (reference, kind, at_ms) SELECT reference, kind, at_ms"
        " FROM ledger_transactions WHERE kind = 'payment' LIMIT 1"
    )
    await scene.run(
        "INSERT INTO postings (transaction_id, line, source, destination, amount_fen)"
        " SELECT max(id), 1, 'clearing:sandbox', 'escrow', 990 FROM ledger_transactions"
    )
    report = await scene.audit()
    assert set(report.broken) == {"M3"}
    assert any("is posted 2 times" in one for one in report.law("M3").problems)


async def test_m3_the_unique_index_is_gone(scene: Scene) -> None:
    await scene.run(
        "ALTER TABLE ledger_transactions DROP CONSTRAINT ledger_transactions_reference_key"
    )
    assert await scene.broken() == {"M3"}


@pytest.mark.parametrize("kind", ["payment", "refund"])
async def test_m3_what_we_booked_is_not_on_the_bill(scene: Scene, kind: str) -> None:
    gone = next(row for row in scene.bill if row.kind == kind)
    scene.bill = tuple([row for row in scene.bill if row is not gone])
    assert await scene.broken() == {"M3"}


async def test_m3_an_unfinished_bill_is_asked_only_for_what_is_older(scene: Scene) -> None:
    first = ProviderBill(scene.bill[:1])
    assert await scene.broken(bill=first) == set()
    assert await scene.broken(bill=ProviderBill(scene.bill[1:])) == {"M3"}


async def test_m3_another_amount_than_the_bills(scene: Scene) -> None:
    one, *others = scene.bill
    scene.bill = (msgspec.structs.replace(one, amount_fen=one.amount_fen + 1), *others)
    assert await scene.broken() == {"M3"}


async def test_m4_a_role_keeps_a_fen_too_much(scene: Scene) -> None:
    await _post(scene, Line(chart.HQ, chart.store("s1"), 1))
    report = await scene.audit()
    assert set(report.broken) == {"M4"}
    assert scene.names["order"] in report.law("M4").problems[0]


async def test_m4_a_refund_that_took_a_fen_too_much(scene: Scene) -> None:
    """As rate × refund does: here it would be 39.6 fen of the promoter's 79."""
    await _post(scene, Line(chart.promoter_pending("g1"), chart.HQ, 1))
    assert await scene.broken() == {"M4"}


async def test_m4_a_snapshot_that_cannot_be_split(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET credit = jsonb_set(credit, '{plan,store_bps}', '9000') WHERE id = :o",
        o=scene.names["order"],
    )
    report = await scene.audit()
    assert set(report.broken) == {"M4"}
    assert "cannot be split" in report.law("M4").problems[0]


async def test_m5_roles_keep_more_than_the_cap(scene: Scene) -> None:
    await _post(scene, Line(chart.HQ, chart.store("s1"), 200))
    assert await scene.broken() == {"M4", "M5"}


async def test_m5_hq_does_not_have_the_rest(scene: Scene) -> None:
    await _post(scene, Line(chart.HQ, chart.FEES, 1))
    assert await scene.broken() == {"M4", "M5"}


async def test_m5_a_third_level_earns(scene: Scene) -> None:
    await _post(scene, Line(chart.HQ, chart.promoter_pending("g3"), 1))
    report = await scene.audit()
    assert set(report.broken) == {"M4", "M5"}
    assert "3 levels earn" in report.law("M5").problems[0]


async def test_m5_a_guide_earns_from_their_own_order(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET credit = jsonb_set(credit, '{credit,buyer_guide_id}', '\"g1\"')"
        " WHERE id = :o",
        o=scene.names["order"],
    )
    report = await scene.audit()
    assert set(report.broken) == {"M4", "M5"}
    assert "earns from their own order" in report.law("M5").problems[0]


async def test_m5_guides_who_recruited_each_other(scene: Scene) -> None:
    await scene.run("INSERT INTO guide_terms VALUES ('g2', 5, 's1', 'g1')")
    assert await scene.broken() == {"M5"}


async def test_m9_more_refunds_than_paid(scene: Scene) -> None:
    """An intent that asks for more than is left; nothing of it is done yet."""
    await scene.run(
        "INSERT INTO refunds (id, payment_id, cause, amount_fen, units, state, requested_by,"
        " created_at_ms, lease_until_ms, next_at_ms, tries, last_error)"
        " SELECT 'rfd_x', payment_id, 'after_sale:x', paid_fen, 0, 'due', 'hq', :now, 0, :now, 0,"
        " '' FROM orders WHERE id = :o",
        o=scene.names["order"],
        now=now_ms(),
    )
    assert await scene.broken(at_rest=False) == {"M9"}


async def test_m9_the_order_says_another_sum(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET refunded_fen = refunded_fen - 1 WHERE id = :o", o=scene.names["order"]
    )
    assert await scene.broken() == {"M9"}


async def test_m9_one_cause_under_two_numbers(scene: Scene) -> None:
    """The provider was asked twice, the second time under a number that we never gave."""
    refund = next(row for row in scene.bill if row.kind == "refund")
    scene.bill = (*scene.bill, msgspec.structs.replace(refund, refund_no="rfd_other"))
    report = await scene.audit()
    assert "M9" in report.broken
    assert any("a number that was never given" in one for one in report.law("M9").problems)


async def test_m9_a_refund_of_no_payment(scene: Scene) -> None:
    await scene.run("UPDATE refunds SET payment_id = 'txn_ghost' WHERE cause = 'wrong_amount'")
    assert {"T8", "M9"} <= await scene.broken()


async def test_m10_the_apps_role_may_change_postings(scene: Scene) -> None:
    role = await scene.value("SELECT current_user")
    await scene.run(f'GRANT UPDATE ON postings TO "{role}"')
    report = await scene.audit()
    assert set(report.broken) == {"M10"}
    assert report.law("M10").problems[0] == f"role {role} may UPDATE postings"


async def test_m10_the_trigger_is_off(scene: Scene) -> None:
    await scene.run("ALTER TABLE event_batches DISABLE TRIGGER USER")
    assert await scene.broken() == {"M10"}
