"""The checks of the stores at a start: fit servers pass, unfit ones are refused in words."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeout
from sqlalchemy import text

from engine.db import Database
from engine.errors import RefusedStart
from engine.store import _version_trouble, check_database, check_hot_store, connect
from tests.conftest import DbUrls


async def _run(client: Any, *words: str) -> object:
    return await client.execute_command(*words)  # untyped in redis-py


@pytest_asyncio.fixture
async def changed(hot: Redis) -> AsyncIterator[Redis]:
    """The session's Valkey, its settings put back afterwards."""
    yield hot
    await hot.config_set("appendfsync", "always")
    await hot.config_set("maxmemory-policy", "noeviction")
    await _run(hot, "ACL", "DELUSER", "managed")


async def test_fit_servers_pass_without_a_word(hot: Redis, db: Database) -> None:
    assert await check_hot_store(hot, unsafe=False) == []
    assert await check_database(db, unsafe=False) == []


async def test_a_store_that_can_lose_or_evict_is_refused(changed: Redis) -> None:
    await changed.config_set("appendfsync", "everysec")
    await changed.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(RefusedStart) as refused:
        await check_hot_store(changed, unsafe=False)
    assert refused.value.code == "unfit_store"
    assert "`appendfsync everysec` where Kaituan needs `always`" in str(refused.value)
    assert "`maxmemory-policy allkeys-lru` where Kaituan needs `noeviction`" in str(refused.value)


async def test_unsafe_store_is_accepted_loudly(
    changed: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await changed.config_set("appendfsync", "no")
    warnings = await check_hot_store(changed, unsafe=True)
    assert len(warnings) == 1
    assert warnings[0].startswith("UNSAFE: ")
    assert warnings[0] in caplog.text


async def test_a_managed_store_that_hides_its_settings_is_named(changed: Redis) -> None:
    await _run(changed, "ACL", "SETUSER", "managed", "on", ">pw", "~*", "+@all", "-config")
    port = changed.connection_pool.connection_kwargs["port"]
    managed = connect(f"redis://managed:pw@127.0.0.1:{port}/0")
    with pytest.raises(RefusedStart, match="does not let us read its setting `appendonly`"):
        await check_hot_store(managed, unsafe=False)
    await managed.aclose()


@pytest.mark.parametrize(
    ("info", "fit"),
    [
        ({"redis_version": "7.2.4", "valkey_version": "8.0.1"}, True),
        ({"redis_version": "7.2.4", "valkey_version": "7.2.5"}, False),
        ({"redis_version": "7.2.0"}, True),
        ({"redis_version": "7.0.15"}, False),
        ({"redis_version": "8.4.0"}, True),
        ({}, False),
    ],
)
def test_old_servers_are_told_apart(info: dict[str, object], fit: bool) -> None:
    assert (_version_trouble(info) == []) is fit


async def test_an_unreachable_store_is_said() -> None:
    nowhere = connect("redis://127.0.0.1:1/0", timeout_s=1)
    with pytest.raises(RefusedStart, match="cannot be reached"):
        await check_hot_store(nowhere, unsafe=False)
    await nowhere.aclose()


async def test_a_database_that_can_lose_commits_is_refused(
    db_urls: DbUrls, owner_db: Database
) -> None:
    name = db_urls.owner.rsplit("/", 1)[1]
    async with owner_db.begin() as session:
        await session.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    database = Database(db_urls.app, pool_max=1)
    with pytest.raises(RefusedStart, match="`synchronous_commit = off`"):
        await check_database(database, unsafe=False)
    assert len(await check_database(database, unsafe=True)) == 1
    await database.close()


async def test_a_lost_answer_is_not_asked_again(hot: Redis, valkey_url: str) -> None:
    client = connect(valkey_url, timeout_s=0.2)
    await _run(hot, "CLIENT", "PAUSE", "600", "WRITE")
    with pytest.raises(RedisTimeout):
        await _run(client, "EVAL", "return redis.call('incr', 'n')", "0")
    await client.aclose()
    await _run(hot, "CLIENT", "UNPAUSE")
    # Once if the server had read it before we hung up, never twice.
    assert await hot.get("n") in (None, b"1")
