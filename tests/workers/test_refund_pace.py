"""Many refunds at once keep to the provider's pace, from all workers together."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from engine.db import Database
from tests.sandbox import SandboxServer, running_sandbox
from tests.waiting import eventually
from tests.workers.paying import Paying, open_paying
from workers import refunds
from workers.pace import Bound

SECOND_US = 1_000_000
CALLS, ERRORS, REFUNDS = 16, 4, 24  # what we keep to; the provider takes half as much again


@given(
    per_s=st.integers(2, 200),
    tries=st.lists(st.tuples(st.integers(0, 700_000), st.integers(1, 300)), max_size=40),
)
def test_no_second_sees_more_than_the_bound(per_s: int, tries: list[tuple[int, int]]) -> None:
    bound, now_us, until_us = Bound(per_s), 5 * SECOND_US, 0
    came: deque[int] = deque()
    for wait_us, wanted in tries:
        now_us += wait_us
        count = min(wanted, bound.free(until_us, now_us))
        until_us = bound.after(until_us, now_us, count)
        came.extend([now_us] * count)
        while came and came[0] <= now_us - SECOND_US:
            came.popleft()
        assert len(came) <= per_s


def test_a_bound_is_used_up_and_comes_back() -> None:
    bound = Bound(6)
    assert bound.free(0, SECOND_US) == 3
    until_us = bound.after(0, SECOND_US, 3)
    assert bound.free(until_us, SECOND_US) == 0
    assert bound.free(until_us, SECOND_US + 400_000) == 1
    assert bound.free(until_us, 3 * SECOND_US) == 3
    assert bound.free(until_us - 3 * bound.each_us, SECOND_US) == 3  # given back


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


async def prepare(world: Paying) -> int:
    """Refunds that are due, at a provider with bounds; how often it refused already."""
    orders = [await world.standing(f"b{number}") for number in range(REFUNDS)]
    for order_id in orders:
        await world.refund(order_id, 1)
    bounds = {"refunds_per_s": CALLS * 3 // 2, "refund_errors_per_s": ERRORS * 3 // 2}
    failing = {"count": 5, "operations": ["refund"]}
    await world.sandbox.switch(frequency=bounds, failing=failing)
    return await refused(world)


async def refused(world: Paying) -> int:
    """How often the provider said: too frequent."""
    return int((await world.sandbox.get("/counts"))["too_frequent"])


async def test_two_workers_keep_the_pace_together(
    db: Database, hot: Redis, valkey_url: str, sandbox: SandboxServer
) -> None:
    pace = {"refunds_per_s_max": CALLS, "refund_errors_per_s_max": ERRORS}
    async with open_paying(db, valkey_url, sandbox, **pace) as (world, _):
        workers = [world.parts, replace(world.parts)]
        before = await prepare(world)

        async def are_done() -> bool:
            await asyncio.gather(*(refunds.run_once(parts) for parts in workers))
            left = "SELECT count(*) FROM refunds WHERE state <> 'done'"
            return await world.stage.scalar(left) == 0

        await eventually(are_done, every_s=0.02, within_s=60)
        assert await refused(world) == before
        await world.sandbox.switch()
        await world.rest()
        assert await world.verdict() == (REFUNDS, REFUNDS)


async def test_without_a_pace_the_provider_refuses(
    db: Database, hot: Redis, valkey_url: str, sandbox: SandboxServer
) -> None:
    """And nothing of it is lost."""
    async with open_paying(db, valkey_url, sandbox) as (world, _):
        before = await prepare(world)
        for _ in range(3):
            await refunds.run_once(world.parts)
        assert await refused(world) > before
        await world.sandbox.switch()
        await world.rest()
        assert await world.verdict() == (REFUNDS, REFUNDS)
