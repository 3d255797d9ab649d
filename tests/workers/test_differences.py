"""What is asked of a payment in one batch adds up: a difference, and then all of the rest."""

from typing import Any

from tests.workers.test_fold_teams import book, order
from workers.settle.book import Promise
from workers.settle.booking import book_difference, book_guarantee
from workers.settle.newcomers import judge_newcomers


def test_who_is_not_new_gets_back_what_the_difference_left() -> None:
    """A newcomer's team forms behind a crowd, and in the same batch they turn out not to be new."""
    prices: dict[str, Any] = {
        "qty": 2,
        "units": 2,
        "unit_price_fen": 990,
        "paid_fen": 1_980,
        "paid_at_ms": 20,
    }
    claim_id = "clm-s0-e1-5-0123456789abcdef"
    new = order("n", claim_id=claim_id, newcomer=True, state="paid", refunded_fen=0, **prices)
    found = book()
    found.orders = {claim_id: new}
    found.promises = {("c", "sku"): Promise("c", "sku", 20, 700)}
    book_guarantee(found, new)
    found.kept = {"n": {"ord-before": 10}}
    judge_newcomers(found)
    asked = [(one.cause, one.amount_fen, one.units) for one in found.new_refunds]
    assert asked == [("upgrade_guarantee", 580, 0), ("not_new", 1_400, 2)]


def test_one_difference_and_none_for_who_paid_later() -> None:
    found, promised = book(), Promise("c", "sku", 20, 700)
    found.promises = {("c", "sku"): promised}
    fields: dict[str, Any] = {"unit_price_fen": 990, "paid_fen": 990, "refunded_fen": 0}
    early, late = (order(str(at), paid_at_ms=at, **fields) for at in (20, 21))
    for one in (early, early, late):
        book_guarantee(found, one)
    book_difference(found, early, 600)
    assert [one.order_id for one in found.new_refunds] == ["ord-20"]
    assert (early.final_price_fen, late.final_price_fen) == (700, None)
