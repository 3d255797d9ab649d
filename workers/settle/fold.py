"""What one event means for the rows: a pure step on the book of a batch.

Each handler checks everything first and changes the book after the last check, so an event that
is refused (`Poison`) leaves no trace. Transitions of an order's claim_state are the table below.
"""

from engine.events import (
    AnyEvent,
    ClaimHeld,
    ClaimPaid,
    ClaimPaying,
    ClaimReleased,
    ClaimReturned,
    OfferClosed,
    OfferOpened,
    OfferRestocked,
    PaymentLate,
    PaymentRefused,
    WaitJoined,
    WaitLeft,
    WaitSkipped,
)
from engine.ids import order_id_of
from workers.settle.book import Book, FactNow, GuardTrip, NewRefund, OfferNow, OrderNow, Poison
from workers.settle.booking import book_guarantee, book_standing
from workers.settle.fold_teams import book_seat, fold_team, team_of
from workers.settle.waiting import fold_wait, served

# event → claim_states it may find. `paying` may find paying: after a rebuild it is said again.
FROM: dict[type, frozenset[str]] = {
    ClaimPaying: frozenset({"held", "paying"}),
    ClaimPaid: frozenset({"held", "paying"}),
    ClaimReleased: frozenset({"held", "paying"}),
    ClaimReturned: frozenset({"paid"}),
}


def fold(book: Book, event: AnyEvent) -> None:
    """Apply one event to the book, or raise Poison and change nothing."""
    match event:
        case ClaimHeld():
            _held(book, event)
        case ClaimPaying():
            _paying(book, event)
        case ClaimPaid():
            _paid(book, event)
        case ClaimReleased():
            _released(book, event)
        case ClaimReturned():
            _returned(book, event)
        case PaymentLate():
            _back(book, event, "late", "late")
        case PaymentRefused():
            _back(book, event, "refused", event.why)
        case OfferOpened() | OfferRestocked() | OfferClosed():
            _offer(book, event)
        case WaitJoined() | WaitLeft() | WaitSkipped():
            fold_wait(book, event)
        case _:
            fold_team(book, event)


def _offer_of(book: Book, offer_id: str) -> OfferNow:
    offer = book.offers.get(offer_id)
    if offer is None:
        raise Poison(f"no offer {offer_id}")
    return offer


def _order_of(
    book: Book,
    event: ClaimPaying | ClaimPaid | ClaimReleased | ClaimReturned,
    expected: frozenset[str],
) -> OrderNow:
    """The event's order, in one of the `expected` claim_states and of the event's offer."""
    order = book.orders.get(event.claim_id)
    if order is None:
        raise Poison(f"no order for claim {event.claim_id}")
    if order.claim_state not in expected:
        raise Poison(f"claim {event.claim_id} is {order.claim_state}")
    if order.offer_id != event.offer_id:
        raise Poison(f"claim {event.claim_id} is of offer {order.offer_id}")
    if isinstance(event, ClaimPaid | ClaimReleased) and order.units != event.units:
        raise Poison(f"claim {event.claim_id} has {order.units} units, not {event.units}")
    return order


def _fact_of(book: Book, fact_id: str) -> FactNow:
    fact = book.facts.get(fact_id)
    if fact is None:
        raise Poison(f"no payment fact {fact_id}")
    if fact.outcome is not None:
        raise Poison(f"payment {fact_id} was already {fact.outcome}")
    return fact


def _counted(order: OrderNow) -> bool:
    return order.state != "rejected"  # the guard never counted a rejected order's units


def _held(book: Book, event: ClaimHeld) -> None:
    offer = _offer_of(book, event.offer_id)
    if event.claim_id in book.orders:
        raise Poison(f"claim {event.claim_id} has an order already")
    snapshot = book.credits.get(event.claim_id)
    if snapshot is None:
        raise Poison(f"no published version {event.version} of campaign {event.campaign_id}")
    if event.team_id:
        team_of(book, event.team_id, event.offer_id)
    served(book, event)
    rejected = offer.held + offer.sold + event.qty > offer.total
    book.orders[event.claim_id] = OrderNow(
        id=order_id_of(event.claim_id),
        claim_id=event.claim_id,
        offer_id=event.offer_id,
        campaign_id=event.campaign_id,
        version=event.version,
        buyer_id=event.buyer_id,
        qty=event.qty,
        units=event.qty,
        price_id=event.price_id,
        unit_price_fen=event.price_fen,
        amount_fen=event.price_fen * event.qty,
        state="rejected" if rejected else "open",
        claim_state="held",
        claimed_at_ms=event.at_ms,
        expires_at_ms=event.expires_at_ms,
        idem_key=event.key,
        body_hash=event.body_hash,
        touch=event.touch,
        credit=snapshot,
        reason="guard" if rejected else "",
        release_due=rejected,
        team_id=event.team_id or None,
        seat="taken" if event.team_id else "",
        consent=event.consent == "1",
        newcomer=event.newcomer == "1",
        fresh=True,
    )
    if rejected:
        book.guard_trips.append(
            GuardTrip(offer.id, event.claim_id, offer.held, offer.sold, offer.total)
        )
        return
    offer.held += event.qty
    book.touched_offers.add(offer.id)


