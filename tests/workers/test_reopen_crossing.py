"""Two reopenings of one shard cross: whatever opens in between, no claim of it is lost.

The first one stands still at a named step for so long that a second one takes over. That one
stands still as well, the first goes on to its end, a customer tries to claim, and then the second
goes on. A claim that was acknowledged has its order, since no store lost anything.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.db import Database
from engine.errors import Unavailable
from tests.workers.acts import held
from tests.workers.conftest import Rival, RivalMaker
from tests.workers.gates import Crash
from tests.workers.laws import check, rows
from tests.workers.stage import Stage, open_stage
from tests.workers.test_reopen_crash import Night
from workers.settle.positions import LostRace

FIRST = ("before rebuild_begin", "before epoch_open", "before epoch_open, its last step")
SECOND = ("before seal", "sql after seal", "before rebuild_begin")


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """One shard."""
    async with open_stage(db, valkey_url, shards=1) as opened:
        yield opened


class Stop:
    """A gate that holds at the first step of this name, once armed; the process of a last step
    dies behind it, before it can say in PostgreSQL what it did.

    `sql after seal` is the first statement behind the seal: before the epoch is raised.
    """

    def __init__(self) -> None:
        self.arm("")
        self.go.set()

    def arm(self, name: str) -> None:
        self.name, _, last = name.partition(",")
        self.sealed, self.is_last = False, bool(last)
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    async def __call__(self, name: str) -> None:
        if self.go.is_set() and self.is_last and name.startswith("sql"):
            raise Crash(name)
        if self.go.is_set() or self.reached.is_set():
            return
        if self.name == "sql after seal":
            self.sealed = self.sealed or name == "before seal"
            wanted = self.sealed and name.startswith("sql")
        else:
            wanted = name == self.name
        if wanted:
            self.reached.set()
            await self.go.wait()


async def starts(night: Night, other: Rival, stop: Stop) -> asyncio.Task[None]:
    """A reopening of a process of its own, until it stands still or is over."""
    task = asyncio.create_task(night.reopen(other))
    reached = asyncio.create_task(stop.reached.wait())
    await asyncio.wait((task, reached), return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    return task


async def goes_on(task: asyncio.Task[None], stop: Stop) -> None:
    stop.go.set()
    with suppress(LostRace, Unavailable, Crash):
        await task


@pytest.mark.parametrize("kind", ["flushed", "sealed"])
@pytest.mark.parametrize("second_at", SECOND)
@pytest.mark.parametrize("first_at", FIRST)
async def test_no_claim_is_lost_where_two_reopenings_cross(
    stage: Stage, rival: RivalMaker, first_at: str, second_at: str, kind: str
) -> None:
    night = Night(stage, await stage.offer(2_000), kind)
    first_stop, second_stop = Stop(), Stop()
    async with rival(first_stop) as first, rival(second_stop) as second:
        await night.prepare()
        first_stop.arm(first_at)
        one = await starts(night, first, first_stop)
        await stage.epochs.refresh()  # what a process that serves customers knows
        second_stop.arm(second_at)
        other = await starts(night, second, second_stop)
        assert first_stop.reached.is_set()
        assert second_stop.reached.is_set()
        await goes_on(one, first_stop)
        claimed = await claim_between(night)
        await goes_on(other, second_stop)
        first_stop.arm("")
        await night.finish(first.settler(), first)
        orders = {row["claim_id"] for row in await rows(stage, "SELECT claim_id FROM orders")}
        assert not claimed or claimed in orders
        await check(stage, night.unsaid)
        await night.repeat()
        await held(stage, night.offer, "after")
        await stage.settle()
    await check(stage)


async def claim_between(night: Night) -> str:
    """The id of a claim that was acknowledged now, or nothing."""
    try:
        reply = await night.stage.claim(night.offer, "between")
    except Unavailable:
        return ""
    return reply.details[0] if reply.what == "held" else ""
