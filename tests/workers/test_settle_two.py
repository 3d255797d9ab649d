"""Two settlers at once, with random delays at every step: one result, no false gap, no harm."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine import keys
from engine.db import Database
from engine.scripts import load_all
from tests.waiting import eventually
from tests.workers.acts import held, pay
from tests.workers.conftest import RivalMaker
from tests.workers.laws import check, rows
from tests.workers.stage import Stage, open_stage


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """The stream is trimmed right behind the position."""
    changes = {"trim_margin_max": 0, "settle_batch_max": 5, "settle_idle_ms": 1}
    async with open_stage(db, valkey_url, **changes) as opened:
        yield opened


class Jitter:
    """A gate that now and then lets the other one go first."""

    def __init__(self, seed: int) -> None:
        self.luck = random.Random(seed)

    async def __call__(self, name: str) -> None:
        if self.luck.random() < 0.15:
            await asyncio.sleep(self.luck.random() * 0.02)


async def disturb(stage: Stage, shard: int, kind: str) -> None:
    """What makes settlers reopen a shard."""
    if kind == "flush":
        await stage.wire.call("FLUSHALL")
    elif kind == "seal":
        epoch = await stage.scalar("SELECT epoch FROM shard_position WHERE shard = :s", s=shard)
        command = load_all()["seal"].command(
            meta=keys.meta(shard), token=keys.token(shard), epoch=int(str(epoch)), why="a test"
        )
        await stage.wire.call(*command)


@pytest.mark.parametrize("kind", ["none", "seal", "flush"])
async def test_two_settlers_do_no_harm(stage: Stage, rival: RivalMaker, kind: str) -> None:
    offers = [await stage.offer(5_000) for _ in range(3)]
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        others = [await stack.enter_async_context(rival(Jitter(seed))) for seed in (1, 2)]
        for other in others:
            other.take_over_ms = 200
        tasks = [asyncio.create_task(other.settler().run(stop)) for other in others]
        try:
            luck, claims = random.Random(3), dict[str, str]()
            for number in range(150):
                offer, buyer = luck.choice(offers), f"b{number}"
                reply = await stage.claim(offer, buyer)
                if reply.what == "held":
                    claims[buyer] = reply.details[0]
                    if kind != "flush" and luck.random() < 0.1:
                        await pay(stage, offer, claims[buyer])
                else:
                    assert reply.what in ("reopening", "busy", "unknown_offer"), reply
                    await asyncio.sleep(0.02)
                if number % 50 == 30:
                    await disturb(stage, offer.shard, kind)
                assert not any(task.done() for task in tasks), tasks
                await asyncio.sleep(0.002)
            await eventually(lambda: settled(stage))
        finally:
            stop.set()
            await asyncio.gather(*tasks)
    await stage.settle()
    await check(stage)
    assert await stage.scalar("SELECT count(*) FROM incidents") == 0
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 0
    orders = {row["buyer_id"]: row["claim_id"] for row in await rows(stage, _ORDERS)}
    if kind == "flush":
        assert orders.items() <= claims.items()
    else:
        assert orders == claims
    await held(stage, offers[0], "last")


_ORDERS = "SELECT buyer_id, claim_id FROM orders"


async def settled(stage: Stage) -> bool:
    """All shards are open and nothing waits."""
    for row in await rows(stage, "SELECT * FROM shard_position"):
        meta = await stage.inventory.hash_of(keys.meta(row["shard"]))
        if row["state"] != "open" or meta.get("seq") != str(row["seq"]):
            return False
    return True


async def test_a_trimming_settler_makes_no_gap_for_a_slow_one(
    stage: Stage, rival: RivalMaker
) -> None:
    offer = await stage.offer(300)
    hold, go = asyncio.Event(), asyncio.Event()

    async def before_its_look(name: str) -> None:
        if name == "before XRANGE" and hold.is_set():
            await go.wait()

    async def straight(_: str) -> None: ...

    async with rival(before_its_look) as slow, rival(straight) as quick:
        settler, trimmer = slow.settler(), quick.settler()
        await settler.round()
        hold.set()
        for turn in range(120):
            await held(stage, offer, f"b{turn}")
        looking = asyncio.create_task(settler.round())  # its position is read, its look is not
        await asyncio.sleep(0.05)
        while await trimmer.round():
            pass
        stream = keys.events(offer.shard, stage.epochs.of(offer.shard))
        assert await stage.wire.call("XLEN", stream) < 120
        go.set()
        assert await looking == 0
        await settler.round()
    await stage.settle()
    await check(stage)
    assert await stage.scalar("SELECT count(*) FROM incidents") == 0
