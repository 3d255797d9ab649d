"""The embedded servers: what they promise about data, doors and ports."""

import socket
from collections.abc import Iterator

import asyncpg
import pytest
import redis as blocking_redis
from redis.asyncio import Redis

from cli.embedded.postgres import APP, OWNER, SUPERUSER, PostgresServer, start_postgres
from cli.embedded.valkey import ValkeyServer, start_valkey
from cli.place import Place
from engine.errors import RefusedStart
from engine.store import connect
from tests.conftest import DbUrls


@pytest.fixture
def own_valkey(own_place: Place) -> Iterator[ValkeyServer]:
    server = start_valkey(own_place)
    yield server
    server.stop()


@pytest.fixture
def own_postgres(own_place: Place) -> Iterator[PostgresServer]:
    server = start_postgres(own_place)
    yield server
    server.stop()


async def test_valkey_keeps_what_it_acknowledged_over_a_kill(own_valkey: ValkeyServer) -> None:
    client = connect(own_valkey.url)
    await client.set("a", "1")
    before = own_valkey.pid
    own_valkey.kill()
    assert not own_valkey.running
    own_valkey.restart()
    await client.aclose()
    client = connect(own_valkey.url)  # same port, same password
    assert await client.get("a") == b"1"
    assert own_valkey.pid != before
    await client.aclose()


async def test_queue_is_another_database_of_the_same_server(own_valkey: ValkeyServer) -> None:
    hot, queue = connect(own_valkey.url), connect(own_valkey.queue_url)
    await hot.set("a", "1")
    assert await queue.dbsize() == 0
    await hot.aclose()
    await queue.aclose()


async def test_valkey_opens_only_with_the_password_and_only_on_loopback(
    own_valkey: ValkeyServer,
) -> None:
    stranger = connect(f"redis://127.0.0.1:{own_valkey.port}/0")
    with pytest.raises(blocking_redis.AuthenticationError):
        await stranger.ping()
    await stranger.aclose()
    client = connect(own_valkey.url)
    assert await client.config_get("bind") == {"bind": "127.0.0.1"}
    await client.aclose()


async def test_more_arguments_win_over_our_configuration(own_place: Place) -> None:
    server = start_valkey(own_place, extra=("--maxmemory", "64mb", "--appendfsync", "everysec"))
    client = connect(server.url)
    assert await client.config_get("maxmemory") == {"maxmemory": str(64 << 20)}
    assert await client.config_get("appendfsync") == {"appendfsync": "everysec"}
    await client.aclose()
    server.stop()


def test_a_taken_port_is_left_alone(own_place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = start_valkey(own_place, port=port)
        assert server.port != port
        server.stop()


def test_a_second_valkey_on_the_same_data_is_refused(own_valkey: ValkeyServer) -> None:
    with pytest.raises(RefusedStart, match="Another process still uses the data of valkey"):
        start_valkey(own_valkey.place)
    assert own_valkey.running


async def _fetch(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_postgres_keeps_what_it_committed_over_a_kill(own_postgres: PostgresServer) -> None:
    url = own_postgres.owner_url
    await _fetch(url, "CREATE TABLE t AS SELECT 42 AS n")
    for _ in range(2):  # a leftover postmaster.pid says "ready" and must not be believed
        own_postgres.kill()
        own_postgres.restart()
        assert await _fetch(url, "SELECT n FROM t") == 42


async def test_roles_have_no_more_rights_than_they_need(db_urls: DbUrls) -> None:
    sql = "SELECT rolsuper OR rolcreaterole OR rolcreatedb FROM pg_roles WHERE rolname = '{}'"
    assert await _fetch(db_urls.owner, sql.format(OWNER)) is False
    assert await _fetch(db_urls.owner, sql.format(APP)) is False
    assert await _fetch(db_urls.owner, sql.format(SUPERUSER)) is True
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await _fetch(db_urls.app, "CREATE TABLE mine (a int)")


async def test_nobody_gets_in_without_the_password(db_urls: DbUrls) -> None:
    scheme, rest = db_urls.app.split("://")
    address = rest.split("@")[1]
    for role in (APP, OWNER, SUPERUSER):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await _fetch(f"{scheme}://{role}:guess@{address}", "SELECT 1")


async def test_postgres_has_the_promised_locale(db_urls: DbUrls) -> None:
    found = await _fetch(
        db_urls.app,
        "SELECT datlocprovider::text || ' ' || datlocale || ' ' || pg_encoding_to_char(encoding)"
        " FROM pg_database WHERE datname = current_database()",
    )
    assert found == "b C.UTF-8 UTF8"


async def test_fixtures_give_an_empty_store(hot: Redis) -> None:
    assert await hot.dbsize() == 0
