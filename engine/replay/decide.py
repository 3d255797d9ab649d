"""Each command as a pure function of the state: its reply, and the events it appends.

Functions are named as the scripts and check in the same order. They change nothing:
`Shard.apply` does, with the events. `now_ms` is the hot store's clock at the decision.
"""

from dataclasses import dataclass
from typing import NamedTuple

from engine.events import (
    AnyEvent,
    ClaimHeld,
    ClaimReleased,
    OfferClosed,
    OfferOpened,
    OfferRestocked,
)
from engine.inventory import OfferConfig, Reply
from engine.replay.shard import Claim, Shard


class Outcome(NamedTuple):
    """What a command answers, and what it appends; no events mean: nothing changed."""

    reply: Reply
    events: tuple[AnyEvent, ...] = ()


def say(what: str, *details: str | int) -> Outcome:
    """An answer that changes nothing."""
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
        return say("done")
    event = OfferOpened(
        seq=shard.seq + 1, at_ms=now_ms, offer_id=offer_id, command_id=command_id, total=total
    )
    return Outcome(Reply("opened"), (event,))


def offer_restock(
    shard: Shard, *, offer_id: str, command_id: str, units: int, now_ms: int
) -> Outcome:
    """restocked total | done | unknown."""
    if command_id in shard.did:
        return say("done")
    if offer_id not in shard.offers:
        return say("unknown")
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
        return say("done")
    if offer_id not in shard.offers:
        return say("unknown")
    event = OfferClosed(
        seq=shard.seq + 1, at_ms=now_ms, offer_id=offer_id, command_id=command_id, state=state
    )
    return Outcome(Reply("closed"), (event,))


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimRequest:
    """What a claim asks for, as `Inventory.claim` takes it."""

    offer_id: str
    campaign_id: str
    buyer_id: str
    qty: int
    price_id: str
    key: str
    body_hash: str
    touch: str = ""


def _refused(shard: Shard, ask: ClaimRequest, now_ms: int, lag_max_ms: int) -> Outcome | None:
    stored = shard.answers.get((ask.buyer_id, ask.offer_id, ask.key))
    if stored is not None:
        if stored.body_hash != ask.body_hash:
            return say("key_reused", stored.claim_id)
        return say(
            "stored", stored.claim_id, stored.price_id, stored.price_fen, stored.expires_at_ms
        )
    if shard.unsettled and now_ms - shard.unsettled[0][1] > lag_max_ms:
        return say("busy")
    offer = shard.offers.get(ask.offer_id)
    if offer is None:
        return say("unknown_offer")
    rules = offer.config
    if offer.state != "open" or now_ms >= rules.ends_at_ms:
        return say("closed")
    if now_ms < rules.starts_at_ms:
        return say("not_open", rules.starts_at_ms)
    holding, fen = price_at(rules, now_ms)
    if holding != ask.price_id:
        return say("price_changed", holding, fen)
    for which, has, most in (
        ("order", 0, rules.per_order_max),
        ("offer", shard.limits[ask.offer_id, ask.buyer_id], rules.per_buyer_max),
        ("campaign", shard.limits[ask.campaign_id, ask.buyer_id], rules.per_campaign_max),
    ):
        if has + ask.qty > most:
            return say("limit_reached", which, most)
    if ask.qty > offer.available:
        return say("sold_out")
    return None


def claim(shard: Shard, ask: ClaimRequest, *, nonce: str, now_ms: int, lag_max_ms: int) -> Outcome:
    """held | stored | key_reused | busy | unknown_offer | closed | not_open | price_changed |
    limit_reached | sold_out."""
    refused = _refused(shard, ask, now_ms, lag_max_ms)
    if refused is not None:
        return refused
    rules = shard.offers[ask.offer_id].config
    price_id, fen = price_at(rules, now_ms)
    event = ClaimHeld(
        seq=shard.seq + 1,
        at_ms=now_ms,
        claim_id=f"clm-s{shard.shard}-e{shard.epoch}-{shard.seq + 1}-{nonce}",
        offer_id=ask.offer_id,
        campaign_id=rules.campaign_id,
        version=rules.version,
        buyer_id=ask.buyer_id,
        qty=ask.qty,
        price_id=price_id,
        price_fen=fen,
        expires_at_ms=now_ms + rules.hold_ms,
        key=ask.key,
        body_hash=ask.body_hash,
        touch=ask.touch,
    )
    reply = say("held", event.claim_id, price_id, fen, event.expires_at_ms).reply
    return Outcome(reply, (event,))


def released(
    claim: Claim, after_seq: int, now_ms: int, why: str, attempt_id: str | None = None
) -> ClaimReleased:
    """The event after `after_seq`; `attempt_id` is the claim's own unless given."""
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
        return say("unknown")
    fits = {
        "closed": claim.state == "paying" and claim.attempt_id == attempt_id,
        "void": claim.state == "paying" and claim.attempt_id == attempt_id,
        "rejected": claim.state in ("held", "paying"),
        "cancelled": claim.state == "held",
    }
    if not fits.get(why, False):
        return say(claim.state)
    return Outcome(Reply("released"), (released(claim, shard.seq, now_ms, why, attempt_id),))


def sweep(shard: Shard, *, batch: int, now_ms: int) -> Outcome:
    """swept released looked_at."""
    held = [claim for claim in shard.claims.values() if claim.state == "held"]
    due = sorted(
        (claim for claim in held if claim.expires_at_ms <= now_ms),
        key=lambda claim: (claim.expires_at_ms, claim.claim_id.encode()),
    )[:batch]
    free = [claim for claim in due if claim.epoch != shard.epoch or claim.seq <= shard.settled_seq]
    events = tuple(
        released(claim, shard.seq + place, now_ms, "lapsed", "") for place, claim in enumerate(free)
    )
    return Outcome(Reply("swept", (str(len(free)), str(len(due)))), events)
