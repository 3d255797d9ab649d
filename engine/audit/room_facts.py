"""What viewers and the audit must agree on to the byte: event digests, state hashes, parts.

A digest sums over events, so that a viewer keeps eight bytes for any range it was told, and the
audit compares them with the log's own sum of that range. A state is a topic's parts and its last
comments; applying events in order to a snapshot gives the same state as a later snapshot.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b, sha256
from typing import Any

import msgspec

COMMENTS_MAX = 50  # a state keeps so many; older ones are no part of it
DIGEST_MASK = (1 << 63) - 1  # SQLite's integers are signed

# Which part of its topic's state an event replaces, by kind: a word, or a prefix and a field.
_WHOLE = {
    **{"room": "room", "shelf": "shelf", "pin": "pin", "comment": "", "recovered": ""},
    **{"team": "team", "team_event": ""},
}
_OF_ONE = {
    "offer": ("offer:", "offer_id"),
    "stock": ("stock:", "offer_id"),
    "teams": ("teams:", "offer_id"),
    "claim": ("claim:", "claim_id"),
    "payment": ("payment:", "claim_id"),
}
# A mainland mobile number as people or programs write it, and the provider's open id: neither
# may stand in any frame. Ids have letters around their digits, times have 13 digits.
_PERSONAL = re.compile(
    r"(?<![0-9A-Za-z_])(?:\+?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}(?![0-9A-Za-z_])"
    r"|(?<![0-9A-Za-z_-])o(?!rd-|fr_)[A-Za-z0-9_-]{27}(?![0-9A-Za-z_-])"
    r'|(?<!\\)"(?i:open_?id)"\s*:'  # the field: anybody may say the word
)
_encoder = msgspec.json.Encoder(order="deterministic")


def canonical(event: Any) -> bytes:
    """JSON with sorted keys and no blanks: what digests and hashes are made of."""
    return _encoder.encode(event)


def event_digest(offset: int, event: Any) -> int:
    """63 bits of one event at its offset."""
    raw = blake2b(b"%d " % offset + canonical(event), digest_size=8).digest()
    return int.from_bytes(raw, "big") & DIGEST_MASK


def range_digest(first: int, events: Iterable[Any]) -> int:
    """The sum of the digests of events from offset `first` on, modulo 2^63."""
    return sum(event_digest(offset, one) for offset, one in enumerate(events, first)) & DIGEST_MASK


def part_of(event: Mapping[str, Any]) -> str | None:
    """The part that this event replaces, "" for none; None when its kind is unknown."""
    kind = event.get("kind")
    if kind in _OF_ONE:
        prefix, field = _OF_ONE[kind]
        return f"{prefix}{event.get(field)}"
    return _WHOLE.get(kind) if isinstance(kind, str) else None


def state_hash(parts: Mapping[str, Any], comments: Iterable[Mapping[str, Any]]) -> str:
    """sha256 of the sorted parts with their canonical JSON, and of comments' ids, oldest first.

    The same as engine.room_events.state_hash, of events that are decoded already.
    """
    listed = [[part, canonical(parts[part]).decode()] for part in sorted(parts)]
    ids = [one.get("id") for one in comments]
    return sha256(msgspec.json.encode([listed, ids])).hexdigest()


def personal(text: str) -> str | None:
    """The first phone number or open id in `text`; None when it names nobody."""
    found = _PERSONAL.search(text)
    return found[0] if found else None
