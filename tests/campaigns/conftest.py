"""One API process per test module, on a fresh database and an empty hot store."""

from collections.abc import AsyncIterator

import pytest_asyncio

from engine.store import connect
from tests.campaigns.server import World, api_settings, running_world
from tests.conftest import DbUrls


@pytest_asyncio.fixture(scope="module")
async def api(valkey_url: str, module_db_urls: DbUrls) -> AsyncIterator[World]:
    """A running API with open shards, one SKU and one customer."""
    redis = connect(valkey_url)
    try:
        await redis.flushall()
        async with running_world(api_settings(valkey_url, module_db_urls.app), redis) as world:
            await world.open_shards()
            await world.ready()
            yield world
    finally:
        await redis.aclose()