def _paying(book: Book, event: ClaimPaying) -> None:
    order = _order_of(book, event, FROM[ClaimPaying])
    if event.attempt_id not in book.attempts:
        raise Poison(f"no payment attempt {event.attempt_id}")
    order.claim_state = "paying"
    if order.state == "open":  # a newcomer's that was to be let go: its receipt decides now
        order.release_due = False
    order.attempt_id = event.attempt_id
    order.pay_expires_at_ms = event.pay_expires_at_ms
    book.touched_orders.add(order.claim_id)
    book.applied_attempts[event.attempt_id] = event.seq


def _paid(book: Book, event: ClaimPaid) -> None:
    order = _order_of(book, event, frozenset({"released"}) if event.retaken else FROM[ClaimPaid])
    if not _counted(order):
        raise Poison(f"the order of claim {event.claim_id} is {order.state}")
    offer = _offer_of(book, event.offer_id)
    fact = _fact_of(book, event.fact_id)
    if fact.amount_fen != order.amount_fen:
        raise Poison(f"payment {fact.id} of {fact.amount_fen} fen for {order.amount_fen}")
    if event.retaken and offer.held + offer.sold + order.units > offer.total:
        raise Poison(f"offer {offer.id} has no unit left for a retake")
    if (order.team_id is None) != (event.team_id == ""):
        raise Poison(f"claim {event.claim_id} is paid in team {event.team_id or 'none'}")
    team = team_of(book, event.team_id, event.offer_id) if event.team_id else None
    if not event.retaken:
        offer.held -= order.units
    offer.sold += order.units
    order.claim_state = order.state = "paid"
    order.reason = ""
    order.release_due = False
    order.payment_id = fact.id
    order.paid_at_ms = event.at_ms
    order.paid_fen = fact.amount_fen
    fact.outcome = "paid"
    book.touched_offers.add(offer.id)
    book.touched_orders.add(order.claim_id)
    book.applied_facts[fact.id] = ("paid", event.seq)
    if event.attempt_id in book.attempts:
        book.paid_attempts[event.attempt_id] = event.seq
    if team is None:
        book_standing(book, order, event.at_ms)
        book_guarantee(book, order)
        return
    order.team_id = team.id
    if event.landed:
        order.seat = "taken"
    if team.is_decided:  # a letter that was settled afterwards
        book_seat(book, team, order, event.at_ms)


def _released(book: Book, event: ClaimReleased) -> None:
    order = _order_of(book, event, FROM[ClaimReleased])
    offer = _offer_of(book, event.offer_id)
    if _counted(order):
        offer.held -= order.units
        order.state = "released"
        order.reason = event.why
        book.touched_offers.add(offer.id)
    order.claim_state = "released"
    order.release_due = False
    book.touched_orders.add(order.claim_id)
    if event.attempt_id in book.attempts:
        book.released_attempts[event.attempt_id] = event.seq


def _returned(book: Book, event: ClaimReturned) -> None:
    order = _order_of(book, event, FROM[ClaimReturned])
    offer = _offer_of(book, event.offer_id)
    refund = book.refunds.get(event.refund_id)
    if refund is None or refund.applied:
        raise Poison(f"refund {event.refund_id} is not waiting for its units")
    if order.units - event.units != event.left or event.left < 0:
        raise Poison(f"claim {event.claim_id} has {order.units} units, not {event.units}")
    offer.sold -= event.units
    order.units = event.left
    if event.left == 0:
        order.claim_state = "returned"
    refund.applied = True
    book.touched_offers.add(offer.id)
    book.touched_orders.add(order.claim_id)
    book.applied_refunds[refund.id] = event.seq


def _back(book: Book, event: PaymentLate | PaymentRefused, outcome: str, cause: str) -> None:
    """A payment that does not stand: its fact is decided and a refund is due, once."""
    fact = _fact_of(book, event.fact_id)
    fact.outcome = outcome
    book.applied_facts[fact.id] = (outcome, event.seq)
    book.new_refunds.append(
        NewRefund(fact.id, fact.order_id, event.claim_id, cause, fact.amount_fen)
    )


def _offer(book: Book, event: OfferOpened | OfferRestocked | OfferClosed) -> None:
    offer = _offer_of(book, event.offer_id)
    if event.command_id not in book.commands:
        raise Poison(f"no offer command {event.command_id}")
    if book.commands[event.command_id]:
        raise Poison(f"offer command {event.command_id} was applied already")
    match event:
        case OfferOpened():
            if offer.state != "scheduled":
                raise Poison(f"offer {offer.id} is {offer.state}")
            offer.state, offer.total = "open", event.total
        case OfferRestocked():
            offer.total += event.units
        case OfferClosed():
            offer.state = event.state
    book.touched_offers.add(offer.id)
    book.commands[event.command_id] = True
    book.applied_commands[event.command_id] = event.seq
