"""Each command as a pure function of the state: its reply, and the events it appends.

Functions are named as the scripts and check in the same order. They change nothing:
`Shard.apply` does, with the events. `now_ms` is the hot store's clock at the decision.
"""

from dataclasses import dataclass

from engine.events import ClaimHeld, OfferClosed, OfferOpened, OfferRestocked, TeamOpened
from engine.inventory import OfferConfig, Reply
from engine.replay.draft import Draft, Outcome, say
from engine.replay.shard import Shard
from engine.replay.state import listed


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


def offer_open(shard: Shard, *, offer_id: str, command_id: str, total: int, now_ms: int) -> Outcome:
    """opened | done."""
    if offer_id in shard.offers:
        return say("done")
    draft = Draft(shard, now_ms)
    draft.emit(OfferOpened, offer_id=offer_id, command_id=command_id, total=total)
    config = shard.configs[offer_id]
    if config.kind == "crowd" and config.team is not None:
        draft.emit(
            TeamOpened,
            team_id=config.team.crowd_id,
            offer_id=offer_id,
            campaign_id=config.campaign_id,
            version=config.version,
            team_kind="crowd",
            opener_id="",
            size=0,
            deadline_ms=config.ends_at_ms,
        )
    return draft.done("opened")


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


def refused_before(shard: Shard, ask: ClaimRequest, now_ms: int, lag_max_ms: int) -> Outcome | None:
    """What claim and seat check first: stored answer, lag, window."""
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
    if offer.state != "open" or now_ms >= offer.config.ends_at_ms:
        return say("closed")
    if now_ms < offer.config.starts_at_ms:
        return say("not_open", offer.config.starts_at_ms)
    return None


def limit_reached(shard: Shard, ask: ClaimRequest) -> Outcome | None:
    """limit_reached which max, if so."""
    rules = shard.offers[ask.offer_id].config
    for which, has, most in (
        ("order", 0, rules.per_order_max),
        ("offer", shard.limits[ask.offer_id, ask.buyer_id], rules.per_buyer_max),
        ("campaign", shard.limits[ask.campaign_id, ask.buyer_id], rules.per_campaign_max),
    ):
        if has + ask.qty > most:
            return say("limit_reached", which, most)
    return None


def _refused(shard: Shard, ask: ClaimRequest, now_ms: int, lag_max_ms: int) -> Outcome | None:
    before = refused_before(shard, ask, now_ms, lag_max_ms)
    if before is not None:
        return before
    offer = shard.offers[ask.offer_id]
    if offer.config.kind in ("team", "crowd"):
        return say("needs_team")
    holding, fen = price_now(shard, ask.offer_id, now_ms)
    if holding != ask.price_id:
        return say("price_changed", holding, fen)
    over = limit_reached(shard, ask)
    if over is not None:
        return over
    return say("sold_out") if ask.qty > offer.available else None


def claim(shard: Shard, ask: ClaimRequest, *, nonce: str, now_ms: int, lag_max_ms: int) -> Outcome:
    """held | stored | key_reused | busy | unknown_offer | closed | not_open | needs_team |
    price_changed | limit_reached | sold_out."""
    refused = _refused(shard, ask, now_ms, lag_max_ms)
    if refused is not None:
        return refused
    rules = shard.offers[ask.offer_id].config
    price = price_now(shard, ask.offer_id, now_ms)
    return hold(Draft(shard, now_ms), ask, price, now_ms + rules.hold_ms, nonce)


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
    draft = Draft(shard, now_ms)
    draft.release(claim_id, why, attempt_id)
    return draft.done("released")


def sweep(shard: Shard, *, batch: int, now_ms: int) -> Outcome:
    """swept released looked_at."""
    held = [claim for claim in shard.claims.values() if claim.state == "held"]
    due = sorted(
        (claim for claim in held if claim.expires_at_ms <= now_ms),
        key=lambda claim: (claim.expires_at_ms, claim.claim_id.encode()),
    )[:batch]
    free = [claim for claim in due if claim.epoch != shard.epoch or claim.seq <= shard.settled_seq]
    draft = Draft(shard, now_ms)
    for claim in free:
        draft.release(claim.claim_id, "lapsed", "")
    return draft.done("swept", len(free), len(due))
