"""A store goes away in mid-sale: the settler waits, says so once, and goes on where it was."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.offer.models import Offer
from cli.embedded.postgres import OWNER, PostgresServer, start_postgres
from cli.embedded.valkey import start_valkey
from cli.migrate import migrate
from cli.place import Place
from engine.db import Database
from tests.waiting import eventually
from tests.workers.acts import held, pay
from tests.workers.laws import check, rows
from tests.workers.stage import Stage, open_stage, settling

LAG_MAX_MS = 300


@pytest_asyncio.fixture
async def postgres(own_place: Place) -> AsyncIterator[PostgresServer]:
    """A migrated server that a test may kill."""
    server = await asyncio.to_thread(start_postgres, own_place)
    await asyncio.to_thread(migrate, server.url_of(OWNER))
    yield server
    await asyncio.to_thread(server.stop)


@pytest_asyncio.fixture
async def stage(postgres: PostgresServer, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """On that server, with a short patience for the settler."""
    db = Database(postgres.app_url)
    changes = {"settle_lag_max_ms": LAG_MAX_MS, "settle_batch_max": 20, "settle_idle_ms": 10}
    async with open_stage(db, valkey_url, **changes) as opened:
        yield opened
    await db.close()


async def answer_of(stage: Stage, offer: Offer, buyer: str) -> str:
    return (await stage.claim(offer, buyer)).what


async def test_postgres_killed_in_mid_sale(
    stage: Stage, postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    offer = await stage.offer(5_000)
    claims: dict[str, str] = {}
    words: set[str] = set()
    stop = asyncio.Event()

    async def buy(prefix: str) -> None:
        number = 0
        while not stop.is_set():
            reply = await stage.claim(offer, f"{prefix}{number}")
            words.add(reply.what)
            if reply.what == "held":
                claims[f"{prefix}{number}"] = reply.details[0]
                number += 1
            await asyncio.sleep(0.01)

    async with settling(stage):
        buyers = [asyncio.create_task(buy(prefix)) for prefix in "ab"]
        for _ in range(2):
            words.clear()
            await eventually(lambda: "held" in words)
            caplog.clear()
            await asyncio.to_thread(postgres.kill)
            # unsettled claims wait: after a while the shop takes no new ones
            await eventually(lambda: "busy" in words)
            unsettled = await held_before_sweep(stage, offer)
            await asyncio.to_thread(postgres.restart)
            words.clear()
            await eventually(lambda: "held" in words)
            said = [one.message for one in caplog.records if one.name == "workers.settle.loop"]
            assert said[-1] == "settler: stores are back"
            assert 1 <= len(said) <= 6, said  # once per change, not once per try
            assert unsettled
        stop.set()
        await asyncio.gather(*buyers)
        await eventually(lambda: all_ordered(stage, claims))
    await pay(stage, offer, claims["a0"])
    await stage.settle()
    await check(stage)
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 0
    assert await stage.scalar("SELECT count(*) FROM incidents") == 0


async def held_before_sweep(stage: Stage, offer: Offer) -> int:
    """Make all holds lapse, and sweep: what is not settled is passed over."""
    key = f"{{s{offer.shard}}}:deadlines"
    waiting = await stage.wire.call("ZRANGE", key, 0, -1)
    meta = await stage.inventory.hash_of(f"{{s{offer.shard}}}:meta")
    unsettled = [
        claim
        for claim in waiting
        if int(claim.split(b"-")[3]) > int(meta["settled_seq"])
        and claim.split(b"-")[2] == b"e" + meta["epoch"].encode()
    ]
    for claim in unsettled:
        await stage.wire.call("ZADD", key, 1, claim)
    await stage.inventory.sweep(offer.shard, 1_000)
    for claim in unsettled:
        state = await stage.inventory.claim_state(offer.shard, claim.decode())
        assert state["state"] == "held"
        await stage.wire.call("ZADD", key, state["expires_at_ms"], claim)
    return len(unsettled)


async def all_ordered(stage: Stage, claims: dict[str, str]) -> bool:
    orders = await rows(stage, "SELECT buyer_id, claim_id FROM orders")
    return {row["buyer_id"]: row["claim_id"] for row in orders} == claims


async def test_the_hot_store_away_is_waited_for(
    db: Database, own_place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    valkey = await asyncio.to_thread(start_valkey, own_place)
    try:
        async with open_stage(db, valkey.url, settle_idle_ms=10) as stage:
            offer = await stage.offer(9)
            claim_id = await held(stage, offer, "b1")
            async with settling(stage):
                for _ in range(2):
                    caplog.clear()
                    await asyncio.to_thread(valkey.kill)
                    await eventually(lambda: "hot store away" in caplog.text)
                    await asyncio.to_thread(valkey.restart)
                    await eventually(lambda: "stores are back" in caplog.text)
                    assert caplog.text.count("hot store away") == 1
            await stage.settle()
            assert (await stage.claim(offer, "b1")).details[0] == claim_id
            await check(stage)
    finally:
        await asyncio.to_thread(valkey.stop)
