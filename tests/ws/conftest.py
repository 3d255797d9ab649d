"""A stage on the session's Valkey, and the check that a gateway leaves nothing behind (law S2)."""

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest_asyncio
from redis.asyncio import Redis

from tests.waiting import eventually
from tests.ws.stage import Stage, staged


def _open_now() -> int:
    """Tasks, and open sockets and files of this process."""
    return len(asyncio.all_tasks()) + psutil.Process().num_fds()


@pytest_asyncio.fixture
async def stage(hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    await hot.ping()  # its own connection is part of the baseline
    before = _open_now()
    async with staged(valkey_url) as one:
        yield one

    def at_baseline() -> bool:
        now = _open_now()
        assert now <= before, f"{before} before, {now} after"
        return True

    await eventually(at_baseline, within_s=10)
