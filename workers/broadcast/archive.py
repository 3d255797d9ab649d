"""Rooms' logs go to PostgreSQL verbatim before they are trimmed.

A transaction per piece: of two archivers one waits for the other's lock and goes on behind it, so
that the pieces of an epoch follow each other without a gap or an overlap.
"""

import logging

import msgspec
from sqlalchemy import text

from engine.db import Database
from engine.ids import now_ms
from engine.room_events import room_topic
from engine.rooms import RoomLogs
from workers.broadcast.shelves import ROOMS_MAX, Shelves

log = logging.getLogger(__name__)

PIECE_MAX = 1_000  # entries of one row, some 300 kB
ENOUGH = 500  # entries that make a piece before its time

_LOCK = text("SELECT pg_advisory_xact_lock(7002, hashtext(:topic))")
_LAST = text(
    "SELECT coalesce(max(last_offset), 0) FROM room_log_batches"
    " WHERE topic = :topic AND epoch = :epoch"
)
_KEEP = text(
    "INSERT INTO room_log_batches (topic, epoch, first_offset, last_offset, payload)"
    " VALUES (:topic, :epoch, :first, :last, :payload)"
)

_ENDED = text(
    "SELECT id FROM rooms WHERE state = 'ended' AND ended_at_ms > :since"
    " ORDER BY ended_at_ms DESC LIMIT :most"
)

LogEntry = tuple[int, str, str, str]  # offset, origin, part, event


def pack(entries: list[LogEntry]) -> bytes:
    """The archive's payload: msgpack `[[offset, origin, part, event], …]`."""
    return msgspec.msgpack.encode(entries)


def unpack(payload: bytes) -> list[LogEntry]:
    """What `pack` packed."""
    return msgspec.msgpack.decode(payload, type=list[LogEntry])


async def archive_rooms(
    db: Database, logs: RoomLogs, shelves: Shelves, *, everything: bool = False
) -> int:
    """Archive rooms that are on whose logs have grown by enough (or at all), and trim them.

    How many entries were archived.
    """
    least = 1 if everything else ENOUGH
    kept = 0
    for room_id in shelves.offers:
        if room_id not in shelves.ended:
            kept += await archive_whole(db, logs, room_topic(room_id), least=least, over=False)
    return kept


async def archive_ended(db: Database, logs: RoomLogs, keep_ms: int) -> int:
    """Archive the rest of rooms that ended within `keep_ms`, and let their logs go after it.

    Also where nobody was there to do it when they ended.
    """
    asked = {"since": now_ms() - keep_ms, "most": ROOMS_MAX}
    async with db.begin() as session:
        ended = (await session.scalars(_ENDED, asked)).all()
    kept = 0
    for room_id in ended:
        kept += await archive_whole(db, logs, room_topic(room_id), least=1, over=True)
    return kept


async def archive_whole(db: Database, logs: RoomLogs, topic: str, *, least: int, over: bool) -> int:
    """Piece after piece, until fewer than `least` entries wait; how many were archived."""
    kept = 0
    while True:
        done = await archive_topic(db, logs, topic, least=least, over=over)
        kept += done
        if done < PIECE_MAX:
            return kept


async def archive_topic(
    db: Database, logs: RoomLogs, topic: str, *, least: int = 1, over: bool = False
) -> int:
    """Archive one piece if at least `least` entries wait; how many were archived."""
    stand = await logs.stand(topic)
    if stand is None:
        return 0
    head, archived = stand
    if head.offset - archived < least:
        if over:
            await logs.archived(topic, head.epoch, archived, forget=head.offset == archived)
        return 0
    asked = {"topic": topic, "epoch": head.epoch}
    async with db.begin() as session:
        after = int(await session.scalar(_LAST, asked) or 0)
    entries = await logs.entries(topic, after, PIECE_MAX)
    again = await logs.stand(topic)
    if again is None or again[0].epoch != head.epoch:
        return 0  # the log began anew between the looks: the entries may be another epoch's
    if not entries:
        await logs.archived(topic, head.epoch, after)
        return 0
    first, last = entries[0][0], entries[-1][0]
    if first != after + 1:
        log.error("%s: offsets %d to %d were lost", topic, after + 1, first - 1)
    async with db.begin() as session:
        await session.execute(_LOCK, {"topic": topic})
        if int(await session.scalar(_LAST, asked) or 0) != after:
            return 0  # another archivist was first: look again
        given = {**asked, "first": first, "last": last, "payload": pack(entries)}
        await session.execute(_KEEP, given)
    await logs.archived(topic, head.epoch, last)
    return len(entries)
