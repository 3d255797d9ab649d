"""What an order's money becomes when it stands, or when its team has failed: steps on the book.

A sale without a team stands once it is paid; a seat when its team forms, and the split is then
posted on what was paid less what went back before. Callers hold the orders' locks, so the sum
of the intents cannot grow meanwhile.
"""

from collections.abc import Iterator
from typing import Final

from engine.ledger.entries import order_split
from engine.ledger.splits import from_snapshot
from workers.settle.book import Book, Intents, NewRefund, OrderNow, TeamNow

# Kinds of offers whose orders an upgrade guarantee of their SKU covers.
COVERED: Final = ("regular", "team")


def seated(book: Book, team: TeamNow) -> Iterator[OrderNow]:
    """The paid seats with which a team is decided."""
    for order in book.orders.values():
        if order.team_id == team.id and order.seat == "taken" and order.claim_state == "paid":
            yield order


def book_standing(book: Book, order: OrderNow, at_ms: int) -> None:
    """The order stands: its split is posted, once."""
    if order.split_fen is not None:
        return
    plan, credit = from_snapshot(order.credit)
    order.split_fen = order.paid_fen - order.refunded_fen
    book.touched_orders.add(order.claim_id)
    book.postings.append(order_split(order.id, order.split_fen, plan, credit, at_ms))


def book_failed(book: Book, order: OrderNow) -> None:
    """Its team failed: whatever nobody asked back yet goes back, with its units."""
    assert order.payment_id is not None
    asked = book.intents.get(order.payment_id, Intents())
    left_fen = order.paid_fen - asked.fen
    if left_fen > 0:
        _ask(book, order, "team_failed", left_fen, order.qty - asked.units)
    if order.state != "refunded":
        order.state = "refunding"
    book.touched_orders.add(order.claim_id)


def book_guarantee(book: Book, order: OrderNow) -> None:
    """The order stands now, and a crowd of its SKU has formed since it was paid: its difference.

    Orders that stood before that are looked for when the crowd is booked (workers/guarantee.py).
    """
    offer = book.offers.get(order.offer_id)
    if offer is None or offer.kind not in COVERED or order.paid_at_ms is None:
        return
    promise = book.promises.get((offer.campaign_id, offer.sku_id))
    if promise is not None and order.paid_at_ms <= promise.formed_at_ms:
        book_difference(book, order, promise.final_fen, "upgrade_guarantee")


def book_difference(
    book: Book, order: OrderNow, final_fen: int, cause: str = "crowd_difference"
) -> None:
    """A crowd's final price is lower than what was paid: the difference of the units kept, once."""
    assert order.payment_id is not None
    if final_fen >= order.unit_price_fen or order.final_price_fen is not None:
        return
    order.final_price_fen = final_fen
    book.touched_orders.add(order.claim_id)
    asked = book.intents.get(order.payment_id, Intents())
    much_fen = (order.qty - asked.units) * (order.unit_price_fen - final_fen)
    fen = min(much_fen, order.paid_fen - asked.fen)
    if fen > 0:
        _ask(book, order, cause, fen, 0)


def _ask(book: Book, order: OrderNow, cause: str, fen: int, units: int) -> None:
    """A refund that who comes after it in this batch sees among the payment's intents."""
    assert order.payment_id is not None
    refund = NewRefund(order.payment_id, order.id, order.claim_id, cause, fen, units)
    book.new_refunds.append(refund)
    asked = book.intents.get(order.payment_id, Intents())
    book.intents[order.payment_id] = Intents(asked.fen + fen, asked.units + units)
