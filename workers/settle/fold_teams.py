"""What one event of a team or crowd means for the rows; as `fold`, pure, all or nothing.

Counts are those that the events carry, so nothing adds up over an event that was lost. A team of
two or three is booked here when it is decided; of a crowd only the state, since its members may
be thousands: workers/crowds.py books them.
"""

from engine.events import (
    Closing,
    CrowdReached,
    Decided,
    SeatEvent,
    SeatMoved,
    TeamEvent,
    TeamOpened,
    TeamSubsidised,
)
from engine.ledger.entries import subsidy_back, subsidy_seat
from workers.settle.book import Book, OrderNow, Poison, Promise, TeamNow
from workers.settle.booking import book_failed, book_guarantee, book_standing, seated


def fold_team(book: Book, event: TeamEvent) -> None:
    """Apply one event to the book, or raise Poison and change nothing."""
    match event:
        case TeamOpened():
            _opened(book, event)
        case SeatEvent():
            _seat(book, event)
        case SeatMoved():
            _moved(book, event)
        case TeamSubsidised():
            _subsidised(book, event)
        case CrowdReached():
            team = _undecided(book, event)
            team.step = event.step
            if team.reached_at_ms is None:
                team.reached_at_ms = event.at_ms
            if team.state == "forming":
                team.state = "reached"
        case Closing():
            team = _undecided(book, event)
            team.state = "closing"
            team.deadline_ms = event.deadline_ms or team.deadline_ms
        case Decided():
            _decided(book, event)
    book.touched_teams.add(event.team_id)


def team_of(book: Book, team_id: str, offer_id: str) -> TeamNow:
    """The offer's team; Poison when there is none."""
    team = book.teams.get(team_id)
    if team is None or team.offer_id != offer_id:
        raise Poison(f"offer {offer_id} has no team {team_id}")
    return team


def _undecided(book: Book, event: TeamEvent | Closing | Decided) -> TeamNow:
    team = team_of(book, event.team_id, event.offer_id)
    if team.is_decided:
        raise Poison(f"team {team.id} is {team.state} already")
    return team


def _opened(book: Book, event: TeamOpened) -> None:
    if event.team_id in book.teams:
        raise Poison(f"team {event.team_id} is open already")
    if event.offer_id not in book.offers:
        raise Poison(f"no offer {event.offer_id}")
    book.teams[event.team_id] = TeamNow(
        id=event.team_id,
        offer_id=event.offer_id,
        campaign_id=event.campaign_id,
        version=event.version,
        kind=event.team_kind,
        opener_id=event.opener_id,
        captain_id=event.opener_id,
        size=event.size,
        state="forming" if event.team_kind == "crowd" else "opening",
        opened_at_ms=event.at_ms,
        deadline_ms=event.deadline_ms,
        fresh=True,
    )


def _order_of(book: Book, event: SeatEvent | SeatMoved) -> OrderNow:
    order = book.orders.get(event.claim_id)
    if order is None or order.team_id is None:
        raise Poison(f"claim {event.claim_id} has no order with a seat")
    return order


def _seat(book: Book, event: SeatEvent) -> None:
    """A seat counts as paid, or was left; `captain_id` comes with the leaving."""
    team, order = team_of(book, event.team_id, event.offer_id), _order_of(book, event)
    # A letter may be settled after its team was decided; what came after that is wrong.
    if team.decided_at_ms is not None and event.at_ms > team.decided_at_ms:
        raise Poison(f"team {team.id} is {team.state} already")
    captain_id: str | None = getattr(event, "captain_id", None)
    if captain_id is not None and order.team_id == event.team_id:  # else it was moved
        order.seat = "left"
        book.touched_orders.add(order.claim_id)
        if order.claim_state == "returned" and order.refunded_fen < order.paid_fen:
            book_standing(book, order, event.at_ms)  # its units are back, not all of its money
    if team.is_decided:
        return
    team.paid = event.paid
    if captain_id is not None:
        team.captain_id = captain_id
    elif team.state == "opening":
        team.state = "forming"


def _moved(book: Book, event: SeatMoved) -> None:
    team, order = _undecided(book, event), _order_of(book, event)
    if order.team_id != event.from_team_id or order.claim_state != "paid":
        raise Poison(f"claim {event.claim_id} has no paid seat in {event.from_team_id}")
    order.team_id, order.seat = team.id, "taken"
    book.touched_orders.add(order.claim_id)


def _subsidised(book: Book, event: TeamSubsidised) -> None:
    team = _undecided(book, event)
    command = book.team_commands.get(event.command_id)
    if command is None or command.team_id != team.id:
        raise Poison(f"no command {event.command_id} on team {team.id}")
    if command.applied:
        raise Poison(f"command {event.command_id} was applied already")
    team.subsidy += event.seats
    command.applied = True
    book.applied_team_commands[command.id] = event.seq
    book.postings.append(subsidy_seat(command.id, command.amount_fen, event.at_ms))


def _decided(book: Book, event: Decided) -> None:
    team = _undecided(book, event)
    team.state = "formed" if str(event.__struct_config__.tag).endswith(".formed") else "failed"
    team.why, team.decided_at_ms = event.why, event.at_ms
    team.paid, team.subsidy, team.step = event.paid, event.subsidy, event.step
    if team.kind == "crowd":
        _promise(book, team, event.at_ms)
        return
    for order in seated(book, team):
        book_seat(book, team, order, event.at_ms)
    if team.state == "failed":
        for command in book.team_commands.values():
            if command.team_id == team.id and command.applied:
                book.postings.append(subsidy_back(command.id, command.amount_fen, event.at_ms))
    team.booked_at_ms = event.at_ms


def _promise(book: Book, team: TeamNow, at_ms: int) -> None:
    """A crowd with the guarantee formed: from here on in the stream other orders know it."""
    offer = book.offers[team.offer_id]
    if team.state == "formed" and offer.promised is not None:
        final_fen = offer.promised[team.step - 1][2]
        promise = Promise(offer.campaign_id, offer.sku_id, at_ms, final_fen)
        book.promises[promise.campaign_id, promise.sku_id] = promise
        team.guarantee_due = True


def book_seat(book: Book, team: TeamNow, order: OrderNow, at_ms: int) -> None:
    """The money of a paid seat whose team is decided; a crowd's is left to its loop."""
    if team.kind == "crowd":
        team.booked_at_ms = None
        book.touched_teams.add(team.id)
    elif team.state == "formed":
        book_standing(book, order, at_ms)
        book_guarantee(book, order)
    else:
        book_failed(book, order)
