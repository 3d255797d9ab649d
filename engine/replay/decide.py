"""Each command as a pure function of the state: its reply, and the events it appends.

Functions are named as the scripts and check in the same order. They change nothing:
`Shard.apply` does, with the events. `now_ms` is the hot store's clock at the decision.
"""

from typing import NamedTuple, TypedDict

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
)
from engine.inventory import OfferConfig, Reply
from engine.replay.shard import Claim, Shard


class Outcome(NamedTuple):
    """What a command answers, and what it appends; no events mean: nothing changed."""

    reply: Reply
    events: tuple[AnyEvent, ...] = ()


class _About(TypedDict):
    """What all events of a payment fact say."""

    seq: int
    at_ms: int
    claim_id: str
    offer_id: str
    fact_id: str
    attempt_id: str


def _say(what: str, *details: str | int) -> Outcome:
    return Outcome(Reply(what, tuple(str(detail) for detail in details)))


def price_at(config: OfferConfig, now_ms: int) -> tuple[str, int]:
    """(price_id, fen) that holds at `now_ms`: the last interval that has begun."""
    price_id, fen, _ = max(
        (price for price in config.prices if price[2] <= now_ms), key=lambda price: price[2]
    )
    return price_id, fen


def offer_open(shard: Shard, *, offer_id: str, command_id: str, total: int, now_ms: int) -> Outcome:
    """opened | done."""
    if offer_id in shard.offers:
        return _say("done")
    event = OfferOpened(
        seq=shard.seq + 1, at_ms=now_ms, offer_id=offer_id, command_id=command_id, total=total
    )
    return Outcome(Reply("opened"), (event,))


def offer_restock(
    shard: Shard, *, offer_id: str, command_id: str, units: int, now_ms: int
) -> Outcome:
    """restocked total | done | unknown."""
    if command_id in shard.did:
        return _say("done")
    if offer_id not in shard.offers:
        return _say("unknown")
    total = shard.offers[offer_id].total + units
    event = OfferRestocked(
        seq=shard.seq + 1,
        at_ms=now_ms,
        offer_id=offer_id,
        command_id=command_id,
        units=units,
        total=total,
    )
    return Outcome(Reply("restocked", (str(total),)), (event,))


def offer_close(
    shard: Shard, *, offer_id: str, command_id: str, state: str, now_ms: int
) -> Outcome:
    """closed | done | unknown."""
    if command_id in shard.did:
        return _say("done")
    if offer_id not in shard.offers:
        return _say("unknown")
    event = OfferClosed(
        seq=shard.seq + 1, at_ms=now_ms, offer_id=offer_id, command_id=command_id, state=state
    )
    return Outcome(Reply("closed"), (event,))


def claim(
    shard: Shard,
    *,
    offer_id: str,
    campaign_id: str,
    buyer_id: str,
    qty: int,
    price_id: str,
    key: str,
    body_hash: str,
    touch: str,
    nonce: str,
    now_ms: int,
    lag_max_ms: int,
) -> Outcome:
    """held | stored | key_reused | busy | unknown_offer | closed | not_open | price_changed |
    limit_reached | sold_out."""
    stored = shard.answers.get((buyer_id, offer_id, key))
    if stored is not None:
        if stored.body_hash != body_hash:
            return _say("key_reused", stored.claim_id)
        return _say(
            "stored", stored.claim_id, stored.price_id, stored.price_fen, stored.expires_at_ms
        )
    if shard.unsettled and now_ms - shard.unsettled[0][1] > lag_max_ms:
        return _say("busy")
    offer = shard.offers.get(offer_id)
    if offer is None:
        return _say("unknown_offer")
    rules = offer.config
    if offer.state != "open" or now_ms >= rules.ends_at_ms:
        return _say("closed")
    if now_ms < rules.starts_at_ms:
        return _say("not_open", rules.starts_at_ms)
    holding, fen = price_at(rules, now_ms)
    if holding != price_id:
        return _say("price_changed", holding, fen)
    for which, has, most in (
        ("order", 0, rules.per_order_max),
        ("offer", shard.limits[offer_id, buyer_id], rules.per_buyer_max),
        ("campaign", shard.limits[campaign_id, buyer_id], rules.per_campaign_max),
    ):
        if has + qty > most:
            return _say("limit_reached", which, most)
    if qty > offer.available:
        return _say("sold_out")
    event = ClaimHeld(
        seq=shard.seq + 1,
        at_ms=now_ms,
        claim_id=f"clm-s{shard.shard}-e{shard.epoch}-{shard.seq + 1}-{nonce}",
        offer_id=offer_id,
        campaign_id=rules.campaign_id,
        version=rules.version,
        buyer_id=buyer_id,
        qty=qty,
        price_id=price_id,
        price_fen=fen,
        expires_at_ms=now_ms + rules.hold_ms,
        key=key,
        body_hash=body_hash,
        touch=touch,
    )
    reply = _say("held", event.claim_id, price_id, fen, event.expires_at_ms).reply
    return Outcome(reply, (event,))


