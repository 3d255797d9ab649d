"""Both sides of every offer at the same point of the stream, while it is being sold.

PostgreSQL is read first, in one snapshot that also holds its positions; the hot store after it,
each offer at an instant that also says how far its stream was. What lies between the two is
still in the stream: applied to the rows' sums it makes both sides speak of one instant. So the
comparison is exact at any time, not only at rest.
"""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import text

from engine.audit.hot import HotOffer, read_offers
from engine.audit.sources import Given, ShardNow, read_aside, read_positions, snapshot
from engine.events import (
    ClaimHeld,
    ClaimPaid,
    ClaimReleased,
    ClaimReturned,
    OfferOpened,
    OfferRestocked,
    WaitJoined,
    WaitLeft,
    WaitSkipped,
    decode,
)
from engine.stream import look

TAIL_EVENTS_MAX = 200_000  # behind that the settler is not slow but stopped
_TRIES_MAX = 4
_PAUSE_S = 0.5

_ROWS = text(
    """
    SELECT f.id, f.shard, f.state, f.total, (f.config ->> 'keep_until_ms')::bigint AS keep_until_ms,
           coalesce(o.held, 0)::bigint AS held, coalesce(o.sold, 0)::bigint AS sold,
           coalesce((SELECT jsonb_object_agg(w.buyer_id, w.idem_key) FROM waits w
                     WHERE w.offer_id = f.id), '{}') AS waits
    FROM offers f LEFT JOIN (
      SELECT offer_id, sum(units) FILTER (WHERE claim_state IN ('held', 'paying')) AS held,
             sum(units) FILTER (WHERE claim_state = 'paid') AS sold
      FROM orders WHERE shard = :shard AND claim_id <> ALL (CAST(:aside AS text[]))
      GROUP BY offer_id
    ) o ON o.offer_id = f.id WHERE f.shard = :shard
    """
)


class RowOffer(msgspec.Struct):
    """An offer's units in PostgreSQL, by its orders' claim_state, and who waits: buyer → key."""

    id: str
    shard: int
    state: str
    total: int
    keep_until_ms: int
    held: int
    sold: int
    waits: dict[str, str]


class Sides(msgspec.Struct, frozen=True):
    """One offer on both sides; None where a side does not know it."""

    hot: HotOffer | None
    rows: RowOffer | None


class Compared(msgspec.Struct):
    """All offers of shards that could be compared, and why others could not."""

    offers: list[Sides] = []
    hot: list[HotOffer] = []  # of all shards, also of those that could not be compared
    unsure: dict[int, str] = {}


class _Again(Exception):
    """The shard was reopened between the two reads."""


async def compare(given: Given) -> Compared:
    """All shards; a shard that is reopening is tried a few times."""
    if "compared" not in given.kept:
        compared = Compared()
        for shard in given.shards:
            await _compare_shard(given, shard.shard, compared)
        given.kept["compared"] = compared
    found: Compared = given.kept["compared"]
    return found


async def _compare_shard(given: Given, shard: int, compared: Compared) -> None:
    why, hot = "", []
    for attempt in range(_TRIES_MAX):
        if attempt:
            await asyncio.sleep(_PAUSE_S)
        async with snapshot(given.db) as session:
            positions = await read_positions(session)
            aside = await read_aside(session)
            rows = {
                row.id: RowOffer(*row)
                for row in await session.execute(_ROWS, {"aside": aside, "shard": shard})
            }
        position = next(one for one in positions if one.shard == shard)
        hot = await read_offers(given.wire, shard, aside)
        try:
            compared.offers += await _sides(given, position, rows, hot, frozenset(aside))
        except _Again as error:
            why = str(error)
            continue
        compared.hot += hot
        return
    compared.hot += hot
    compared.unsure[shard] = why


async def _sides(
    given: Given,
    position: ShardNow,
    rows: dict[str, RowOffer],
    hot: Sequence[HotOffer],
    aside: frozenset[str],
) -> list[Sides]:
    if position.state != "open":
        raise _Again(f"shard {position.shard} is {position.state}")
    readable = [one for one in hot if not one.unreadable]
    if any(one.epoch != position.epoch for one in readable):
        raise _Again(f"shard {position.shard} is in another epoch than PostgreSQL's")
    until = max((one.seq for one in readable), default=position.seq)
    tail = await _tail(given, position, until)
    by_offer: dict[str, list[tuple[int, Mapping[str, str]]]] = {}
    for seq, fields in tail:
        if fields.get("claim_id") not in aside:
            by_offer.setdefault(fields.get("offer_id", ""), []).append((seq, fields))
    sides = []
    for one in readable:
        found = rows.pop(one.offer_id, None)
        if found is not None:
            for seq, fields in by_offer.get(one.offer_id, ()):
                if seq <= one.seq:
                    _apply(found, seq, fields)
        sides.append(Sides(one, found))
    return sides + [Sides(None, left) for left in rows.values()]


async def _tail(
    given: Given, position: ShardNow, until: int
) -> list[tuple[int, Mapping[str, str]]]:
    """What the hot store has said and the snapshot does not know yet."""
    if until < position.seq:
        raise _Again(f"shard {position.shard}: the hot store is behind its settled position")
    if until - position.seq > TAIL_EVENTS_MAX:
        raise _Again(f"shard {position.shard}: {until - position.seq} events are not settled")
    tail: list[tuple[int, Mapping[str, str]]] = []
    after = position.seq
    while after < until:
        seen = await look(given.wire, position.shard, position.epoch, after, 1_000)
        if not seen.entries or seen.entries[0][0] != after + 1:
            raise _Again(f"shard {position.shard}: the stream does not go on after seq {after}")
        tail += seen.entries
        after = seen.entries[-1][0]
    return tail


def _apply(offer: RowOffer, seq: int, fields: Mapping[str, str]) -> None:
    """What an event that is not settled yet will do to the sums; poison will do nothing."""
    try:
        event = decode(seq, fields)
    except ValueError:  # msgspec's too: it goes to the dead letters, where I10 finds it
        return
    match event:
        case OfferOpened():
            offer.total, offer.state = event.total, "open"
        case OfferRestocked():
            offer.total += event.units
        case ClaimHeld():
            offer.held += event.qty
            if offer.waits.get(event.buyer_id) == event.key:
                del offer.waits[event.buyer_id]
        case WaitJoined():
            offer.waits[event.buyer_id] = event.key
        case WaitLeft() | WaitSkipped():
            offer.waits.pop(event.buyer_id, None)
        case ClaimPaid():
            offer.sold += event.units
            offer.held -= 0 if event.retaken else event.units
        case ClaimReleased():
            offer.held -= event.units
        case ClaimReturned():
            offer.sold -= event.units
