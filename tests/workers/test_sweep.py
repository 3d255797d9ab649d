"""Lapsed holds come back in bounded batches, and a loop outlives whatever its turn meets."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy.exc import IntegrityError

from engine.db import Database
from engine.errors import Unavailable
from tests.waiting import eventually
from tests.workers.stage import Stage, open_stage
from workers import sweep
from workers.loop import Loop, Parts, backoff_ms, is_outage


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url, sweep_batch_max=3) as stage:
        yield stage


def parts_of(stage: Stage) -> Parts:
    nobody: object = None
    return Parts(stage.db, stage.inventory, nobody, "sandbox", stage.settings)  # type: ignore[arg-type]


async def test_holds_lapse_in_bounded_batches_and_can_be_bought_again(stage: Stage) -> None:
    offer = await stage.offer(7)
    for n in range(7):
        assert (await stage.claim(offer, f"b{n}")).what == "held"
    assert (await stage.claim(offer, "b8")).what == "sold_out"
    await stage.settle()
    names = await stage.wire.call("ZRANGE", f"{{s{offer.shard}}}:deadlines", 0, -1)
    for name in names:
        await stage.wire.call("ZADD", f"{{s{offer.shard}}}:deadlines", 1, name)
    assert [await sweep.run_once(parts_of(stage)) for _ in range(4)] == [3, 3, 1, 0]
    await stage.settle()
    assert await stage.scalar("SELECT count(*) FROM orders WHERE reason = 'lapsed'") == 7
    assert await stage.scalar("SELECT held FROM offers") == 0
    assert (await stage.claim(offer, "b8")).what == "held"


async def test_a_shard_that_is_reopening_does_not_stop_the_others(stage: Stage) -> None:
    offers = [await stage.offer(1) for _ in range(12)]
    one = next(offer for offer in offers if offer.shard == 1)
    await stage.claim(one, "b1")
    await stage.settle()
    name = (await stage.wire.call("ZRANGE", "{s1}:deadlines", 0, -1))[0]
    await stage.wire.call("ZADD", "{s1}:deadlines", 1, name)
    await stage.wire.call("HSET", "{s0}:meta", "sealed", "test")
    assert await sweep.run_once(parts_of(stage)) == 1


def a_loop(turn: object, **changes: int) -> Loop:
    given = {"every_ms": 60_000, "batch_max": 5, "retry_base_ms": 1, "retry_cap_ms": 4} | changes
    return Loop("test", turn, **given)  # type: ignore[arg-type]


async def run_until(loop: Loop, check: Callable[[], bool]) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(loop.run(stop))
    await eventually(check)
    stop.set()
    await asyncio.wait_for(task, 5)


async def test_a_loop_says_an_outage_once_and_its_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turns: list[int] = []

    async def turn() -> int:
        turns.append(1)
        if len(turns) < 8:
            raise Unavailable("reopening", "away")
        return 0

    caplog.set_level(logging.INFO, "workers.loop")
    await run_until(a_loop(turn), lambda: len(turns) == 8)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_a_loop_outlives_a_bug_and_shows_it_once(caplog: pytest.LogCaptureFixture) -> None:
    turns: list[int] = []

    async def turn() -> int:
        turns.append(1)
        if len(turns) < 5:
            raise ZeroDivisionError("a bug")
        return 0

    await run_until(a_loop(turn), lambda: len(turns) == 5)
    (shown,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert shown.exc_info is not None


async def test_full_batches_follow_each_other_and_a_bell_wakes_the_loop() -> None:
    left = [5, 5, 2]
    turns: list[int] = []

    async def turn() -> int:
        turns.append(1)
        return left.pop(0) if left else 0

    loop = a_loop(turn)
    stop = asyncio.Event()
    task = asyncio.create_task(loop.run(stop))
    await eventually(lambda: len(turns) == 3)  # without waiting for a minute
    assert loop.handled == 12
    await asyncio.sleep(0.05)
    assert len(turns) == 3
    loop.bell.set()
    await eventually(lambda: len(turns) == 4)
    stop.set()
    await asyncio.wait_for(task, 5)


def test_backoff_doubles_up_to_its_cap() -> None:
    for tries, full in ((0, 100), (1, 100), (2, 200), (4, 800), (5, 1_000), (500, 1_000)):
        assert all(0.75 * full <= backoff_ms(tries, 100, 1_000) <= full for _ in range(50))


async def test_a_refusal_by_the_database_is_no_outage(stage: Stage) -> None:
    with pytest.raises(IntegrityError) as refused:
        await stage.scalar("INSERT INTO offers (id) VALUES ('x') RETURNING id")
    assert not is_outage(refused.value)
    assert is_outage(ConnectionRefusedError())
    gone = Database("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(OSError, match="9") as away:
        async with gone.begin() as session:
            await session.connection()
    assert is_outage(away.value)
    await gone.close()
