"""Two settlers on two shards: of a new customer's orders exactly one stands, however they meet."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from engine.db import Database
from tests.conftest import DbUrls
from tests.workers.acts import begin_paying, confirm
from tests.workers.conftest import RivalMaker
from tests.workers.gates import GatedDatabase
from tests.workers.laws import check, rows
from tests.workers.newcomers import (
    LOST,
    STANDS,
    bought,
    claimed,
    offers,
    refunds,
    repeats,
    settle_one,
    states,
)
from tests.workers.stage import Stage, open_stage


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url, repeat_after_ms=0) as made:
        yield made


async def test_two_settlers_on_two_shards_at_once(stage: Stage, db_urls: DbUrls) -> None:
    """Each has read what the other has not committed yet, unless they wait for each other."""
    both = await offers(stage)
    early: dict[str, str] = {}
    for number in range(12):
        first = number % 2
        buyer = f"b{number}"
        early[buyer] = await bought(stage, both[first], buyer)
        await bought(stage, both[1 - first], buyer)

    async def slow(name: str) -> None:
        if name == "before commit":
            await asyncio.sleep(0.1)

    databases = [GatedDatabase(db_urls.app, slow) for _ in both]
    try:
        await asyncio.gather(
            *[settle_one(stage, shard, database) for shard, database in enumerate(databases)]
        )
    finally:
        for database in databases:
            await database.close()
    await stage.settle()
    found = await states(stage)
    assert {one for one in found if found[one] == STANDS} == set(early.values())
    assert {one for one in found if found[one] == LOST} == set(found) - set(early.values())
    assert len(await refunds(stage)) == 12
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 0
    await check(stage)


async def test_two_settlers_and_many_buyers_in_any_order(stage: Stage, rival: RivalMaker) -> None:
    """Both settle both shards, a few events at a time, while buyers pay."""
    both = await offers(stage)
    paid: dict[str, list[str]] = {}

    async def buyer(number: int) -> None:
        name = f"b{number}"
        mine = paid[name] = []
        for turn in range(2):
            offer = both[(number + turn) % 2]
            claim_id = await claimed(stage, offer, name)
            attempt_id = await begin_paying(stage, offer, claim_id)
            _, reply = await confirm(stage, offer, claim_id, attempt_id)
            assert reply.what == "paid"
            mine.append(claim_id)

    async def straight(_: str) -> None: ...

    stop = asyncio.Event()
    async with rival(straight) as one, rival(straight) as other:
        tasks = [asyncio.create_task(each.settler().run(stop)) for each in (one, other)]
        for start in range(0, 24, 6):
            await asyncio.gather(*[buyer(number) for number in range(start, start + 6)])
        stop.set()
        await asyncio.gather(*tasks)
    await stage.settle()
    await repeats(stage)
    found = await rows(
        stage,
        "SELECT buyer_id, count(*) FILTER (WHERE state = 'paid') AS stand,"
        " count(*) FILTER (WHERE state = 'refunding' AND reason = 'not_new') AS lost,"
        " min(paid_at_ms || claim_id) = min(paid_at_ms || claim_id) FILTER (WHERE state = 'paid')"
        " AS right_one FROM orders GROUP BY 1",
    )
    assert len(found) == 24
    assert {(row["stand"], row["lost"], row["right_one"]) for row in found} == {(1, 1, True)}
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 0
    await check(stage)
