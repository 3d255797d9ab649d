"""An open shard on the empty hot store, for tests of scripts and typed commands."""

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from tests.engine.hotshard import Bench, bench


@pytest_asyncio.fixture
async def shard(hot: Redis, valkey_url: str) -> AsyncIterator[Bench]:
    """Shard 0 in epoch 1, open and empty."""
    async with bench(valkey_url) as opened:
        await opened.open()
        yield opened
