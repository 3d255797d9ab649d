"""What events do to the waiting lists; called by `Shard.apply`.

Raises Contradiction for what no script can have said: a place twice, a skip without its reason,
units for anybody else while somebody waits.
"""

from typing import TYPE_CHECKING

from engine.events import ClaimHeld, WaitEvent, WaitJoined, WaitLeft, WaitSkipped
from engine.replay.state import Contradiction, Wait, listed

if TYPE_CHECKING:
    from engine.replay.shard import Shard


def apply(shard: "Shard", event: WaitEvent) -> None:
    """An event of a waiting list."""
    match event:
        case WaitJoined():
            _join(shard, event)
        case WaitLeft():
            _strike(shard, event.offer_id, event.buyer_id)
        case WaitSkipped():
            why = _reason(shard, event, _strike(shard, event.offer_id, event.buyer_id))
            if not why:
                raise Contradiction(f"{event} has no such reason")


def held(shard: "Shard", event: ClaimHeld) -> None:
    """A claim begins; while anybody waits it can only be theirs, just as they asked for it."""
    offer = shard.offers[event.offer_id]
    if not offer.waiting:
        return
    entry = shard.waits.get((event.offer_id, event.buyer_id))
    asked = (event.qty, event.price_id, event.key, event.body_hash, event.touch)
    if entry is None or asked != (
        *(entry.qty, entry.price_id, entry.key, entry.body_hash, entry.touch),
    ):
        raise Contradiction(f"{event} while {offer.waiting} wait; the buyer's entry is {entry}")
    _strike(shard, event.offer_id, event.buyer_id)


def _join(shard: "Shard", event: WaitJoined) -> None:
    offer = shard.offers.get(event.offer_id)
    who = (event.offer_id, event.buyer_id)
    if offer is None or offer.state != "open" or offer.config.team is not None:
        raise Contradiction(f"{event}: nobody can wait for {offer}")
    if who in shard.waits or (event.buyer_id, event.offer_id, event.key) in shard.answers:
        raise Contradiction(f"{event}: waits already, or was served")
    if event.place != offer.wait_place + 1 or event.qty > offer.total:
        raise Contradiction(f"{event} does not fit {offer}")
    shard.waits[who] = Wait(
        event.qty, event.price_id, event.key, event.body_hash, event.touch, event.place
    )
    offer.waiting += 1
    offer.wait_place = event.place


def _strike(shard: "Shard", offer_id: str, buyer_id: str) -> Wait:
    entry = shard.waits.pop((offer_id, buyer_id), None)
    if entry is None:
        raise Contradiction(f"{buyer_id} does not wait for {offer_id}")
    shard.offers[offer_id].waiting -= 1
    return entry


def _reason(shard: "Shard", event: WaitSkipped, entry: Wait) -> bool:
    """Whether what the event says was so."""
    offer = shard.offers[event.offer_id]
    config, at_ms = offer.config, event.at_ms
    begun = [price for price in listed(config, 0) if price[2] <= at_ms]
    mine = shard.limits[event.offer_id, event.buyer_id] + entry.qty
    everywhere = shard.limits[config.campaign_id, event.buyer_id] + entry.qty
    was_new = (config.campaign_id, event.buyer_id) in shard.newcomers
    return {
        "closed": offer.state != "open" or at_ms >= config.ends_at_ms,
        "price_changed": begun[-1][0] != entry.price_id,
        "limit_reached": mine > config.per_buyer_max
        or everywhere > config.per_campaign_max
        or (config.audience == "new" and was_new),
    }.get(event.why, False)
