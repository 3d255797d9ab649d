"""Waiting lists: the commands as pure functions of the state, in the manner of `decide`.

`serve` is what each command that frees units ends with, as `includes/waiting.lua` among the
scripts; what the events do to the state, `waits` says.
"""

from engine.commands import WAIT_SCAN_MAX
from engine.events import WaitJoined, WaitLeft, WaitSkipped
from engine.replay.asking import ClaimRequest, hold, limit_reached, price_now, refused_before
from engine.replay.draft import Draft, Outcome, say
from engine.replay.shard import Shard

SCAN_MAX = WAIT_SCAN_MAX
NONCE = "0" * 16  # of a command that holds nothing for anybody


def wait_join(
    shard: Shard,
    ask: ClaimRequest,
    *,
    nonce: str,
    now_ms: int,
    lag_max_ms: int,
    wait_max: int,
    scan_max: int = SCAN_MAX,
) -> Outcome:
    """waiting place | held | stored | key_reused | available | too_few | wait_full | no_waiting |
    as a claim is refused."""
    before = refused_before(shard, ask, now_ms, lag_max_ms)
    if before is not None:
        return before
    offer = shard.offers[ask.offer_id]
    if offer.config.kind in ("team", "crowd"):
        return say("no_waiting")
    entry = shard.waits.get((ask.offer_id, ask.buyer_id))
    if entry is not None:
        if entry.key == ask.key and entry.body_hash != ask.body_hash:
            return say("key_reused", "")
        return say("waiting", entry.place)
    price = price_now(shard, ask.offer_id, now_ms)
    if price[0] != ask.price_id:
        return say("price_changed", *price)
    over = limit_reached(shard, ask)
    if over is not None:
        return over
    if ask.qty > offer.total:
        return say("too_few", offer.total)
    if not offer.waiting and ask.qty <= offer.available:
        return say("available")
    if offer.waiting >= wait_max:
        return say("wait_full")
    draft, place = Draft(shard, now_ms), offer.wait_place + 1
    draft.emit(
        WaitJoined,
        offer_id=ask.offer_id,
        buyer_id=ask.buyer_id,
        qty=ask.qty,
        price_id=ask.price_id,
        key=ask.key,
        body_hash=ask.body_hash,
        touch=ask.touch,
        place=place,
    )
    serve(draft, ask.offer_id, nonce, scan_max)
    mine = draft.shard.answers.get((ask.buyer_id, ask.offer_id, ask.key))
    if mine is None:
        return draft.done("waiting", place)
    return draft.done("held", mine.claim_id, mine.price_id, mine.price_fen, mine.expires_at_ms)


def wait_leave(shard: Shard, *, offer_id: str, buyer_id: str, now_ms: int) -> Outcome:
    """left | not_waiting units."""
    if (offer_id, buyer_id) not in shard.waits:
        return say("not_waiting", shard.limits[offer_id, buyer_id])
    draft = Draft(shard, now_ms)
    draft.emit(WaitLeft, offer_id=offer_id, buyer_id=buyer_id)
    return draft.done("left")


def wait_look(
    shard: Shard,
    *,
    offer_id: str,
    after: int,
    nonce: str,
    now_ms: int,
    scan_max: int = SCAN_MAX,
) -> Outcome:
    """looked next."""
    draft = Draft(shard, now_ms)
    place = serve(draft, offer_id, nonce, scan_max, after)
    return draft.done("looked", place or "")


def serve(draft: Draft, offer_id: str, nonce: str, scan_max: int, after: int = 0) -> int:
    """Hold free units for the first who wait and whom they fit; the place to go on behind (0: no
    more to look at)."""
    if offer_id not in draft.shard.offers or not draft.shard.offers[offer_id].waiting:
        return 0
    front = sorted(
        (entry.place, buyer_id)
        for (of_offer, buyer_id), entry in draft.shard.waits.items()
        if of_offer == offer_id and entry.place > after
    )[:scan_max]
    for _, buyer_id in front:
        offer = draft.shard.offers[offer_id]
        config = offer.config
        is_over = offer.state != "open" or draft.now_ms >= config.ends_at_ms
        if not offer.available and not is_over:
            return 0
        entry = draft.shard.waits[offer_id, buyer_id]
        ask = ClaimRequest(
            offer_id=offer_id,
            campaign_id=config.campaign_id,
            buyer_id=buyer_id,
            qty=entry.qty,
            price_id=entry.price_id,
            key=entry.key,
            body_hash=entry.body_hash,
            touch=entry.touch,
        )
        price = price_now(draft.shard, offer_id, draft.now_ms)
        why = "closed" if is_over else ""
        if not why and price[0] != entry.price_id:
            why = "price_changed"
        if not why and limit_reached(draft.shard, ask) is not None:
            why = "limit_reached"
        if why:
            draft.emit(WaitSkipped, offer_id=offer_id, buyer_id=buyer_id, why=why)
        elif entry.qty <= offer.available:
            hold(draft, ask, price, draft.now_ms + config.hold_ms, nonce)
    return front[-1][0] if len(front) == scan_max else 0
