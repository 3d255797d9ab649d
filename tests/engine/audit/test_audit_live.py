"""The audit beside a sale, through a rebuild, and beside dead letters."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from campaigns.offer.models import Offer
from engine.audit.rest import await_rest
from engine.audit.run import run_audit
from engine.db import Database
from tests.engine.audit.evening import Scene
from tests.waiting import eventually
from tests.workers.stage import Stage, open_stage, settling


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url) as opened:
        yield opened


_DISCARD = text("UPDATE dead_letters SET state = 'discarded'")
_RESOLVE = text("UPDATE incidents SET resolved_at_ms = 1")


async def test_both_stores_agree_while_they_sell(stage: Stage) -> None:
    """Buyers, settler and sweeper go on: no law may be red for what is merely under way."""
    offers = [await stage.offer(40), await stage.offer(40, hold_ms=0)]
    over, n = asyncio.Event(), 0
    async with settling(stage):
        shops = [
            asyncio.create_task(_churn(stage, offer, part, over))
            for offer in offers
            for part in range(4)
        ]
        for _ in range(6):
            report = await run_audit(stage.db, stage.wire)
            assert report.ok, "\n".join(report.lines())
            n = report.law("I10").checked
        over.set()
        await asyncio.gather(*shops)
        await eventually(lambda: _settled(stage))
    report = await run_audit(stage.db, stage.wire, stale_ms=3_600_000)
    assert report.ok, "\n".join(report.lines())
    assert report.law("I10").checked >= n > 100


async def _churn(stage: Stage, offer: Offer, part: int, over: asyncio.Event) -> None:
    number = 0
    while not over.is_set():
        number += 1
        reply = await stage.claim(offer, f"b{part}-{number}")
        if reply.what == "held" and number % 3 and offer.config["hold_ms"]:
            await stage.inventory.release(
                offer.shard, reply.details[0], attempt_id="", why="cancelled"
            )
        await stage.inventory.sweep(offer.shard, 20)
        await asyncio.sleep(0.002)


async def _settled(stage: Stage) -> bool:
    return all("settled to" not in one for one in await await_rest(stage.db, stage.wire, 0))


async def test_a_flushed_hot_store_ends_in_a_green_audit(scene: Scene, valkey_url: str) -> None:
    await scene.redis.flushall()
    assert "I4" in await scene.broken()  # until the settler has rebuilt it
    async with open_stage(scene.db, valkey_url, shards=1) as stage:
        await stage.settle()
        assert await scene.value("SELECT epoch FROM shard_position") == 2
        report = await scene.audit()
        assert report.ok, "\n".join(report.lines())


async def test_claims_with_dead_letters_are_told_apart(stage: Stage) -> None:
    """I10 is red while they are open; no other law is, and none once they are discarded."""
    offer = await stage.offer(5)
    claim_id = (await stage.claim(offer, "b1")).details[0]
    await stage.claim(offer, "b2")
    await stage.settle()
    await stage.inventory.pay_begin(offer.shard, claim_id, "pay_nobody_wrote")
    await stage.inventory.release(
        offer.shard, claim_id, attempt_id="pay_nobody_wrote", why="closed"
    )
    await stage.settle()
    assert (await run_audit(stage.db, stage.wire, at_rest=True)).broken == ("I10",)
    async with stage.db.begin() as session:
        await session.execute(_DISCARD)
    report = await run_audit(stage.db, stage.wire, at_rest=True)
    assert report.ok, "\n".join(report.lines())


async def test_the_guards_rejection_is_green_once_it_is_resolved(stage: Stage) -> None:
    offer = await stage.offer(1)
    key = f"{{s{offer.shard}}}:offer:{offer.id}"
    await stage.wire.call("HINCRBY", key, "available", 1)  # a planted unit too many
    first, second = await stage.claim(offer, "b1"), await stage.claim(offer, "b2")
    assert (first.what, second.what) == ("held", "held")
    await stage.settle()
    broken = (await run_audit(stage.db, stage.wire)).broken
    assert {"I1", "I3"} <= set(broken)
    await stage.inventory.release(offer.shard, second.details[0], attempt_id="", why="rejected")
    await stage.wire.call("HINCRBY", key, "available", -1)
    await stage.settle()
    assert (await run_audit(stage.db, stage.wire)).broken == ("I3",)
    async with stage.db.begin() as session:
        await session.execute(_RESOLVE)
    assert (await run_audit(stage.db, stage.wire)).ok
