"""The hot store's waiting lists as plain values; what each key holds, `engine.keys.waits` says."""

from collections.abc import Mapping
from typing import Any

from engine.replay.state import Wait


def read_waits(found: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Wait]:
    """`found` are the keys' values by what comes behind the prefix. Who has an entry without a
    place, or a place without an entry, has place 0 or asks for nothing: no model says so."""
    waits = {}
    for offer_id in {name.removesuffix(":entries") for name in found}:
        places = found.get(offer_id, {})
        entries = found.get(f"{offer_id}:entries", {})
        for buyer_id in {*places, *entries}:
            place = int(places.get(buyer_id, "0"))
            qty, price_id, key, body_hash, touch = entries.get(buyer_id, "0||||").split("|", 4)
            waits[offer_id, buyer_id] = Wait(int(qty), price_id, key, body_hash, touch, place)
    return waits
