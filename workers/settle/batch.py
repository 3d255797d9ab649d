"""One batch of events, one transaction: rows, archive and position together or not at all.

The position's UPDATE must hit exactly one row; of two settlers one wins, the other reads anew.
What cannot be settled does not stop what can: an event refused by `fold`, or by the database
when it stands alone, goes to the dead letters with the later events of its claim.
"""

import logging
from collections.abc import Mapping, Sequence

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db import Database
from engine.events import AnyEvent, decode
from workers.settle.away import is_outage
from workers.settle.book import Poison
from workers.settle.dead_letters import bury, claims_with_open_letters
from workers.settle.fold import fold
from workers.settle.load import load_book
from workers.settle.newcomers import judge_newcomers
from workers.settle.positions import LostRace, Position, move
from workers.settle.write import write_book

log = logging.getLogger(__name__)

Entry = tuple[int, Mapping[str, str]]  # seq and the stream entry's fields

_ARCHIVE = text(
    "INSERT INTO event_batches (shard, epoch, first_seq, last_seq, payload, orphaned)"
    " VALUES (:shard, :epoch, :first, :last, :payload, :orphaned)"
)
_ARCHIVE_ORPHANS = text(f"{_ARCHIVE.text} ON CONFLICT DO NOTHING")  # two may go past one gap
_LAST_ORPHANED = text(
    "SELECT max(last_seq) FROM event_batches WHERE shard = :shard AND epoch = :epoch AND orphaned"
)


def pack(entries: Sequence[Entry]) -> bytes:
    """The archive's payload: msgpack `[[seq, {field: value}], …]`."""
    return msgspec.msgpack.encode([[seq, dict(fields)] for seq, fields in entries])


def unpack(payload: bytes) -> list[tuple[int, dict[str, str]]]:
    """What `pack` packed."""
    return msgspec.msgpack.decode(payload, type=list[tuple[int, dict[str, str]]])


async def archive(
    session: AsyncSession,
    shard: int,
    epoch: int,
    entries: Sequence[Entry],
    *,
    orphaned: bool = False,
) -> None:
    """Keep the entries verbatim."""
    await session.execute(
        _ARCHIVE_ORPHANS if orphaned else _ARCHIVE,
        {
            "shard": shard,
            "epoch": epoch,
            "first": entries[0][0],
            "last": entries[-1][0],
            "payload": pack(entries),
            "orphaned": orphaned,
        },
    )


async def last_orphaned(session: AsyncSession, shard: int, epoch: int) -> int:
    """Up to which seq the epoch's orphaned events are archived; 0 when there are none."""
    last: int | None = await session.scalar(_LAST_ORPHANED, {"shard": shard, "epoch": epoch})
    return last or 0


async def settle_batch(db: Database, position: Position, entries: Sequence[Entry]) -> int:
    """Settle gapless `entries` that follow the position; how many. Moves `position`.

    Raises LostRace when another settler was first, and whatever the database raises while it
    is away: then nothing has happened and the same batch is tried again.
    """
    try:
        return await _settle(db, position, entries, bury_refused=False)
    except LostRace:
        raise
    except Exception as error:  # of whatever kind: one bad event must not stop its shard
        if is_outage(error):
            raise
        log.warning("batch of %d on shard %d refused: %s", len(entries), position.shard, error)
    for entry in entries:
        try:
            await _settle(db, position, [entry], bury_refused=False)
        except LostRace:
            raise
        except Exception as error:
            if is_outage(error):
                raise
            await _settle(db, position, [entry], bury_refused=True, why=str(error)[:500])
    return len(entries)


async def _settle(
    db: Database,
    position: Position,
    entries: Sequence[Entry],
    *,
    bury_refused: bool,
    why: str = "",
) -> int:
    last = entries[-1][0]
    async with db.begin() as session:
        await move(session, position, last)
        if bury_refused:
            await bury(session, position.shard, position.epoch, [(*entries[0], why)])
        else:
            await _apply(session, position, entries)
        await archive(session, position.shard, position.epoch, entries)
    position.seq = last
    return len(entries)


async def _apply(session: AsyncSession, position: Position, entries: Sequence[Entry]) -> None:
    poison: list[tuple[int, Mapping[str, str], str]] = []
    events: list[tuple[AnyEvent, Mapping[str, str]]] = []
    claims = {fields["claim_id"] for _, fields in entries if "claim_id" in fields}
    # claim → seq of its first letter; the batch's events before that one are settled
    followed = dict.fromkeys(await claims_with_open_letters(session, claims), 0)
    for seq, fields in entries:
        if fields.get("claim_id") in followed:
            poison.append((seq, fields, "follows an open dead letter of its claim"))
            continue
        try:
            events.append((decode(seq, fields), fields))
        except (msgspec.ValidationError, ValueError) as error:
            poison.append((seq, fields, f"cannot be read: {error}"))
            if "claim_id" in fields:
                followed[fields["claim_id"]] = seq
    book = await load_book(session, position.shard, position.epoch, [one for one, _ in events])
    for event, fields in events:
        if event.seq > followed.get(fields.get("claim_id", ""), event.seq):
            poison.append((event.seq, fields, "follows an open dead letter of its claim"))
            continue
        try:
            fold(book, event)
        except Poison as error:
            poison.append((event.seq, fields, str(error)))
            if "claim_id" in fields:
                followed[fields["claim_id"]] = event.seq
    judge_newcomers(book)
    await write_book(session, book)
    if poison:
        log.error("%d poison events on shard %d: %s", len(poison), position.shard, poison[0][2])
        await bury(session, position.shard, position.epoch, sorted(poison, key=lambda one: one[0]))
