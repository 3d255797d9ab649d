"""The broadcaster's loop: every shard a step, and beside it rooms, repeats and the archive.

A store that is away is waited for, and said once per change. While only PostgreSQL is away, rooms
that are known go on hearing of their stock. Two broadcasters do no harm: each log takes a batch
once, positions never go back, and a comparison that was overtaken is not told.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import hiredis
from sqlalchemy.exc import ProgrammingError

from campaigns.room.publishing import publish_command, unpublished
from engine.db import Database
from engine.errors import RefusedStart, Unavailable
from engine.inventory import Inventory
from engine.rooms import RoomLogs
from engine.settings import Settings
from workers.broadcast.archive import archive_ended, archive_rooms
from workers.broadcast.follow import Follower
from workers.broadcast.publish import Publisher
from workers.broadcast.rooms import RoomKeeper
from workers.broadcast.shelves import Shelves
from workers.settle.away import is_outage

log = logging.getLogger(__name__)

LOOK_EVERY_MS = 300
ARCHIVE_EVERY_MS = 2_000
ARCHIVE_ALL_EVERY_MS = 30_000


class Broadcaster:
    """Brings all shards of one hot store into its topics' logs."""

    def __init__(
        self, db: Database, inventory: Inventory, logs: RoomLogs, settings: Settings
    ) -> None:
        self._db, self._inventory, self._logs = db, inventory, logs
        self._settings = settings
        self.shelves = Shelves(db)
        self._keeper = RoomKeeper(db, inventory, logs, self.shelves)
        publisher = Publisher(db, inventory, logs, self.shelves, teams_max=settings.room_teams_max)
        self._followers = [
            Follower(
                shard,
                db,
                logs,
                self.shelves,
                publisher,
                self._keeper,
                batch_max=settings.broadcast_batch_max,
            )
            for shard in range(settings.shards)
        ]
        self._due: dict[str, float] = {}
        self._said: dict[str, str] = {}
        self._read_once = False

    async def run(self, stop: asyncio.Event) -> None:
        """Broadcast until `stop`; the round under way is finished."""
        while not stop.is_set():
            try:
                told = await self.round()
                self._say("stores", "")
            except Unavailable as error:
                told = self._say("stores", f"hot store away: {error.title}")
            except hiredis.ReplyError as error:
                self._logs.wire.hang_up()  # scripts flushed, store loading or full: begin anew
                told = self._say("stores", f"hot store refuses: {error}")
            except Exception as error:
                if not is_outage(error):
                    raise
                told = self._say("stores", f"database away: {type(error).__name__}")
            if told >= self._settings.broadcast_batch_max:
                continue
            # Also after a small batch: what happens meanwhile goes into one tick per offer.
            pause_ms = self._settings.broadcast_idle_ms * (1 if told >= 0 else 10)
            try:
                await asyncio.wait_for(stop.wait(), pause_ms / 1000)
            except TimeoutError:
                continue

    def _say(self, about: str, what: str) -> int:
        if what != self._said.get(about, ""):
            log.warning("broadcaster: %s", what or f"{about}: works again")
            self._said[about] = what
        return -1

    async def round(self) -> int:
        """What is due, and one step of every shard; how many shard events were published."""
        if not self._read_once:
            await self._first()
        await self._aside("rooms", LOOK_EVERY_MS, self._look)
        steps = await asyncio.gather(
            *(follower.step() for follower in self._followers), return_exceptions=True
        )
        await self._aside("commands", self._settings.repeat_every_ms, self.repeat_commands)
        await self._aside("archive", ARCHIVE_EVERY_MS, self.archive)
        await self._aside("whole archive", ARCHIVE_ALL_EVERY_MS, self._archive_all)
        told = 0
        for step in steps:
            if isinstance(step, BaseException):
                raise step
            told += step
        return told

    async def _first(self) -> None:
        """Without any shelf nothing can be told, so the first look is waited for."""
        try:
            await self.shelves.refresh()
        except ProgrammingError as error:
            raise RefusedStart(
                "not_migrated", "The database has no (or an old) schema; run `kaituan migrate`."
            ) from error
        self._read_once = True

    async def _look(self) -> None:
        await self.shelves.refresh()
        await self._keeper.look()

    async def repeat_commands(self) -> int:
        """Publish what was committed and not published; how many commands."""
        settings = self._settings
        due = await unpublished(
            self._db,
            older_than_ms=settings.repeat_after_ms,
            limit=settings.broadcast_batch_max,
        )
        for command_id in due:
            part = await publish_command(self._db, self._inventory, self._logs, command_id)
            # What it says of an offer is as old as the command: the shard may have told newer.
            self._keeper.forget({part.removeprefix("offer:")})
        return len(due)

    async def archive(self, *, everything: bool = False) -> int:
        """Archive and trim the rooms' logs; how many entries were archived."""
        kept = await archive_rooms(self._db, self._logs, self.shelves, everything=everything)
        if everything:
            kept += await archive_ended(self._db, self._logs, self._settings.room_keep_ms)
        return kept

    async def _archive_all(self) -> int:
        return await self.archive(everything=True)

    async def _aside(self, name: str, every_ms: int, turn: Callable[[], Awaitable[object]]) -> None:
        """Work beside the streams, when it is due; PostgreSQL's absence does not stop the rest."""
        now = time.monotonic()
        if now < self._due.get(name, 0.0):
            return
        self._due[name] = now + every_ms / 1000
        try:
            await turn()
        except Unavailable:
            raise
        except Exception as error:
            if not is_outage(error):
                raise
            self._say(name, f"{name}: database away: {type(error).__name__}")
        else:
            self._say(name, "")
