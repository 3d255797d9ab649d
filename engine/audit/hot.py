"""Reading the hot store while it sells: each offer, and each page of claims, at one instant.

The scripts are read-only and travel with their text (EVAL_RO), so that they can neither change
anything nor be missing. Between two reads the shop goes on; within one it does not.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine import keys
from engine.scripts import load_all
from engine.wire import Wire

_SCRIPTS = load_all(Path(__file__).parent)
_IN_FLIGHT_MAX = 100
CLAIMS_PAGE_MAX = 200  # a script with so many takes about half a millisecond


class HotOffer(NamedTuple):
    """An offer as the hot store had it at stream position (`epoch`, `seq`).

    `aside_held` and `aside_sold` are the part of held and sold that belongs to claims with
    dead letters. `waiting` people wait, by the offer's count, `listed` and `entries` by the list's
    two keys. `unreadable` names a counter that is no number.
    """

    shard: int
    offer_id: str
    epoch: int
    seq: int
    total: int
    available: int
    held: int
    sold: int
    holds: int
    hold_units: int
    aside_held: int
    aside_sold: int
    waiting: int
    listed: int
    entries: int
    unreadable: str = ""


class HotClaim(NamedTuple):
    """A claim's three places; '' for what is not there. `deadline` is the zset's score."""

    claim_id: str
    state: str
    units: str
    expires_at_ms: str
    hold_units: str
    deadline: str
    offer_id: str


async def scan(wire: Wire, pattern: str) -> AsyncIterator[list[str]]:
    """Keys that match, a page at a time; one may come twice."""
    cursor = b"0"
    while True:
        cursor, found = await wire.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1_000)
        if found:
            yield [_text(name) for name in found]
        if cursor == b"0":
            return


async def scan_fields(wire: Wire, command: str, key: str) -> AsyncIterator[dict[str, str]]:
    """A hash (HSCAN) or a zset (ZSCAN) as pages of field → value; one may come twice."""
    cursor = b"0"
    while True:
        cursor, flat = await wire.call(command, key, cursor, "COUNT", CLAIMS_PAGE_MAX)
        texts = [_text(part) for part in flat]
        if texts:
            yield dict(zip(texts[::2], texts[1::2], strict=True))
        if cursor == b"0":
            return


async def ask_many(wire: Wire, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
    """Replies in order, a bounded number of commands at once."""
    replies: list[Any] = []
    for start in range(0, len(commands), _IN_FLIGHT_MAX):
        part = commands[start : start + _IN_FLIGHT_MAX]
        replies += await asyncio.gather(*(wire.call(*command) for command in part))
    return replies


def read_only(name: str, **values: str | int) -> tuple[str | int, ...]:
    """The command of one of this folder's scripts."""
    script = _SCRIPTS[name]
    return ("EVAL_RO", script.source, *script.command(**values)[2:])


async def read_offers(wire: Wire, shard: int, aside: Sequence[str]) -> list[HotOffer]:
    """All offers of a shard, each at an instant of its own."""
    prefix = keys.offers(shard)
    ids = {name.removeprefix(prefix) async for page in scan(wire, prefix + "*") for name in page}
    ordered = sorted(ids)
    commands = [
        read_only(
            "audit_offer",
            meta=keys.meta(shard),
            offer=prefix + offer_id,
            holds=keys.holds(shard) + offer_id,
            claims=keys.claims(shard),
            list=keys.waits(shard) + offer_id,
            entries=f"{keys.waits(shard)}{offer_id}:entries",
            offer_id=offer_id,
            aside=" ".join(aside),
        )
        for offer_id in ordered
    ]
    replies = await ask_many(wire, commands)
    return [_offer(shard, one, raw) for one, raw in zip(ordered, replies, strict=True)]


def _offer(shard: int, offer_id: str, raw: list[bytes]) -> HotOffer:
    texts = [_text(part) for part in raw]
    try:
        return HotOffer._make((shard, offer_id, *map(int, texts), ""))
    except ValueError:
        return HotOffer._make((shard, offer_id, *(0 for _ in texts), " ".join(texts)))


async def read_claims(wire: Wire, shard: int, pairs: Sequence[tuple[str, str]]) -> list[HotClaim]:
    """(offer_id, claim_id) pairs, at most CLAIMS_PAGE_MAX, all at one instant.

    The offer is only asked when the claim has no hash to say it; '-' when nobody knows.
    """
    command = read_only(
        "audit_claims",
        deadlines=keys.deadlines(shard),
        holds=keys.holds(shard),
        claims=keys.claims(shard),
        ids=" ".join(f"{offer_id} {claim_id}" for offer_id, claim_id in pairs),
    )
    raw = await wire.call(*command)
    return [
        HotClaim(claim_id, *(_text(part) for part in one))
        for (_, claim_id), one in zip(pairs, raw, strict=True)
    ]


def _text(part: bytes | None) -> str:
    return "" if part is None else part.decode(errors="backslashreplace")
