"""The logs of topics, archived and hot, in the scratch file: what R1, R2 and R4 look at.

The hot store is read first and the archive after it: what was trimmed meanwhile has been archived
before, so no event slips between the two. A member's log is short and never archived; it is only
looked at when a viewer followed it, and may begin anywhere.
"""

import asyncio
import json
import sqlite3
from array import array
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import text

from engine import keys
from engine.audit.report import Finding
from engine.audit.room_facts import DIGEST_MASK, event_digest, personal, state_hash
from engine.audit.sources import Given, pages, snapshot
from engine.wire import Wire

PAGE_MAX = 1_000
TRIES_MAX = 5  # a log that begins a new epoch while it is read is read again

_TABLES = """
CREATE TABLE log_events (
    topic TEXT NOT NULL, epoch TEXT NOT NULL, "offset" INTEGER NOT NULL, origin TEXT NOT NULL,
    part TEXT NOT NULL, kind TEXT NOT NULL, digest INTEGER NOT NULL,
    PRIMARY KEY (topic, epoch, "offset")
) WITHOUT ROWID;
CREATE INDEX log_origins ON log_events (topic, epoch, origin, part);
"""
_ROOMS = text(
    "SELECT id FROM rooms WHERE state <> 'ended' OR coalesce(ended_at_ms, 0) >= :since ORDER BY id"
)
_BATCHES = """
SELECT topic, epoch, first_offset, last_offset, payload FROM room_log_batches
WHERE CAST(:since AS bigint) = 0 OR topic IN (
    SELECT 'room:' || id FROM rooms
    WHERE state <> 'ended' OR coalesce(ended_at_ms, 0) >= CAST(:since AS bigint))
ORDER BY topic, epoch, first_offset
"""
_payload: msgspec.msgpack.Decoder[list[tuple[int, str, str, str]]] = msgspec.msgpack.Decoder(
    list[tuple[int, str, str, str]]
)


class HotLog(NamedTuple):
    """Where a topic's log stands in the hot store; `hash` is of the state at that offset."""

    epoch: str
    offset: int
    hash: str


class Prefix(NamedTuple):
    """An epoch's digests, summed: `sums[n]` is the sum of the first n events from `first` on."""

    first: int
    sums: "array[int]"

    @property
    def last(self) -> int:
        return self.first + len(self.sums) - 2

    def has(self, first: int, last: int) -> bool:
        """Whether all of these offsets are known."""
        return self.first <= first and last <= self.last

    def digest(self, first: int, last: int) -> int:
        """The digest of a range that is known."""
        return (self.sums[last - self.first + 1] - self.sums[first - self.first]) & DIGEST_MASK


