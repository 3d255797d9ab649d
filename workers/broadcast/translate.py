"""Shard events → topic events: what a batch means for rooms and for members. Pure.

An offer's opening and closing are told as they were; whatever moves its stock is told once, by a
tick with the stock as it is after the batch, and so are its teams. A claim's events go to its
buyer alone, a team's (teams.py) to its own topic.
"""

import logging
from collections.abc import Sequence

import msgspec

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
    SeatFilled,
    SeatMoved,
    TeamEvent,
    WaitEvent,
    WaitJoined,
    WaitSkipped,
    decode,
)
from engine.room_events import ClaimStateWord, MyClaim, MyPayment, MyWait
from engine.stream import Entries

log = logging.getLogger(__name__)

OfferEvent = OfferOpened | OfferClosed
ClaimEvent = (
    ClaimHeld
    | ClaimPaying
    | ClaimPaid
    | ClaimReleased
    | ClaimReturned
    | PaymentLate
    | PaymentRefused
)
_MOVES_STOCK = (OfferOpened, OfferRestocked, ClaimHeld, ClaimPaid, ClaimReleased, ClaimReturned)


class AboutClaim(msgspec.Struct, frozen=True):
    """What later events of a claim do not say."""

    buyer_id: str
    units: int
    price_fen: int
    expires_at_ms: int


class Batch(msgspec.Struct):
    """Gapless events of one shard and epoch, sorted by whom they concern; `last` is their end."""

    shard: int
    epoch: int
    last: int
    offers: list[OfferEvent]
    claims: list[ClaimEvent]
    touched: dict[str, None]  # offers whose stock has moved, in the order of their first event
    seats: list[TeamEvent]
    waits: list[WaitEvent]
    teams: dict[str, str]  # teams whose seats or state have moved, each with its offer

    def origin(self, seq: int) -> str:
        """The cause that a topic event of this shard event names."""
        return f"s{self.shard}-e{self.epoch}-{seq}"

    def tick_origin(self, offer_id: str) -> str:
        """The cause of the tick that ends the batch for this offer, or team."""
        return f"tick-s{self.shard}-e{self.epoch}-{self.last}-{offer_id}"


def sort_out(shard: int, epoch: int, entries: Entries) -> Batch:
    """The batch of these entries. What cannot be read is left out: the settler buries it."""
    batch = Batch(shard, epoch, entries[-1][0], [], [], {}, [], [], {})
    for seq, fields in entries:
        try:
            event = decode(seq, fields)
        except (msgspec.ValidationError, ValueError) as error:
            log.error("shard %d: event %d of epoch %d is unreadable: %s", shard, seq, epoch, error)
            continue
        if isinstance(event, _MOVES_STOCK):
            batch.touched.setdefault(event.offer_id)
        if isinstance(event, OfferEvent):
            batch.offers.append(event)
        elif isinstance(event, ClaimEvent):
            batch.claims.append(event)
            if isinstance(event, ClaimHeld) and event.team_id:
                batch.teams.setdefault(event.team_id, event.offer_id)
        elif isinstance(event, WaitEvent):
            batch.waits.append(event)
        else:
            _of_team(batch, event)
    return batch


def _of_team(batch: Batch, event: AnyEvent) -> None:
    if isinstance(event, TeamEvent):
        batch.seats.append(event)
        batch.teams.setdefault(event.team_id, event.offer_id)
        if isinstance(event, SeatMoved):
            batch.teams.setdefault(event.from_team_id, event.offer_id)


def begun_here(claims: Sequence[ClaimEvent | SeatFilled]) -> dict[str, AboutClaim]:
    """claim_id → what its own claim.held in this batch says."""
    return {
        event.claim_id: AboutClaim(event.buyer_id, event.qty, event.price_fen, event.expires_at_ms)
        for event in claims
        if isinstance(event, ClaimHeld)
    }


def for_buyer(event: ClaimEvent, about: AboutClaim) -> MyClaim | MyPayment:
    """What the buyer is told."""
    if isinstance(event, PaymentLate | PaymentRefused):
        return MyPayment(
            at_ms=event.at_ms,
            claim_id=event.claim_id,
            offer_id=event.offer_id,
            what="late" if isinstance(event, PaymentLate) else "refused",
            why=event.why,
        )
    state, units = _after(event, about)
    told = MyClaim(
        at_ms=event.at_ms,
        claim_id=event.claim_id,
        offer_id=event.offer_id,
        state=state,
        units=units,
        why=event.why if isinstance(event, ClaimReleased) else "",
        price_fen=about.price_fen,
    )
    if isinstance(event, ClaimHeld):
        return msgspec.structs.replace(told, expires_at_ms=event.expires_at_ms)
    if isinstance(event, ClaimPaying):
        return msgspec.structs.replace(told, pay_expires_at_ms=event.pay_expires_at_ms)
    return told


def for_waiter(event: WaitEvent) -> MyWait:
    """What somebody in a waiting list is told."""
    if isinstance(event, WaitJoined):
        place = event.place
        return MyWait(at_ms=event.at_ms, offer_id=event.offer_id, state="waiting", place=place)
    if isinstance(event, WaitSkipped):
        why = event.why
        return MyWait(at_ms=event.at_ms, offer_id=event.offer_id, state="skipped", why=why)
    return MyWait(at_ms=event.at_ms, offer_id=event.offer_id, state="left")


def _after(
    event: ClaimHeld | ClaimPaying | ClaimPaid | ClaimReleased | ClaimReturned, about: AboutClaim
) -> tuple[ClaimStateWord, int]:
    """The claim's state and units after this event."""
    match event:
        case ClaimHeld():
            return "held", event.qty
        case ClaimPaying():
            return "paying", about.units
        case ClaimPaid():
            return "paid", event.units
        case ClaimReleased():
            return "released", event.units
        case ClaimReturned():  # a part of it may stay with the buyer
            return ("paid" if event.left else "returned"), event.left
