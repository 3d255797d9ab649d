"""Payments and refunds as pure functions of the state, in the manner of `decide`."""

from typing import TypedDict

from engine.events import (
    ClaimPaid,
    ClaimPaying,
    ClaimReturned,
    PaymentLate,
    PaymentRefused,
)
from engine.inventory import Reply
from engine.replay.decide import Outcome, released, say
from engine.replay.shard import Claim, Shard


class _About(TypedDict):
    """What all events of a payment fact say."""

    seq: int
    at_ms: int
    claim_id: str
    offer_id: str
    fact_id: str
    attempt_id: str


def pay_begin(shard: Shard, *, claim_id: str, attempt_id: str, now_ms: int) -> Outcome:
    """paying pay_expires_at_ms | other_attempt attempt_id | the state | unknown."""
    claim = shard.claims.get(claim_id)
    if claim is None:
        return say("unknown")
    expires_at_ms = now_ms + shard.offers[claim.offer_id].config.pay_ms
    if claim.state == "paying":
        if claim.attempt_id != attempt_id:
            return say("other_attempt", claim.attempt_id)
        if not claim.unsaid:
            return say("paying", claim.pay_expires_at_ms)
        expires_at_ms = claim.pay_expires_at_ms
    elif claim.state != "held":
        return say(claim.state)
    event = ClaimPaying(
        seq=shard.seq + 1,
        at_ms=now_ms,
        claim_id=claim_id,
        offer_id=claim.offer_id,
        attempt_id=attempt_id,
        pay_expires_at_ms=expires_at_ms,
    )
    return Outcome(Reply("paying", (str(event.pay_expires_at_ms),)), (event,))


def pay_confirm(
    shard: Shard, *, claim_id: str, attempt_id: str, fact_id: str, verdict: str, now_ms: int
) -> Outcome:
    """paid | retaken | late why | refused why | done | unknown."""
    if fact_id in shard.did:
        return say("done")
    claim = shard.claims.get(claim_id)
    if claim is None:
        return say("unknown")
    if claim.payment_id == fact_id:
        return say("done")
    about: _About = {
        "seq": shard.seq + 1,
        "at_ms": now_ms,
        "claim_id": claim_id,
        "offer_id": claim.offer_id,
        "fact_id": fact_id,
        "attempt_id": attempt_id,
    }
    if verdict != "ok":
        refused = PaymentRefused(**about, why=verdict)
        reply = Reply("refused", (verdict,))
        if claim.state == "paying" and claim.attempt_id == attempt_id:
            return Outcome(reply, (refused, released(claim, refused.seq, now_ms, verdict)))
        return Outcome(reply, (refused,))
    if claim.state in ("held", "paying"):
        return Outcome(Reply("paid"), (ClaimPaid(**about, units=claim.units, retaken=0),))
    if claim.state != "released":
        why = "second_payment"
        return Outcome(Reply("refused", (why,)), (PaymentRefused(**about, why=why),))
    against = _against_retake(shard, claim, now_ms)
    if against:
        return Outcome(Reply("late", (against,)), (PaymentLate(**about, why=against),))
    return Outcome(Reply("retaken"), (ClaimPaid(**about, units=claim.units, retaken=1),))


def _against_retake(shard: Shard, claim: Claim, now_ms: int) -> str:
    offer = shard.offers[claim.offer_id]
    rules = offer.config
    if rules.late != "retake":
        return "refund"
    if offer.state != "open" or now_ms >= rules.ends_at_ms:
        return "closed"
    mine = shard.limits[claim.offer_id, claim.buyer_id] + claim.units
    everywhere = shard.limits[claim.campaign_id, claim.buyer_id] + claim.units
    if mine > rules.per_buyer_max or everywhere > rules.per_campaign_max:
        return "limit_reached"
    return "sold_out" if claim.units > offer.available else ""


def give_back(shard: Shard, *, claim_id: str, units: int, refund_id: str, now_ms: int) -> Outcome:
    """returned left | done | not_paid state | too_many left | unknown."""
    if refund_id in shard.did:
        return say("done")
    claim = shard.claims.get(claim_id)
    if claim is None:
        return say("unknown")
    if claim.state != "paid":
        return say("not_paid", claim.state)
    if units > claim.units:
        return say("too_many", claim.units)
    event = ClaimReturned(
        seq=shard.seq + 1,
        at_ms=now_ms,
        claim_id=claim_id,
        offer_id=claim.offer_id,
        refund_id=refund_id,
        units=units,
        left=claim.units - units,
    )
    return Outcome(Reply("returned", (str(event.left),)), (event,))
