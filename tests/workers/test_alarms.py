"""Alarms of calls to the outside: raised whatever happened to the tries before, and ended."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.db import Database
from tests.sandbox import SandboxServer, running_sandbox
from tests.waiting import eventually
from tests.workers.paying import Door, Paying, open_paying
from workers import pay_watch, refunds

_ALARM = "SELECT kind || '/' || (resolved_at_ms IS NULL) FROM incidents"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest_asyncio.fixture
async def opened(
    db: Database, hot: Redis, valkey_url: str, sandbox: SandboxServer
) -> AsyncIterator[tuple[Paying, Door]]:
    async with open_paying(db, valkey_url, sandbox) as both:
        yield both


async def _skip_the_alarms_own_try(world: Paying, table: str) -> None:
    """The worker died, or a store was away, exactly when the alarm would have been raised."""
    tries = world.parts.settings.outside_tries_alarm
    await world.run(f"UPDATE {table} SET tries = :t", t=tries)
    await world.due()


async def test_an_attempt_whose_alarming_try_was_lost_still_alarms(
    opened: tuple[Paying, Door],
) -> None:
    world, _ = opened
    await world.begin(await world.bought())
    await world.expire()
    await world.sandbox.switch(failing={"count": 100, "operations": ["query", "close"]})
    await _skip_the_alarms_own_try(world, "payment_attempts")
    await pay_watch.run_once(world.parts)
    assert await world.stage.scalar(_ALARM) == "payment_not_closed/true"
    await world.sandbox.switch()
    await world.rest(all_attempts=True)
    assert await world.stage.scalar(_ALARM) == "payment_not_closed/false"


async def test_a_refund_whose_alarming_try_was_lost_still_alarms(
    opened: tuple[Paying, Door],
) -> None:
    world, _ = opened
    await world.refund(await world.standing(), 1)
    await world.sandbox.switch(failing={"count": 100, "operations": ["refund"]})
    await _skip_the_alarms_own_try(world, "refunds")
    await refunds.run_once(world.parts)
    assert await world.stage.scalar(_ALARM) == "refund_not_done/true"
    await world.sandbox.switch()
    await world.rest()
    assert await world.stage.scalar(_ALARM) == "refund_not_done/false"


async def test_a_callback_ends_the_alarm_of_an_attempt_that_could_not_be_asked(
    opened: tuple[Paying, Door],
) -> None:
    """Nobody asks for a paid attempt any more, so nobody else would end it."""
    world, door = opened
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.sandbox.switch(failing={"count": 100, "operations": ["query", "close"]})
    await world.run("UPDATE payment_attempts SET next_at_ms = 1")
    for _ in range(world.parts.settings.outside_tries_alarm):
        await world.due()
        await pay_watch.run_once(world.parts)
    assert await world.stage.scalar(_ALARM) == "payment_not_closed/true"
    await world.pay(page)
    await eventually(lambda: door.taken == 1)
    await world.rest()
    assert await world.order(claim_id, "state") == "paid"
    assert await world.stage.scalar(_ALARM) == "payment_not_closed/false"
