"""Which epoch each shard is in, as PostgreSQL says, and which shard a campaign lives on.

`Epochs` keeps a process's copy fresh: every `every_ms`, and at once when a script answered
`reopening`. A stale copy is harmless: scripts compare it with their own meta.
"""

import asyncio
import contextlib
import logging
import zlib
from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db import Database
from engine.errors import Unavailable
from engine.models import ShardPosition

log = logging.getLogger(__name__)


def shard_of(campaign_id: str, shards: int) -> int:
    """The shard a campaign is given when it is published."""
    return zlib.crc32(campaign_id.encode()) % shards


def reopening() -> Unavailable:
    """The answer while a shard is sealed, rebuilt or on another server."""
    return Unavailable(
        "reopening",
        "Recovering; orders are safe",
        "This campaign is being reopened. Try again in a moment with the same key.",
    )


async def read_epochs(session: AsyncSession) -> dict[int, int]:
    """shard → epoch of every shard that has one."""
    rows = await session.execute(select(ShardPosition.shard, ShardPosition.epoch))
    return dict(row for row in rows)


class Epochs:
    """A process's copy of shard → epoch."""

    def __init__(self, db: Database | None, *, every_ms: int = 500) -> None:
        self._db = db
        self._every_s = every_ms / 1000
        self._known: dict[int, int] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def fixed(cls, known: Mapping[int, int]) -> "Epochs":
        """Epochs that PostgreSQL is not asked for: one script on one hot store, and tests."""
        epochs = cls(None)
        epochs._known = dict(known)
        return epochs

    def of(self, shard: int) -> int:
        """The shard's epoch as far as known; Unavailable `reopening` when it has none yet."""
        epoch = self._known.get(shard)
        if epoch is None:
            self._wake.set()
            raise reopening()
        return epoch

    def has(self, shard: int) -> bool:
        """Whether the shard was ever opened; True as well while nothing is known of any."""
        return not self._known or shard in self._known

    def doubt(self) -> None:
        """A script refused: read again at once (but not more often than every 20 ms)."""
        self._wake.set()

    async def refresh(self) -> None:
        """Read now."""
        if self._db is None:
            return
        async with self._db.begin() as session:
            self._known = await read_epochs(session)

    async def start(self) -> None:
        """Read once, then keep fresh in the background."""
        await self.refresh()
        self._task = asyncio.create_task(self._keep(), name="epochs")

    async def close(self) -> None:
        """Stop refreshing."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep(self) -> None:
        while True:
            # Not wait_for: before Python 3.12 it swallows a cancel in the turn of the wake-up.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._wake.wait()
            self._wake.clear()
            try:
                await self.refresh()
            except (SQLAlchemyError, OSError) as error:
                log.warning("epochs not read: %s", error)
            await asyncio.sleep(0.02)
