"""The real servers for all tests: one Valkey and one PostgreSQL per session, in a fresh place.

Promises: each test that asks for `hot` finds an empty hot store, each that asks for `db_urls` a
database of its own with the newest schema. Nothing is left behind, also when a run is interrupted;
what a killed run left is removed by the next one.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import FrameType

import asyncpg
import psutil
import pytest
import pytest_asyncio
from hypothesis import settings
from redis.asyncio import Redis

from cli.embedded.postgres import APP, OWNER, SUPERUSER, PostgresServer, start_postgres
from cli.embedded.valkey import ValkeyServer, start_valkey
from cli.migrate import migrate
from cli.place import Place, temporary_place
from engine.db import Database
from engine.store import connect

_TEMPLATE = "kaituan_template"

# `make fuzz` asks for the long one with --hypothesis-profile=fuzz.
settings.register_profile("test", max_examples=70, stateful_step_count=30, deadline=None)
settings.register_profile("fuzz", max_examples=3_000, stateful_step_count=60, deadline=None)
settings.load_profile("test")


@dataclass(frozen=True)
class Servers:
    """The servers of this session; do not kill these, start your own in `own_place`."""

    place: Place
    valkey: ValkeyServer
    postgres: PostgresServer


@dataclass(frozen=True)
class DbUrls:
    """Addresses of one fresh database, by role."""

    app: str
    owner: str
    superuser: str


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # pytest then runs the finalizers, which stop the servers


@pytest.fixture(scope="session", autouse=True)
def _clean_end() -> Iterator[None]:
    """SIGTERM ends the run in order; at the end no child process of ours may be left."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    yield
    signal.signal(signal.SIGTERM, before)
    _, left = psutil.wait_procs(psutil.Process().children(recursive=True), timeout=5)
    assert not left, f"processes were left behind: {left}"


@pytest.fixture
def own_place() -> Iterator[Place]:
    """A fresh place for a test that starts (and kills) servers of its own."""
    with temporary_place() as place:
        yield place


@pytest.fixture(scope="session")
def servers(_clean_end: None) -> Iterator[Servers]:
    """One Valkey and one PostgreSQL with a migrated template database."""
    with temporary_place() as place:
        valkey = start_valkey(place)
        try:
            postgres = start_postgres(place)
            try:
                yield Servers(place, valkey, postgres)
            finally:
                postgres.stop()
        finally:
            valkey.stop()


@pytest.fixture(scope="session")
def valkey_url(servers: Servers) -> str:
    return servers.valkey.url


@pytest.fixture(scope="session")
def queue_url(servers: Servers) -> str:
    return servers.valkey.queue_url


@pytest_asyncio.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    """A client of the hot store, whatever is in it."""
    client = connect(valkey_url)
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def hot(redis: Redis) -> Redis:
    """A client of the hot store, which (like the queue) is empty now."""
    await redis.flushall()
    return redis


@pytest_asyncio.fixture(scope="session")
async def template(servers: Servers) -> str:
    """The name of a migrated database that fresh ones are cloned from."""
    postgres = servers.postgres
    await _as_superuser(postgres, f"CREATE DATABASE {_TEMPLATE} OWNER {OWNER}")
    await asyncio.to_thread(migrate, postgres.url_of(OWNER, _TEMPLATE))
    return _TEMPLATE


async def _as_superuser(postgres: PostgresServer, sql: str) -> None:
    connection = await asyncpg.connect(postgres.url_of(SUPERUSER, "postgres"))
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def _fresh(servers: Servers, template: str) -> AsyncIterator[DbUrls]:
    name = f"t_{os.getpid()}_{secrets.token_hex(4)}"
    postgres = servers.postgres
    await _as_superuser(postgres, f"CREATE DATABASE {name} TEMPLATE {template} OWNER {OWNER}")
    yield DbUrls(
        app=postgres.url_of(APP, name),
        owner=postgres.url_of(OWNER, name),
        superuser=postgres.url_of(SUPERUSER, name),
    )
    await _as_superuser(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture
async def db_urls(servers: Servers, template: str) -> AsyncIterator[DbUrls]:
    """A fresh migrated database for this test."""
    async for urls in _fresh(servers, template):
        yield urls


@pytest_asyncio.fixture(scope="module")
async def module_db_urls(servers: Servers, template: str) -> AsyncIterator[DbUrls]:
    """A fresh migrated database for all tests of a module."""
    async for urls in _fresh(servers, template):
        yield urls


@pytest_asyncio.fixture
async def db(db_urls: DbUrls) -> AsyncIterator[Database]:
    """This test's database as the app's role sees it."""
    database = Database(db_urls.app)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def owner_db(db_urls: DbUrls) -> AsyncIterator[Database]:
    """This test's database as its owner sees it."""
    database = Database(db_urls.owner)
    yield database
    await database.close()
