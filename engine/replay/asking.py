"""What claims, seats and entries of a waiting list have in common: asked for, checked, held.

The checks are those of `ask`, `terms` and `hold` among the scripts' includes, in their order.
"""

from dataclasses import dataclass

from engine.events import ClaimHeld
from engine.inventory import OfferConfig
from engine.replay.draft import Draft, Outcome, say
from engine.replay.shard import Shard
from engine.replay.state import SELLING, listed


def price_at(config: OfferConfig, now_ms: int, step: int = 0) -> tuple[str, int]:
    """(price_id, fen) that holds at `now_ms`: the last interval that has begun.

    `step` is the highest of a crowd's ladder that is latched.
    """
    price_id, fen, _ = max(
        (price for price in listed(config, step) if price[2] <= now_ms), key=lambda price: price[2]
    )
    return price_id, fen


def price_now(shard: Shard, offer_id: str, now_ms: int) -> tuple[str, int]:
    """(price_id, fen) that holds for an offer in this state."""
    config = shard.offers[offer_id].config
    crowd = shard.teams.get(config.team.crowd_id) if config.team is not None else None
    return price_at(config, now_ms, crowd.step if crowd is not None else 0)


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
    traits: str = ""


def refused_before(shard: Shard, ask: ClaimRequest, now_ms: int, lag_max_ms: int) -> Outcome | None:
    """What claim and seat check first: stored answer, lag, window, audience."""
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
    if offer.state not in SELLING or now_ms >= offer.config.ends_at_ms:
        return say("closed")
    if now_ms < offer.config.starts_at_ms:
        return say("not_open", offer.config.starts_at_ms)
    audience = offer.config.audience
    if audience != "all" and audience[0] not in ask.traits:
        return say("not_for_you", audience)
    return None


def takes_right(config: OfferConfig, *, joins: bool = False) -> bool:
    """Whether a claim takes the right of a new customer; `joins`: a team that is open already."""
    rules = config.team
    return config.audience == "new" or (joins and rules is not None and rules.newcomers_only)


def limit_reached(shard: Shard, ask: ClaimRequest, *, joins: bool = False) -> Outcome | None:
    """limit_reached which max, if so."""
    rules = shard.offers[ask.offer_id].config
    for which, has, most in (
        ("order", 0, rules.per_order_max),
        ("offer", shard.limits[ask.offer_id, ask.buyer_id], rules.per_buyer_max),
        ("campaign", shard.limits[ask.campaign_id, ask.buyer_id], rules.per_campaign_max),
    ):
        if has + ask.qty > most:
            return say("limit_reached", which, most)
    if takes_right(rules, joins=joins) and (ask.campaign_id, ask.buyer_id) in shard.newcomers:
        return say("limit_reached", "newcomer", 1)
    return None


def hold(
    draft: Draft,
    ask: ClaimRequest,
    price: tuple[str, int],
    expires_at_ms: int,
    nonce: str,
    **seat: str,
) -> Outcome:
    """held: the units are taken; `seat` are the fields of a claim that has one."""
    shard = draft.shard
    rules = shard.offers[ask.offer_id].config
    if takes_right(rules):
        seat["newcomer"] = "1"
    claim_id = f"clm-s{shard.shard}-e{shard.epoch}-{shard.seq + 1}-{nonce}"
    draft.emit(
        ClaimHeld,
        claim_id=claim_id,
        offer_id=ask.offer_id,
        campaign_id=rules.campaign_id,
        version=rules.version,
        buyer_id=ask.buyer_id,
        qty=ask.qty,
        price_id=price[0],
        price_fen=price[1],
        expires_at_ms=expires_at_ms,
        key=ask.key,
        body_hash=ask.body_hash,
        touch=ask.touch,
        **seat,
    )
    return draft.done("held", claim_id, *price, expires_at_ms)
