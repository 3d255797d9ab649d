"""Two settlers at once do no harm, also while the hot store is emptied under them."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from engine.ids import now_ms
from tests.system.crowds import crowds, plans
from tests.system.house import House
from tests.waiting import eventually

pytestmark = pytest.mark.slow

_SETTLED_BY = (
    "SELECT count(*) FROM (SELECT shard, epoch, first_seq, last_seq, orphaned,"
    " lag(last_seq) OVER (PARTITION BY shard, epoch ORDER BY first_seq) AS before"
    " FROM event_batches) b WHERE before IS NOT NULL AND first_seq <> before + 1"
)


@asynccontextmanager
async def another_settler(house: House) -> AsyncIterator[asyncio.subprocess.Process]:
    """A second `python -m workers.settle` on the same stores."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workers.settle"),
        env=house.environ,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def test_two_settlers_at_once_do_no_harm(house: House) -> None:
    sale = await house.sale(80, hold_ms=4_000, pay_ms=6_000)
    buyers = [f"mbr_two_{number:04}" for number in range(600)]
    given = plans(
        *(house, sale, buyers, {"pay": 5, "cancel": 3, "lapse": 2}),
        name="two",
        lanes=24,
        processes=2,
        until_ms=now_ms() + 7_000,
        repeats=0.1,
        lossy=True,
    )
    before = await house.epoch(sale.shard)
    async with another_settler(house) as second, crowds(given) as race:
        going = asyncio.create_task(race.go())
        await asyncio.sleep(2)
        await house.ask("FLUSHALL")

        async def is_reopened() -> bool:
            return await house.epoch(sale.shard) > before

        await eventually(is_reopened)
        await house.until_ready()
        seen = await going
        assert second.returncode is None, "the second settler has ended"
        await house.settled()
    assert not seen.errors, seen.errors[:10]
    assert len(seen.held) > 40
    assert seen.ends.get("pay → paid", 0) > 0
    assert await house.scalar("SELECT count(*) FROM dead_letters") == 0
    assert await house.scalar(_SETTLED_BY) == 0
    await house.lawful("I1", "I4", "I6", "I7", "I8", "I10", "T8", "M2", "M3", "M4")
