"""A shard's state, and what each event does to it.

`Shard.apply` is the whole replay: events in, state out. It raises Contradiction for an event
that no script can have written in that state: a gap, a transition that does not exist, stock
below zero or a limit passed, at that very instant.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
from engine.inventory import OfferConfig
from engine.replay import seats, teams, waits
from engine.replay.state import SELLING, Answer, Claim, Contradiction, Offer, Team, Wait

__all__ = ["Answer", "Claim", "Contradiction", "Offer", "Shard", "Team", "Wait"]

# From which states a claim can reach a state; a retake is the one way back.
_FROM = {
    "paying": ("held",),
    "paid": ("held", "paying"),
    "released": ("held", "paying"),
    "returned": ("paid",),
    "retaken": ("released",),
}


@dataclass
class Shard:
    """The state; `configs` are the offers' rules, which the events do not repeat.

    `answers` are by (buyer, offer, key), `did` is the time by the id of a row whose event has
    been emitted, `unsettled` the (seq, at_ms) of the events behind `settled_seq`; `openers` are
    the open teams by (offer, buyer who opened and leads it), `seats` the claims by (team, buyer),
    `newcomers` by (campaign, buyer); `waits` the entries by (offer, buyer).
    """

    shard: int
    epoch: int
    configs: Mapping[str, OfferConfig]
    seq: int = 0
    settled_seq: int = 0
    offers: dict[str, Offer] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    answers: dict[tuple[str, str, str], Answer] = field(default_factory=dict)
    did: dict[str, int] = field(default_factory=dict)
    limits: Counter[tuple[str, str]] = field(default_factory=Counter)
    unsettled: deque[tuple[int, int]] = field(default_factory=deque)
    teams: dict[str, Team] = field(default_factory=dict)
    openers: dict[tuple[str, str], str] = field(default_factory=dict)
    seats: dict[tuple[str, str], str] = field(default_factory=dict)
    newcomers: dict[tuple[str, str], str] = field(default_factory=dict)
    waits: dict[tuple[str, str], Wait] = field(default_factory=dict)

    def apply(self, event: AnyEvent) -> None:
        """Take the next event; Contradiction when it cannot be the next one."""
        if event.seq != self.seq + 1:
            raise Contradiction(f"seq {event.seq} follows {self.seq}")
        match event:
            case OfferOpened():
                self._open(event)
            case OfferRestocked():
                offer = self._offer(event.offer_id)
                offer.total += event.units
                if offer.total != event.total:
                    raise Contradiction(f"{event} makes a total of {offer.total}")
                self.do(event.command_id, event.at_ms)
            case OfferClosed():
                self._close(event)
            case ClaimHeld():
                self._hold(event)
            case ClaimPaying():
                self._paying(event)
            case ClaimPaid():
                self._paid(event)
            case ClaimReleased():
                self._units(event.claim_id, event.units)
                seats.released(self, self._claim(event.claim_id))
                self._take(self._step(event.claim_id, "released"), -event.units)
            case ClaimReturned():
                self._returned(event)
            case PaymentLate() | PaymentRefused():
                self._claim(event.claim_id)
                self.do(event.fact_id, event.at_ms)
            case WaitJoined() | WaitLeft() | WaitSkipped():
                waits.apply(self, event)
            case _:
                teams.apply(self, event)
        self.seq = event.seq
        self.unsettled.append((event.seq, event.at_ms))

    def settle(self, seq: int) -> None:
        """PostgreSQL holds everything up to `seq`."""
        self.settled_seq = max(self.settled_seq, seq)
        while self.unsettled and self.unsettled[0][0] <= self.settled_seq:
            self.unsettled.popleft()

    def fork(self) -> "Shard":
        """A copy that goes its own way."""
        return replace(
            self,
            offers={one: replace(offer) for one, offer in self.offers.items()},
            claims={one: replace(claim) for one, claim in self.claims.items()},
            teams={one: replace(team) for one, team in self.teams.items()},
            answers=dict(self.answers),
            did=dict(self.did),
            limits=self.limits.copy(),
            unsettled=self.unsettled.copy(),
            openers=dict(self.openers),
            seats=dict(self.seats),
            newcomers=dict(self.newcomers),
            waits=dict(self.waits),
        )

    def _open(self, event: OfferOpened) -> None:
        if event.offer_id in self.offers or event.offer_id not in self.configs:
            raise Contradiction(f"{event.offer_id} is open already, or has no rules")
        self.offers[event.offer_id] = Offer(self.configs[event.offer_id], event.total)

    def _close(self, event: OfferClosed) -> None:
        offer = self._offer(event.offer_id)
        if offer.state == "cancelled" and event.state != "cancelled":
            raise Contradiction(f"{event} after the offer was cancelled")
        offer.state = event.state
        self.do(event.command_id, event.at_ms)

    def _hold(self, event: ClaimHeld) -> None:
        config = self._offer(event.offer_id).config
        if self._offer(event.offer_id).state not in SELLING:
            raise Contradiction(f"{event} of an offer that takes no claims")
        claim = Claim(
            claim_id=event.claim_id,
            offer_id=event.offer_id,
            campaign_id=event.campaign_id,
            buyer_id=event.buyer_id,
            units=event.qty,
            price_id=event.price_id,
            price_fen=event.price_fen,
            expires_at_ms=event.expires_at_ms,
            epoch=self.epoch,
            seq=event.seq,
            keep_until_ms=config.keep_until_ms,
            newcomer=event.newcomer,
        )
        asked = (event.buyer_id, event.offer_id, event.key)
        if event.claim_id in self.claims or asked in self.answers:
            raise Contradiction(f"{event.claim_id} or its key {event.key} was there before")
        if event.team_id or config.team is not None:
            seats.held(self, claim, event)
        else:
            seats.take_right(self, claim)
        waits.held(self, event)
        self._take(claim, event.qty)
        self.claims[event.claim_id] = claim
        self.answers[asked] = Answer(
            event.body_hash,
            event.claim_id,
            event.price_id,
            event.price_fen,
            event.expires_at_ms,
        )

    def _paying(self, event: ClaimPaying) -> None:
        claim = self._claim(event.claim_id)
        if claim.unsaid and claim.attempt_id == event.attempt_id and claim.state == "paying":
            claim.unsaid = 0
            return
        self._step(event.claim_id, "paying")
        seats.paying(self, claim, event)
        claim.attempt_id = event.attempt_id
        claim.pay_expires_at_ms = event.pay_expires_at_ms

    def _paid(self, event: ClaimPaid) -> None:
        self._units(event.claim_id, event.units)
        before = self._claim(event.claim_id).state
        claim = self._step(event.claim_id, "retaken" if event.retaken else "paid")
        if event.team_id or claim.team_id:
            seats.paid(self, claim, event, before)
        if event.retaken:
            if self._offer(claim.offer_id).waiting:
                raise Contradiction(f"{event} while somebody waits")
            self._take(claim, event.units)
            if not claim.team_id:
                seats.take_right(self, claim)
        claim.payment_id = event.fact_id
        self.do(event.fact_id, event.at_ms)

    def _returned(self, event: ClaimReturned) -> None:
        claim = self._claim(event.claim_id)
        if claim.state != "paid" or claim.units - event.units != event.left or event.left < 0:
            raise Contradiction(f"{event} does not fit {claim}")
        self._take(claim, -event.units)
        claim.units = event.left
        if event.left == 0:
            seats.returned(self, claim)
            self._step(event.claim_id, "returned")
        self.do(event.refund_id, event.at_ms)

    def _take(self, claim: Claim, units: int) -> None:
        offer = self._offer(claim.offer_id)
        offer.taken += units
        if not 0 <= offer.taken <= offer.total:
            raise Contradiction(f"{claim.offer_id}: {offer.taken} taken of {offer.total}")
        for scope, most in (
            (claim.offer_id, offer.config.per_buyer_max),
            (claim.campaign_id, offer.config.per_campaign_max),
        ):
            self.limits[scope, claim.buyer_id] += units
            if units > 0 and self.limits[scope, claim.buyer_id] > most:
                raise Contradiction(f"{claim.buyer_id} passed the limit of {scope}")

    def _offer(self, offer_id: str) -> Offer:
        if offer_id not in self.offers:
            raise Contradiction(f"no offer {offer_id}")
        return self.offers[offer_id]

    def _claim(self, claim_id: str) -> Claim:
        if claim_id not in self.claims:
            raise Contradiction(f"no claim {claim_id}")
        return self.claims[claim_id]

    def _units(self, claim_id: str, units: int) -> None:
        if self._claim(claim_id).units != units:
            raise Contradiction(f"{claim_id} has {self._claim(claim_id).units} units, not {units}")

    def _step(self, claim_id: str, to: str) -> Claim:
        claim = self._claim(claim_id)
        if claim.state not in _FROM[to]:
            raise Contradiction(f"{claim_id} cannot go from {claim.state} to {to}")
        claim.state = "paid" if to == "retaken" else to
        return claim

    def do(self, row_id: str, at_ms: int) -> None:
        """The row's one event is here."""
        if row_id in self.did:
            raise Contradiction(f"{row_id} has emitted its event before")
        self.did[row_id] = at_ms
