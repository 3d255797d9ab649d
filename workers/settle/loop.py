"""The settler's loop: look at every shard, settle what is new, reopen what is not ours.

One round is one write to the hot store for all shards. A store that is away is waited for: the
loop never dies of it, and says so once per change. Two settlers do no harm: positions move by
conditional updates, and the loser reads anew.
"""

import asyncio
import logging

import hiredis

from engine import keys
from engine.db import Database
from engine.errors import RefusedStart, Unavailable
from engine.inventory import Inventory
from engine.rooms import broadcast_position
from engine.scripts import load_all
from engine.settings import Settings
from engine.stream import Look, look, trim
from workers.settle import positions
from workers.settle.away import is_outage
from workers.settle.batch import settle_batch
from workers.settle.positions import LostRace, Position
from workers.settle.reopen import Gap, Reopener, gapless

log = logging.getLogger(__name__)

TAKE_OVER_MS = 5_000  # a reopening that has not moved for this long was abandoned
TRIM_EVERY = 2_000  # events settled between two trims


class Settler:
    """Settles all shards of one hot store into one database."""

    def __init__(
        self,
        db: Database,
        inventory: Inventory,
        settings: Settings,
        *,
        take_over_ms: int = TAKE_OVER_MS,
        trim_every: int = TRIM_EVERY,
    ) -> None:
        self._db, self._inventory, self._settings = db, inventory, settings
        self._take_over_ms, self._trim_every = take_over_ms, trim_every
        self._wire = inventory.wire
        self._reopener = Reopener(
            db,
            inventory.wire,
            batch_max=settings.settle_batch_max,
            rebuild_batch_max=settings.rebuild_batch_max,
        )
        self._positions: dict[int, Position] = {}
        self._trimmed: dict[tuple[int, int], int] = {}  # by shard and epoch
        self._said = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Settle until `stop`; RefusedStart when PostgreSQL is the older side."""
        while not stop.is_set():
            try:
                settled = await self.round()
                self._say("")
            except Unavailable as error:
                settled = self._say(f"hot store away: {error.title}")
            except hiredis.ReplyError as error:
                self._wire.hang_up()  # scripts flushed, store loading or full: begin anew
                settled = self._say(f"hot store refuses: {error}")
            except Exception as error:
                if not is_outage(error):
                    raise
                settled = self._say(f"database away: {type(error).__name__}")
            if settled <= 0:
                pause_ms = self._settings.settle_idle_ms * (1 if settled == 0 else 5)
                try:
                    await asyncio.wait_for(stop.wait(), pause_ms / 1000)
                except TimeoutError:
                    continue

    def _say(self, what: str) -> int:
        if what != self._said:
            log.warning("settler: %s", what or "stores are back")
            self._said = what
        return -1

    async def round(self) -> int:
        """One look at every shard; how many events were settled."""
        shards = range(self._settings.shards)
        for shard in shards:
            if shard not in self._positions:
                self._positions[shard] = await self._first(shard)
        looks = await asyncio.gather(
            *(
                look(self._wire, s, p.epoch, p.seq, self._settings.settle_batch_max)
                for s in shards
                for p in (self._positions[s],)
            )
        )
        settled = 0
        for shard, seen in zip(shards, looks, strict=True):
            try:
                settled += await self._shard(self._positions[shard], seen)
            except LostRace:
                del self._positions[shard]
        return settled

    async def _first(self, shard: int) -> Position:
        """This process's first look at a shard: its row, or a new one for a store without meta."""
        async with self._db.begin() as session:
            position = await positions.read(session, shard)
        if position is not None:
            return position
        meta = await self._wire.call("EXISTS", keys.meta(shard))
        if meta:
            raise RefusedStart(
                "database_older",
                f"The hot store has data of shard {shard}, but PostgreSQL has never heard of it: "
                "the database is the older side. Nothing was changed. Point to the database that "
                "belongs to this hot store, or to an empty hot store.",
            )
        async with self._db.begin() as session:
            await positions.begin(session, shard)
            position = await positions.read(session, shard)
        assert position is not None
        return position

    async def _shard(self, position: Position, seen: Look) -> int:
        if position.state == "sealed":
            await self._reread(position)
            return 0
        why = self._foreign(position, seen)
        if position.state == "reopening" or why:
            await self._reopen(position, seen, "first" if position.epoch == 0 else why)
            return 0
        if not seen.entries and seen.seq == position.seq:
            if seen.settled_seq < position.seq:  # whoever committed died before it could say so
                await self._inventory.settled(position.shard, position.seq, epoch=position.epoch)
            return 0
        entries = gapless(position.seq, seen.entries)
        if not entries:
            await self._seal_gap(position, seen)
            return 0
        settled = await settle_batch(self._db, position, entries)
        await self._inventory.settled(position.shard, position.seq, epoch=position.epoch)
        await self._trim(position)
        return settled

    def _foreign(self, position: Position, seen: Look) -> str:
        """Why the hot store is not the one the position speaks of; '' when it is."""
        if seen.epoch is None:
            return "hot store empty"
        if seen.epoch != position.epoch:
            return f"hot store in epoch {seen.epoch}"
        if seen.sealed:
            return f"sealed: {seen.sealed}"
        if seen.run_id != self._wire.run_id:
            return "hot store restarted"
        return "hot store behind the position" if seen.seq < position.seq else ""

    async def _reopen(self, position: Position, seen: Look, why: str) -> None:
        await self._still(position)
        opened = (seen.epoch, seen.run_id, seen.sealed) == (position.epoch, self._wire.run_id, "")
        if position.state == "reopening" and opened:
            async with self._db.begin() as session:  # only the last step was missing
                await positions.mark_open(session, position, seen.run_id)
            position.state = "open"
            return
        if position.state == "reopening" and position.epoch and not await self._abandoned(position):
            raise LostRace
        try:
            self._positions[position.shard] = await self._reopener.reopen(position, why)
        except Gap:
            await self._seal_gap(position, seen)

    async def _still(self, position: Position) -> None:
        """LostRace unless PostgreSQL agrees with what we think."""
        async with self._db.begin() as session:
            now = await positions.read(session, position.shard)
        if now is None or (now.epoch, now.seq, now.state) != (
            position.epoch,
            position.seq,
            position.state,
        ):
            raise LostRace

    async def _abandoned(self, position: Position) -> bool:
        async with self._db.begin() as session:
            return await positions.idle_ms(session, position.shard) > self._take_over_ms

    async def _seal_gap(self, position: Position, seen: Look) -> None:
        await self._still(position)  # a settler ahead of us may have trimmed what we look for
        names = {"meta": keys.meta(position.shard), "token": keys.token(position.shard)}
        seal = load_all()["seal"].command(**names, epoch=position.epoch, why="gap")
        reply = await self._wire.call(*seal)
        if reply[0] != b"sealed":
            raise LostRace  # emptied or reopened since we looked: no gap, the next look says what
        found = seen.entries[0][0] if seen.entries else None
        log.error(
            "shard %d: after seq %d of epoch %d comes %s: sealed. `kaituan rebuild %d --past-gap`",
            position.shard,
            position.seq,
            position.epoch,
            found if found is not None else f"nothing, though meta says {seen.seq}",
            position.shard,
        )
        async with self._db.begin() as session:
            await positions.mark_sealed(
                session,
                position,
                {"after_seq": position.seq, "found_seq": found, "meta_seq": seen.seq},
            )
        position.state = "sealed"

    async def _reread(self, position: Position) -> None:
        async with self._db.begin() as session:
            now = await positions.read(session, position.shard)
        if now is not None and now != position:
            self._positions[position.shard] = now

    async def _trim(self, position: Position) -> None:
        stream = (position.shard, position.epoch)
        before = await self._told(position) - self._settings.trim_margin_max
        if before - self._trimmed.get(stream, 0) > self._trim_every:
            await trim(self._wire, *stream, before)
            self._trimmed[stream] = before

    async def _told(self, position: Position) -> int:
        """Up to which seq nobody needs the stream any more: settled, and told to the rooms.

        A broadcaster that is very far behind is not waited for: it says `recovered` and goes on,
        while a full hot store would stop the sale.
        """
        told = await broadcast_position(self._wire, position.shard)
        if told is None or told[0] > position.epoch:  # nobody broadcasts
            return position.seq
        seq = told[1] if told[0] == position.epoch else 0
        return min(position.seq, max(seq, position.seq - self._settings.broadcast_lag_max))
