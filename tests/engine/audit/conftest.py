"""The evening, played once for all tests of the audit, and a scene of it for each."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
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


class Clones:
    """One clone of the evening's database at a time, kept as long as nobody has written to it.

    A clone costs a quarter of a second, and most tests spoil only the hot store or the history.
    """

    def __init__(self, servers: Servers, database: str) -> None:
        self._servers, self._database = servers, database
        self._stack = AsyncExitStack()
        self._urls: DbUrls | None = None
        self._written = ""

    async def clean(self) -> DbUrls:
        """The clone, a fresh one if something was written since the last call."""
        if self._urls is None or await self._writes(self._urls) != self._written:
            await self.drop()
            fresh = asynccontextmanager(_fresh)(self._servers, self._database)
            self._urls = await self._stack.enter_async_context(fresh)
            self._written = await self._writes(self._urls)
        return self._urls

    async def drop(self) -> None:
        """End with no clone."""
        await self._stack.aclose()
        self._urls = None

    async def _writes(self, urls: DbUrls) -> str:
        """The server's next transaction number: only writers take one."""
        connection = await asyncpg.connect(urls.owner)
        try:
            return str(await connection.fetchval("SELECT pg_snapshot_xmax(pg_current_snapshot())"))
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="session")
async def clones(evening: Evening, servers: Servers) -> AsyncIterator[Clones]:
    kept = Clones(servers, evening.database)
    yield kept
    await kept.drop()


@pytest_asyncio.fixture
async def scene(
    evening: Evening, clones: Clones, servers: Servers, redis: Redis, tmp_path: Path
) -> AsyncIterator[Scene]:
    """A copy of the evening for this test alone."""
    await restore_keys(redis, evening.keys)
    urls = await clones.clean()
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
