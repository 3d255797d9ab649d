"""A hot store that is emptied amidst a reopening which would have kept its state.

Nothing may be taken for whole that was looked at before, and an emptied stream is no gap: it
ends in a rebuild without anybody's help, at whatever step it happens.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine import keys
from engine.db import Database
from tests.workers.acts import held, sell_out
from tests.workers.conftest import RivalMaker
from tests.workers.gates import Pause
from tests.workers.laws import check, rows
from tests.workers.stage import Stage, open_stage
from tests.workers.test_reopen_crash import STEPS_MAX, Night, held_at, straight
from workers.settle.loop import Settler

_UNSAID = """
SELECT o.claim_id, a.id, a.pay_expires_at_ms FROM payment_attempts a
JOIN orders o ON o.claim_id = a.claim_id WHERE a.state = 'open' AND a.applied_seq IS NULL
"""


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """One shard, so that a step is a step of its reopening."""
    async with open_stage(db, valkey_url, shards=1) as opened:
        yield opened


@pytest.mark.slow
async def test_a_flush_amidst_a_reopening_that_keeps_the_state(
    stage: Stage, rival: RivalMaker
) -> None:
    night = Night(stage, await stage.offer(300), "sealed")
    where: list[str] = []
    gate = Pause()
    async with rival(straight) as healthy, rival(gate) as other:
        for at in range(1, STEPS_MAX):
            await night.prepare()
            async with held_at(night, other, gate, at):
                where.append(gate.where)
                await stage.wire.call("FLUSHALL")
            await night.finish(healthy.settler(), healthy)
            lost = await rows(stage, _UNSAID)
            night.unsaid = {row["claim_id"]: (row["id"], row["pay_expires_at_ms"]) for row in lost}
            await check(stage, night.unsaid, thorough=at % 8 == 0)
            await night.repeat()
            if not gate.where:
                break
    assert {"before seal", "before rebuild_begin", "before epoch_open"} <= set(where), where
    assert await stage.scalar("SELECT count(*) FROM incidents") == 0
    left = await rows(stage, "SELECT total - held - sold AS left FROM offers")
    assert await sell_out(stage, night.offer, "z") == left[0]["left"]


async def test_a_flush_between_the_two_looks_of_one_is_no_gap(stage: Stage) -> None:
    """The fence was read, then the store was emptied, then the stream was read."""
    offer = await stage.offer(5)
    await held(stage, offer, "a")
    await stage.settle()
    await held(stage, offer, "b")

    class Late(Settler):
        async def _seal_gap(self, position, seen):  # type: ignore[no-untyped-def]
            await stage.wire.call("FLUSHALL")
            await super()._seal_gap(position, seen)

    stream = keys.events(offer.shard, stage.epochs.of(offer.shard))
    await stage.wire.call("DEL", stream)  # what that look saw of the stream
    late = Late(stage.db, stage.inventory, stage.settings, take_over_ms=0)
    await late.round()
    await stage.settle()
    await check(stage)
    assert await stage.scalar("SELECT count(*) FROM incidents") == 0
    assert await stage.scalar("SELECT count(*) FROM orders") == 1
