"""Reopening a shard: seal, settle the rest, raise the epoch, rebuild if needed, open.

Each step may be the last before a crash; whoever comes next raises the epoch again, and scripts
of the older rebuild are refused by their token. Meta is written last, which opens the shard.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.exc import SQLAlchemyError

from campaigns.audit_log import record_change
from engine import keys
from engine.db import Database
from engine.errors import RefusedStart, Unavailable
from engine.rooms import broadcast_position
from engine.scripts import load_all
from engine.stream import look
from engine.wire import Wire
from workers.settle import positions
from workers.settle.batch import archive, last_orphaned, settle_batch
from workers.settle.positions import LostRace, Position
from workers.settle.rebuild import Rebuilder
from workers.settle.snapshot import pack_snapshot, read_hot

log = logging.getLogger(__name__)


BEAT_S = 1.0
UNDRAINED_MS = 3_600_000  # so long an old epoch's stream waits for a broadcaster


@asynccontextmanager
async def beating(db: Database, position: Position) -> AsyncIterator[None]:
    """While inside, the position's row says each second that the reopening lives."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                async with db.begin() as session:
                    await positions.beat(session, position)
            except (SQLAlchemyError, OSError) as error:  # the reopening itself will notice
                log.warning("shard %d: no sign of life: %s", position.shard, error)

    task = asyncio.create_task(beat(), name=f"reopening-{position.shard}")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Gap(Exception):
    """The stream does not go on where the position stands."""


