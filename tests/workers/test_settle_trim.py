"""The stream is trimmed behind the position and its margin, and never ahead of it."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from engine import keys
from engine.db import Database
from tests.workers.acts import held
from tests.workers.laws import check, rows
from tests.workers.stage import Stage, open_stage
from workers.settle.loop import Settler

# The store drops whole nodes of 100 entries, so less than this shows nothing.
CLAIMS = 450
MARGIN = 150
BATCH = 100


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(
        db, valkey_url, shards=1, settle_batch_max=BATCH, trim_margin_max=MARGIN
    ) as opened:
        yield opened


async def test_trimming_leaves_the_margin_and_all_that_is_not_settled(stage: Stage) -> None:
    offer = await stage.offer(CLAIMS)
    stream = keys.events(offer.shard, stage.epochs.of(offer.shard))
    await asyncio.gather(*(held(stage, offer, f"b{n}") for n in range(CLAIMS)))
    settler = Settler(stage.db, stage.inventory, stage.settings, trim_every=0)
    firsts = []
    while await settler.round():
        (position,) = await rows(stage, "SELECT seq, state FROM shard_position")
        ((first_id, _),) = await stage.wire.call("XRANGE", stream, "-", "+", "COUNT", 1)
        firsts.append(int(first_id.split(b"-")[0]))
        assert position["state"] == "open"
        assert firsts[-1] <= max(1, position["seq"] - MARGIN)
    assert firsts[-1] > 1, firsts  # it does trim
    assert await stage.scalar("SELECT count(*) FROM orders") == CLAIMS
    await check(stage)
