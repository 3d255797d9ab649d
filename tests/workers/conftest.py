"""A stage on the session's stores, and rivals: other settlers with stores' clients of their own."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.db import Database
from engine.inventory import Inventory
from engine.shards import Epochs
from tests.conftest import DbUrls
from tests.workers.gates import Gate, GatedDatabase, GatedWire
from tests.workers.stage import Stage, open_stage
from workers.settle.loop import Settler


@dataclass
class Rival:
    """A process of its own, so to say: its clients of both stores."""

    stage: Stage
    db: Database
    inventory: Inventory
    take_over_ms: int = 0

    def settler(self) -> Settler:
        """A settler that has just started."""
        return Settler(
            self.db,
            self.inventory,
            self.stage.settings,
            take_over_ms=self.take_over_ms,
            trim_every=0,
        )


RivalMaker = Callable[[Gate], AbstractAsyncContextManager[Rival]]


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """Two open shards."""
    async with open_stage(db, valkey_url) as opened:
        yield opened


@pytest.fixture
def rival(stage: Stage, db_urls: DbUrls, valkey_url: str) -> RivalMaker:
    """`async with rival(gate) as other`: another process on the stage's stores, through a gate."""

    @asynccontextmanager
    async def make(gate: Gate) -> AsyncIterator[Rival]:
        db, wire = GatedDatabase(db_urls.app, gate), GatedWire(valkey_url, gate)
        await wire.start()
        try:
            yield Rival(stage, db, Inventory(wire, Epochs.fixed({})))
        finally:
            await wire.close()
            await db.close()

    return make