class Reopener:
    """Reopens shards over one wire and one database."""

    def __init__(self, db: Database, wire: Wire, *, batch_max: int, rebuild_batch_max: int) -> None:
        self._db, self._wire = db, wire
        self._batch_max, self._rebuild_batch_max = batch_max, rebuild_batch_max
        self._scripts = load_all()

    async def reopen(
        self,
        position: Position,
        why: str,
        *,
        past_gap: bool = False,
        force: bool = False,
        actor: str = "",
    ) -> Position:
        """Open the shard under a new epoch; the new position.

        The state is rebuilt from PostgreSQL when the hot store lacks something that was settled,
        or with `force`; otherwise it stays as it is. `actor`: the person who wants it, for the
        audit log.

        Raises Gap when the old stream has one (unless `past_gap`: what lies behind it is archived
        as orphaned and the state rebuilt), LostRace when another settler was first, Unavailable
        when the hot store went away meanwhile, RefusedStart when PostgreSQL is the older side.
        """
        shard = position.shard
        meta_epoch, meta_seq = await self._seal(position, why)
        if past_gap:
            await self._orphan(position)
        elif meta_epoch == position.epoch:
            await self._settle_rest(position, meta_seq)
        async with self._db.begin() as session:
            whole = await positions.is_whole(session, position, meta_epoch, meta_seq)
            position = await positions.raise_epoch(session, position, why)
            if past_gap:
                await positions.resolve_gaps(session, shard)
            if actor:
                new = {"epoch": position.epoch, "past_gap": past_gap}
                record_change(session, actor, "shard.rebuild", f"shard:{shard}", **new)
        intact = whole and not past_gap and not force
        async with beating(self._db, position):
            await self._write(position, why, kept=(meta_epoch, meta_seq) if intact else None)
        async with self._db.begin() as session:
            await positions.mark_open(session, position, position.run_id)
        position.state = "open"
        if intact and meta_epoch is not None:
            await self._drop(shard, meta_epoch)
        log.warning("shard %d: open in epoch %d (%s)", shard, position.epoch, why)
        return position

    async def _write(
        self, position: Position, why: str, *, kept: tuple[int | None, int] | None
    ) -> None:
        """Rebuild, unless the state is `kept` as it was sealed at (epoch, seq); then open it."""
        shard, run_id = position.shard, self._wire.run_id
        await self._begin(position)
        if kept is None:
            log.warning("shard %d: rebuilding from PostgreSQL (%s)", shard, why)
            await Rebuilder(
                self._db, self._wire, shard, position.epoch, self._rebuild_batch_max
            ).run()
        else:
            # Looked at before the token was there. What empties the store from now on takes the
            # token along, and a restart shows in the run_id.
            seen = await look(self._wire, shard, position.epoch, 0, 1)
            if (seen.epoch, seen.seq) != kept:
                raise _emptied()
        snapshot = pack_snapshot(await read_hot(self._wire, shard))
        async with self._db.begin() as session:
            await positions.keep_snapshot(session, position, snapshot)
        await self._open(position, run_id)
        position.run_id = run_id

    async def _drop(self, shard: int, epoch: int) -> None:
        """The old stream goes; where somebody broadcasts it goes when they have drained it."""
        old = keys.events(shard, epoch)
        if await broadcast_position(self._wire, shard) is None:
            await self._wire.call("UNLINK", old)
        else:
            await self._wire.call("PEXPIRE", old, UNDRAINED_MS)

    async def _ask(self, script: str, **values: str | int) -> list[str]:
        reply = await self._wire.call(*self._scripts[script].command(**values))
        return [part.decode() for part in reply]

    async def _seal(self, position: Position, why: str) -> tuple[int | None, int]:
        """(epoch, seq) of the sealed meta; (None, 0) when it is missing."""
        reply = await self._ask(
            "seal",
            meta=keys.meta(position.shard),
            token=keys.token(position.shard),
            epoch=position.epoch,
            why=why,
        )
        if reply[0] == "missing":
            return None, 0
        if reply[0] == "newer":
            async with self._db.begin() as session:
                now = await positions.read(session, position.shard)
            if now is not None and now.epoch >= int(reply[1]):
                raise LostRace  # another settler has reopened it since we read our position
            raise RefusedStart(
                "database_older",
                f"PostgreSQL knows epoch {position.epoch} of shard {position.shard}, the hot store "
                f"epoch {reply[1]}: the database is the older side. Nothing was changed. Restore "
                "the newer database, or point to the hot store that belongs to this one.",
            )
        return int(reply[1]), int(reply[2])

    async def _settle_rest(self, position: Position, meta_seq: int) -> None:
        """Settle what the sealed stream still holds, up to the last seq it promised."""
        while position.seq < meta_seq:
            seen = await look(
                self._wire, position.shard, position.epoch, position.seq, self._batch_max
            )
            entries = gapless(position.seq, seen.entries)
            if not entries and seen.epoch != position.epoch:
                raise _emptied()  # an emptied stream is no gap: the next look says what it is
            if not entries:
                raise Gap
            await settle_batch(self._db, position, entries)

    async def _orphan(self, position: Position) -> None:
        """Archive what lies behind the gap; it has no effect any more. May be repeated."""
        async with self._db.begin() as session:
            done = await last_orphaned(session, position.shard, position.epoch)
        after = max(position.seq, done)
        while True:
            seen = await look(self._wire, position.shard, position.epoch, after, self._batch_max)
            if not seen.entries:
                return
            async with self._db.begin() as session:
                await archive(session, position.shard, position.epoch, seen.entries, orphaned=True)
            after = seen.entries[-1][0]

    async def _begin(self, position: Position) -> None:
        reply = await self._ask(
            "rebuild_begin",
            meta=keys.meta(position.shard),
            token=keys.token(position.shard),
            epoch=position.epoch,
        )
        if reply[0] != "begun":
            raise Unavailable("reopening", "A newer reopening of this shard has begun")

    async def _open(self, position: Position, run_id: str) -> None:
        if self._wire.run_id != run_id:
            raise Unavailable("reopening", "The hot store restarted while it was being rebuilt")
        reply = await self._ask(
            "epoch_open",
            meta=keys.meta(position.shard),
            token=keys.token(position.shard),
            epoch=position.epoch,
            run_id=run_id,
        )
        if reply[0] != "opened":
            raise Unavailable("reopening", "A newer reopening of this shard has begun")


def _emptied() -> Unavailable:
    return Unavailable("reopening", "The hot store changed while it was being reopened")


def gapless(
    after_seq: int, entries: list[tuple[int, dict[str, str]]]
) -> list[tuple[int, dict[str, str]]]:
    """The entries that follow `after_seq` without a hole."""
    good = []
    for expected, entry in enumerate(entries, start=after_seq + 1):
        if entry[0] != expected:
            break
        good.append(entry)
    return good
