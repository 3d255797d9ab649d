"""The evening, played once for all tests of the audit, and a scene of it for each."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.audit.history import HistoryWriter
from engine.db import Database
from engine.store import connect
from engine.wire import Wire
from tests.conftest import DbUrls, Servers, _fresh
from tests.engine.audit.evening import (
    Evening,
    Play,
    Scene,
    copy_history,
    dump_keys,
    restore_keys,
)
from tests.sandbox import SandboxServer, running_sandbox
from tests.workers.paying import open_paying


@pytest.fixture(scope="session")
def audit_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest_asyncio.fixture(scope="session")
async def evening(
    servers: Servers,
    template: str,
    audit_sandbox: SandboxServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Evening]:
    """Played once; its database stays as the template of the scenes."""
    history = tmp_path_factory.mktemp("history")
    redis = connect(servers.valkey.url)
    await redis.flushall()
    async with asynccontextmanager(_fresh)(servers, template) as urls:
        db = Database(urls.app)
        try:
            async with open_paying(db, servers.valkey.url, audit_sandbox) as (world, door):
                with HistoryWriter(history, "c1") as writer:
                    play = Play(world, door, writer)
                    await play.evening()
                keys, bill = await dump_keys(redis), await world.bill()
        finally:
            await db.close()
            await redis.aclose()
        yield Evening(_name(urls), keys, history, bill, play.names)


def _name(urls: DbUrls) -> str:
    return urls.app.rpartition("/")[2]


@pytest_asyncio.fixture
async def scene(
    evening: Evening, servers: Servers, redis: Redis, tmp_path: Path
) -> AsyncIterator[Scene]:
    """A copy of the evening for this test alone."""
    await restore_keys(redis, evening.keys)
    async with asynccontextmanager(_fresh)(servers, evening.database) as urls:
        db, owner_db = Database(urls.app), Database(urls.owner)
        wire = Wire(servers.valkey.url, ())
        try:
            await wire.start()
            history = copy_history(evening.history, tmp_path / "history")
            yield Scene(db, owner_db, redis, wire, history, evening.bill, dict(evening.names))
        finally:
            await wire.close()
            await db.close()
            await owner_db.close()
            await redis.flushall()