class Logs:
    """All logs that an audit looks at; problems of the logs themselves go to `numbered` (R1) and
    `private` (R4) while they are read."""

    def __init__(self, given: Given, numbered: Finding, private: Finding) -> None:
        self._given, self._scratch = given, given.scratch
        self.numbered, self.private = numbered, private
        self.hot: dict[str, HotLog] = {}
        self.rooms: list[str] = []
        self._prefixes: dict[tuple[str, str], Prefix | None] = {}

    async def read(self, followed: list[str]) -> None:
        """Every room's log, archived and hot, and the hot logs of the topics in `followed`."""
        self._scratch.executescript(_TABLES)
        since = {"since": self._given.rooms_since_ms}
        async with snapshot(self._given.db) as session:
            self.rooms = [f"room:{room_id}" for room_id in await session.scalars(_ROOMS, since)]
        for topic in sorted({*self.rooms, *followed}):
            await self._read_hot(topic)
        async with snapshot(self._given.db) as session:
            async for page in pages(session, _BATCHES, since, rows_max=16):
                for row in page:
                    self._batch(row)
                    await asyncio.sleep(0)  # 80 ms a batch: a worker has more to do

    def _batch(self, row: Any) -> None:
        entries = _payload.decode(row["payload"])
        name = f"{row['topic']} epoch {row['epoch']}, batch {row['first_offset']}"
        offsets = [one[0] for one in entries]
        wanted = list(range(row["first_offset"], row["last_offset"] + 1))
        self.numbered.expect(
            offsets == wanted, f"{name}: it does not hold the offsets that it says"
        )
        self._scratch.execute("BEGIN")
        for offset, origin, part, event in entries:
            self._add(row["topic"], row["epoch"], offset, (origin, part, event))
        self._scratch.execute("COMMIT")

    async def _read_hot(self, topic: str) -> None:
        wire = self._given.wire
        for _ in range(TRIES_MAX):
            epoch, entries = await _entries(wire, topic)
            log = await _state(wire, topic, self.private)
            if log is None or log.epoch != epoch:
                if not epoch:
                    return  # it has none: everything about it is archived, or it never was live
                continue
            for start in range(0, len(entries), PAGE_MAX):
                self._scratch.execute("BEGIN")
                for offset, told in entries[start : start + PAGE_MAX]:
                    self._add(topic, epoch, offset, told)
                self._scratch.execute("COMMIT")
                await asyncio.sleep(0)
            last = entries[-1][0] if entries else 0
            text_ = f"{topic}: the log ends at {last}, its meta says {log.offset}"
            self.numbered.expect(last >= log.offset or not self._given.at_rest, text_)
            self.hot[topic] = log
            return
        self.numbered.expect(False, f"{topic}: it begins new epochs without an end")

    def _add(self, topic: str, epoch: str, offset: int, told: tuple[str, str, str]) -> None:
        origin, part, event = told
        try:
            read = msgspec.json.decode(event)
            kind = str(read["kind"])
        except (msgspec.DecodeError, KeyError, TypeError):
            self.numbered.expect(False, f"{topic} {epoch} {offset}: its event cannot be read")
            return
        found = personal(event)
        self.private.expect(not found, f"{topic} {epoch} {offset}: its event says {found}")
        row = (topic, epoch, offset, origin, part, kind, event_digest(offset, read))
        try:
            self._scratch.execute("INSERT INTO log_events VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            same = self._scratch.execute(
                "SELECT origin, part, digest FROM log_events"
                ' WHERE topic = ? AND epoch = ? AND "offset" = ?',
                (topic, epoch, offset),
            ).fetchone()
            if tuple(same) != (origin, part, row[6]):
                self.numbered.problem(f"{topic} {epoch} {offset} is told in two ways")

    def epochs(self) -> list[tuple[str, str, int, int, int]]:
        """(topic, epoch, first, last, count) of each epoch that has events."""
        rows = self._scratch.execute(
            'SELECT topic, epoch, min("offset"), max("offset"), count(*) FROM log_events'
            " GROUP BY topic, epoch ORDER BY topic, epoch"
        )
        return [tuple(row) for row in rows]

    def prefix(self, topic: str, epoch: str) -> Prefix | None:
        """An epoch's digests; None when it has no events, or not all from its first to its last."""
        at = (topic, epoch)
        if at not in self._prefixes:
            rows = self._scratch.execute(
                'SELECT "offset", digest FROM log_events WHERE topic = ? AND epoch = ?'
                ' ORDER BY "offset"',
                at,
            ).fetchall()
            whole = bool(rows) and rows[-1][0] - rows[0][0] + 1 == len(rows)
            sums = accumulate((one[1] for one in rows), lambda a, b: (a + b) & DIGEST_MASK)
            self._prefixes[at] = Prefix(rows[0][0], array("q", [0, *sums])) if whole else None
        return self._prefixes[at]

    def origins_at(self, topic: str, offset: int) -> dict[str, str]:
        """Epoch → origin of the events with this offset."""
        rows = self._scratch.execute(
            'SELECT epoch, origin FROM log_events WHERE topic = ? AND "offset" = ?', (topic, offset)
        )
        return dict(rows.fetchall())


async def _entries(wire: Wire, topic: str) -> tuple[str, list[tuple[int, tuple[str, str, str]]]]:
    """The epoch before the first page was read, and all entries."""
    (epoch,) = await wire.call("HMGET", keys.log_meta(topic), "epoch")
    found: list[tuple[int, tuple[str, str, str]]] = []
    after = "-"
    while epoch:
        page = await wire.call("XRANGE", keys.log(topic), after, "+", "COUNT", PAGE_MAX)
        for entry_id, flat in page:
            fields = dict(zip(flat[::2], flat[1::2], strict=True))
            told = (fields[b"origin"].decode(), fields[b"part"].decode(), fields[b"event"].decode())
            found.append((int(entry_id.split(b"-")[0]), told))
            after = f"({entry_id.decode()}"
        if len(page) < PAGE_MAX:
            break
    return (epoch or b"").decode(), found


async def _state(wire: Wire, topic: str, private: Finding) -> HotLog | None:
    """Where the log stands now, and what its state says; parts and position of one instant."""
    parts_key, comments_key = keys.log_parts(topic), keys.log_comments(topic)
    for _ in range(TRIES_MAX):
        before, flat, listed, after = (
            await wire.call("HMGET", keys.log_meta(topic), "epoch", "offset"),
            await wire.call("HGETALL", parts_key),
            await wire.call("LRANGE", comments_key, 0, -1),
            await wire.call("HMGET", keys.log_meta(topic), "epoch", "offset"),
        )
        if before == after:
            break
    else:
        flat = listed = []
    epoch, offset = after
    if not epoch:
        return None
    parts = {
        name.decode(): event.decode() for name, event in zip(flat[::2], flat[1::2], strict=True)
    }
    comments = [event.decode() for event in reversed(listed)]
    for name, event in [*parts.items(), *(("a comment", one) for one in comments)]:
        found = personal(event)
        private.expect(not found, f"{topic}: its part {name} says {found}")
    read = {name: json.loads(event) for name, event in parts.items()}
    hashed = state_hash(read, [json.loads(one) for one in comments]) if before == after else ""
    return HotLog(epoch.decode(), int(offset), hashed)
