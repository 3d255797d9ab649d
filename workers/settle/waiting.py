"""Waiting lists in SQL: what their events, and a claim held for an entry, do to the rows.

A row is an entry that waits. It goes with the event that ends the waiting, in the transaction of
the batch; a claim held for it is known by its buyer and key.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.events import AnyEvent, ClaimHeld, WaitEvent, WaitJoined, WaitLeft, WaitSkipped
from workers.settle.book import Book, Poison, WaitNow

# column → array type; the order of the statements' parameters
_COLUMNS: dict[str, str] = {
    "offer_id": "text",
    "buyer_id": "text",
    "qty": "int",
    "price_id": "text",
    "idem_key": "text",
    "body_hash": "text",
    "touch": "text",
    "place": "bigint",
    "joined_at_ms": "bigint",
}
_NAMES = ", ".join(_COLUMNS)
_ASKED = (
    "unnest(CAST(:offers AS text[]), CAST(:buyers AS text[])) AS asked(offer_id, buyer_id)"
    " WHERE waits.offer_id = asked.offer_id AND waits.buyer_id = asked.buyer_id"
)
_READ = text(
    f"SELECT {', '.join(f'waits.{name}' for name in _COLUMNS)} FROM waits, {_ASKED}"  # noqa: S608
)
_DELETE = text(f"DELETE FROM waits USING {_ASKED}")  # noqa: S608
_INSERT = text(
    f"INSERT INTO waits (shard, {_NAMES}) SELECT CAST(:shard AS smallint), given.* FROM unnest("  # noqa: S608
    + ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _COLUMNS.items())
    + f") AS given({_NAMES})"
)


async def load_waits(session: AsyncSession, book: Book, events: Sequence[AnyEvent]) -> None:
    """The entries that these events may be about."""
    about = (ClaimHeld, WaitJoined, WaitLeft, WaitSkipped)
    pairs = {(one.offer_id, one.buyer_id) for one in events if isinstance(one, about)}
    if pairs:
        for row in await session.execute(_READ, _listed(pairs)):
            book.waits[row.offer_id, row.buyer_id] = WaitNow(**row._mapping)


def fold_wait(book: Book, event: WaitEvent) -> None:
    """Apply one event to the book, or raise Poison and change nothing."""
    who = (event.offer_id, event.buyer_id)
    waits = book.waits.get(who) is not None
    if event.offer_id not in book.offers:
        raise Poison(f"no offer {event.offer_id}")
    if waits == isinstance(event, WaitJoined):
        raise Poison(f"{event.buyer_id} {'waits already' if waits else 'does not wait'}")
    book.waits[who] = None
    if isinstance(event, WaitJoined):
        book.waits[who] = WaitNow(
            offer_id=event.offer_id,
            buyer_id=event.buyer_id,
            qty=event.qty,
            price_id=event.price_id,
            idem_key=event.key,
            body_hash=event.body_hash,
            touch=event.touch,
            place=event.place,
            joined_at_ms=event.at_ms,
        )
    book.touched_waits.add(who)


def served(book: Book, event: ClaimHeld) -> None:
    """Whoever waited with this key waits no longer."""
    who = (event.offer_id, event.buyer_id)
    entry = book.waits.get(who)
    if entry is not None and entry.idem_key == event.key:
        book.waits[who] = None
        book.touched_waits.add(who)


async def write_waits(session: AsyncSession, book: Book) -> None:
    """The book's entries that came and went; one statement each."""
    if not book.touched_waits:
        return
    await session.execute(_DELETE, _listed(book.touched_waits))
    entries = [entry for who in sorted(book.touched_waits) if (entry := book.waits[who])]
    if entries:
        rows = [msgspec.structs.asdict(entry) for entry in entries]
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in _COLUMNS}
        await session.execute(_INSERT, {"shard": book.shard, **columns})


def _listed(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found = sorted(pairs)
    return {"offers": [one for one, _ in found], "buyers": [one for _, one in found]}
