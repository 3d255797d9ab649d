"""Each command as a pure function of the state: its reply, and the events it appends.

Functions are named as the scripts and check in the same order. They change nothing:
`Shard.apply` does, with the events. `now_ms` is the hot store's clock at the decision.
"""

from engine.events import OfferClosed, OfferOpened, OfferRestocked, TeamOpened
from engine.inventory import Reply
from engine.replay.asking import ClaimRequest as ClaimRequest
from engine.replay.asking import hold, limit_reached, refused_before
from engine.replay.asking import price_at as price_at
from engine.replay.asking import price_now as price_now
from engine.replay.draft import Draft, Outcome, say
from engine.replay.shard import Shard
from engine.replay.state import Offer
from engine.replay.waiting import NONCE, SCAN_MAX, serve


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
    shard: Shard,
    *,
    offer_id: str,
    command_id: str,
    units: int,
    now_ms: int,
    nonce: str = NONCE,
    scan_max: int = SCAN_MAX,
) -> Outcome:
    """restocked total | done | unknown; those who wait come first."""
    if command_id in shard.did:
        return say("done")
    if offer_id not in shard.offers:
        return say("unknown")
    total = shard.offers[offer_id].total + units
    draft = Draft(shard, now_ms)
    draft.emit(OfferRestocked, offer_id=offer_id, command_id=command_id, units=units, total=total)
    serve(draft, offer_id, nonce, scan_max)
    return draft.done("restocked", total)


def offer_close(
    shard: Shard, *, offer_id: str, command_id: str, state: str, now_ms: int
) -> Outcome:
    """closed | done | unknown."""
    if command_id in shard.did:
        return say("done")
    if offer_id not in shard.offers:
        return say("unknown")
    event = OfferClosed(
        seq=shard.seq + 1,
        at_ms=now_ms,
        offer_id=offer_id,
        command_id=command_id,
        state=_closed_as(shard.offers[offer_id], state, now_ms),
    )
    return Outcome(Reply("closed"), (event,))


def _closed_as(offer: Offer, state: str, now_ms: int) -> str:
    """Cancelled is final; open teams that may finish keep their offer going for themselves."""
    config = offer.config
    lets_finish = (
        config.on_cancel == "finish"
        and config.kind in ("team", "crowd")
        and now_ms >= config.starts_at_ms
    )
    if offer.state == "cancelled":
        return "cancelled"
    if state == "cancelled" and lets_finish:
        return "finishing" if offer.state == "open" else offer.state
    return state


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
    return say("sold_out") if ask.qty > offer.available or offer.waiting else None


def claim(shard: Shard, ask: ClaimRequest, *, nonce: str, now_ms: int, lag_max_ms: int) -> Outcome:
    """held | stored | key_reused | busy | unknown_offer | closed | not_open | needs_team |
    price_changed | limit_reached | sold_out."""
    refused = _refused(shard, ask, now_ms, lag_max_ms)
    if refused is not None:
        return refused
    rules = shard.offers[ask.offer_id].config
    price = price_now(shard, ask.offer_id, now_ms)
    return hold(Draft(shard, now_ms), ask, price, now_ms + rules.hold_ms, nonce)


def release(
    shard: Shard,
    *,
    claim_id: str,
    attempt_id: str,
    why: str,
    now_ms: int,
    nonce: str = NONCE,
    scan_max: int = SCAN_MAX,
) -> Outcome:
    """released | the state that the receipt does not fit | unknown."""
    claim = shard.claims.get(claim_id)
    if claim is None:
        return say("unknown")
    fits = {
        "closed": claim.state == "paying" and claim.attempt_id == attempt_id,
        "void": claim.state == "paying" and claim.attempt_id == attempt_id,
        "rejected": claim.state in ("held", "paying"),
        "cancelled": claim.state == "held",
        "campaign_cancelled": claim.state == "held",
        "not_new": claim.state == "held",
    }
    if not fits.get(why, False):
        return say(claim.state)
    draft = Draft(shard, now_ms)
    draft.release(claim_id, why, attempt_id)
    serve(draft, claim.offer_id, nonce, scan_max)
    return draft.done("released")


def sweep(
    shard: Shard, *, batch: int, now_ms: int, nonce: str = NONCE, scan_max: int = SCAN_MAX
) -> Outcome:
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
        serve(draft, claim.offer_id, nonce, scan_max)
    return draft.done("swept", len(free), len(due))
