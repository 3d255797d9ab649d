"""The embedded servers: what they promise about data, doors and rights."""

import asyncpg
from redis.asyncio import Redis

from engine.db import Database
from engine.store import check_database, check_hot_store
from tests.conftest import DbUrls


async def test_servers_are_fit_for_claims_and_money(hot: Redis, db: Database) -> None:
    assert await check_hot_store(hot, unsafe=False) == []
    assert await check_database(db, unsafe=False) == []


async def test_each_test_gets_a_migrated_database_of_its_own(db_urls: DbUrls) -> None:
    connection = await asyncpg.connect(db_urls.app)
    try:
        assert await connection.fetchval("SELECT current_user") == "kaituan_app"
    finally:
        await connection.close()
