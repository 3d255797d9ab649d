"""kill -9 of the settler's process in mid-race: each acknowledged claim has its order, once."""

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.offer.models import Offer
from engine.db import Database
from engine.inventory import Inventory
from engine.scripts import load_all
from engine.shards import Epochs
from engine.wire import Wire
from tests.conftest import DbUrls
from tests.waiting import eventually
from tests.workers.acts import pay
from tests.workers.laws import check, rows
from tests.workers.settler_process import settler_process
from tests.workers.stage import Stage, open_stage

CLIENTS, KILLS = 3, 4


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str, db_urls: DbUrls) -> AsyncIterator[Stage]:
    """With small batches, so that a kill falls into the midst of the work."""
    urls = {"redis_url": valkey_url, "database_url": db_urls.app}
    async with open_stage(db, valkey_url, settle_batch_max=7, settle_idle_ms=5, **urls) as opened:
        yield opened


async def client(
    number: int, url: str, stage: Stage, offers: list[Offer], stop: asyncio.Event
) -> dict[str, str]:
    """Claims on a wire of its own until `stop`; buyer → acknowledged claim."""
    luck = random.Random(number)
    wire, got = Wire(url, load_all().values()), dict[str, str]()
    epochs = Epochs.fixed({shard: stage.epochs.of(shard) for shard in range(2)})
    inventory = Inventory(wire, epochs)
    await wire.start()
    try:
        while not stop.is_set():
            offer, buyer = luck.choice(offers), f"b{number}-{len(got)}"
            reply = await inventory.claim(
                offer.shard,
                offer_id=offer.id,
                campaign_id=offer.campaign_id,
                buyer_id=buyer,
                qty=1,
                price_id="p1",
                key="k",
                body_hash="h",
            )
            assert reply.what in ("held", "busy"), reply
            if reply.what == "held":
                got[buyer] = reply.details[0]
                if luck.random() < 0.1:
                    await pay(stage, offer, got[buyer])
                elif luck.random() < 0.1:
                    await inventory.release(offer.shard, got[buyer], attempt_id="", why="cancelled")
            await asyncio.sleep(luck.random() * 0.04)
    finally:
        await wire.close()
    return got


async def settled_so_far(stage: Stage) -> int:
    """Events in PostgreSQL."""
    return int(str(await stage.scalar("SELECT sum(seq)::int FROM shard_position")))


async def test_a_killed_settler_loses_nothing_and_repeats_nothing(
    stage: Stage, valkey_url: str, tmp_path: Path
) -> None:
    offers = [await stage.offer(9_999) for _ in range(3)]
    luck, stop = random.Random(5), asyncio.Event()
    settings = msgspec.structs.replace(stage.settings, mode="development")
    with settler_process(settings, tmp_path / "settler.log") as settler:
        clients = [
            asyncio.create_task(client(n, valkey_url, stage, offers, stop)) for n in range(CLIENTS)
        ]
        for _ in range(KILLS):
            before = await settled_so_far(stage)
            settler.start()
            await eventually(partial(_passed, stage, before))
            await asyncio.sleep(luck.random() * 0.3)
            settler.kill()
        stop.set()
        acknowledged: dict[str, str] = {}
        for got in await asyncio.gather(*clients):
            acknowledged |= got
    await stage.settle()
    await check(stage)
    orders = await rows(stage, "SELECT buyer_id, claim_id FROM orders")
    assert {row["buyer_id"]: row["claim_id"] for row in orders} == acknowledged
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 0
    assert await stage.scalar("SELECT count(*) FROM incidents") == 0
    assert int(str(await stage.scalar("SELECT count(*) FROM event_batches"))) > KILLS


async def _passed(stage: Stage, before: int) -> bool:
    return await settled_so_far(stage) > before


async def test_sigterm_ends_it_in_order(stage: Stage, tmp_path: Path) -> None:
    offer = await stage.offer(5)
    with settler_process(stage.settings, tmp_path / "settler.log") as settler:
        settler.start()
        await stage.claim(offer, "b1")
        await eventually(lambda: stage.scalar("SELECT count(*) FROM orders"))
        assert settler.stop() == 0
    await stage.settle()
    await check(stage)
