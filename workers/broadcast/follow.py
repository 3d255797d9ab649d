"""Following one shard's stream: batch after batch, and from one epoch into the next.

An old epoch's stream is drained before the next one begins. Where events were lost (the store was
emptied, or the stream trimmed in front of us) rooms are told `recovered`, and every offer of the
shard is compared anew. A hole that nobody has settled over is a gap: the settler seals the shard
and a person decides, so nothing behind it is told.
"""

import logging

from sqlalchemy import text

from engine import keys
from engine.db import Database
from engine.rooms import RoomLogs
from engine.stream import Look, look
from workers.broadcast.publish import Publisher
from workers.broadcast.rooms import RoomKeeper
from workers.broadcast.shelves import Shelves
from workers.settle.reopen import gapless

log = logging.getLogger(__name__)

EPOCHS_MAX = 100  # looked through for a stream that is still there

_LAST = text("SELECT last_seq FROM shard_epochs WHERE shard = :shard AND epoch = :epoch")


class Follower:
    """Where one shard's broadcasting stands; `at` is (epoch, seq), None before the first look."""

    def __init__(
        self,
        shard: int,
        db: Database,
        logs: RoomLogs,
        shelves: Shelves,
        publisher: Publisher,
        keeper: RoomKeeper,
        *,
        batch_max: int,
    ) -> None:
        self.shard = shard
        self.at: tuple[int, int] | None = None
        self._db, self._logs, self._shelves = db, logs, shelves
        self._publisher, self._keeper = publisher, keeper
        self._batch_max = batch_max

    async def step(self) -> int:
        """One look and at most one batch; how many events were published."""
        if self.at is None:
            self.at = await self._logs.broadcast_position(self.shard)
        if self.at is None:
            await self._begin()
            return 0
        epoch, seq = self.at
        seen = await look(self._logs.wire, self.shard, epoch, seq, self._batch_max)
        entries = gapless(seq, seen.entries)
        if entries:
            await self._publisher.batch(self.shard, epoch, entries)
            await self._move(epoch, entries[-1][0])
            return len(entries)
        if seen.entries:
            await self._hole(seen)
        elif seen.epoch is not None and seen.epoch > epoch:
            await self._next(seen.epoch)
        return 0

    async def _move(self, epoch: int, seq: int) -> None:
        await self._logs.moved(self.shard, epoch, seq)
        self.at = (epoch, seq)

    async def _begin(self) -> None:
        """Nobody has broadcast this shard yet, or the store has forgotten it."""
        raw = await self._logs.wire.call("HGET", keys.meta(self.shard), "epoch")
        if raw is not None:  # else it is being reopened
            await self._lost(int(raw), 0)

    async def _lost(self, epoch: int, seq: int) -> None:
        """Go on from here, telling that something before it may have been missed."""
        log.warning("shard %d: going on at seq %d of epoch %d", self.shard, seq, epoch)
        await self._publisher.recovered(self.shard, epoch, seq)
        self._keeper.forget(self._shelves.of_shard(self.shard))
        await self._move(epoch, seq)

    async def _overtaken(self) -> bool:
        """Whether another broadcaster has been further, and may have had the stream dropped."""
        stored = await self._logs.broadcast_position(self.shard)
        if stored is None or self.at is None or stored <= self.at:
            return False
        self.at = stored
        return True

    async def _hole(self, seen: Look) -> None:
        assert self.at is not None
        if await self._overtaken():
            return
        epoch, first = self.at[0], seen.entries[0][0]
        if seen.epoch is not None and seen.epoch > epoch:
            await self._lost(seen.epoch, 0)
        elif seen.epoch == epoch and first - 1 <= seen.settled_seq:
            await self._lost(epoch, first - 1)

    async def _next(self, newest: int) -> None:
        """The old epoch has nothing more to say: it was drained, or it is gone."""
        assert self.at is not None
        if await self._overtaken():
            return
        epoch, seq = self.at
        there = await self._is_there(epoch)
        following = newest
        for one in range(epoch + 1, min(newest, epoch + EPOCHS_MAX)):
            if await self._is_there(one):
                following = one
                break
        if there or await self._ended_at(epoch) == seq:
            self._keeper.forget(self._shelves.of_shard(self.shard))
            await self._move(following, 0)
        else:
            await self._lost(following, 0)
        if there:
            await self._logs.wire.call("UNLINK", keys.events(self.shard, epoch))

    async def _is_there(self, epoch: int) -> bool:
        return bool(await self._logs.wire.call("EXISTS", keys.events(self.shard, epoch)))

    async def _ended_at(self, epoch: int) -> int | None:
        async with self._db.begin() as session:
            last: int | None = await session.scalar(_LAST, {"shard": self.shard, "epoch": epoch})
        return last