def pay_begin(shard: Shard, *, claim_id: str, attempt_id: str, now_ms: int) -> Outcome:
    """paying pay_expires_at_ms | other_attempt attempt_id | the state | unknown."""
    claim = shard.claims.get(claim_id)
    if claim is None:
        return _say("unknown")
    expires_at_ms = now_ms + shard.offers[claim.offer_id].config.pay_ms
    if claim.state == "paying":
        if claim.attempt_id != attempt_id:
            return _say("other_attempt", claim.attempt_id)
        if not claim.unsaid:
            return _say("paying", claim.pay_expires_at_ms)
        expires_at_ms = claim.pay_expires_at_ms
    elif claim.state != "held":
        return _say(claim.state)
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
        return _say("done")
    claim = shard.claims.get(claim_id)
    if claim is None:
        return _say("unknown")
    if claim.payment_id == fact_id:
        return _say("done")
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
            return Outcome(reply, (refused, _released(claim, refused.seq, now_ms, verdict)))
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


def _released(
    claim: Claim, after_seq: int, now_ms: int, why: str, attempt_id: str | None = None
) -> ClaimReleased:
    return ClaimReleased(
        seq=after_seq + 1,
        at_ms=now_ms,
        claim_id=claim.claim_id,
        offer_id=claim.offer_id,
        why=why,
        attempt_id=claim.attempt_id if attempt_id is None else attempt_id,
        units=claim.units,
    )


def release(shard: Shard, *, claim_id: str, attempt_id: str, why: str, now_ms: int) -> Outcome:
    """released | the state that the receipt does not fit | unknown."""
    claim = shard.claims.get(claim_id)
    if claim is None:
        return _say("unknown")
    fits = {
        "closed": claim.state == "paying" and claim.attempt_id == attempt_id,
        "void": claim.state == "paying" and claim.attempt_id == attempt_id,
        "rejected": claim.state in ("held", "paying"),
        "cancelled": claim.state == "held",
    }
    if not fits.get(why, False):
        return _say(claim.state)
    return Outcome(Reply("released"), (_released(claim, shard.seq, now_ms, why, attempt_id),))


def sweep(shard: Shard, *, batch: int, now_ms: int) -> Outcome:
    """swept released looked_at."""
    held = [claim for claim in shard.claims.values() if claim.state == "held"]
    due = sorted(
        (claim for claim in held if claim.expires_at_ms <= now_ms),
        key=lambda claim: (claim.expires_at_ms, claim.claim_id.encode()),
    )[:batch]
    free = [claim for claim in due if claim.epoch != shard.epoch or claim.seq <= shard.settled_seq]
    events = tuple(
        _released(claim, shard.seq + place, now_ms, "lapsed", "")
        for place, claim in enumerate(free)
    )
    return Outcome(Reply("swept", (str(len(free)), str(len(due)))), events)


def give_back(shard: Shard, *, claim_id: str, units: int, refund_id: str, now_ms: int) -> Outcome:
    """returned left | done | not_paid state | too_many left | unknown."""
    if refund_id in shard.did:
        return _say("done")
    claim = shard.claims.get(claim_id)
    if claim is None:
        return _say("unknown")
    if claim.state != "paid":
        return _say("not_paid", claim.state)
    if units > claim.units:
        return _say("too_many", claim.units)
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
