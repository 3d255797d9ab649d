"""A reopening that stops at any of its steps: another takes over, and the first can do no harm.

The first one is held at step n by a gate. Another settler finishes the reopening, sales go on,
and only then the first one is let go: whatever it still writes must be refused.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.offer.models import Offer
from engine import keys
from engine.db import Database
from engine.errors import Unavailable
from engine.scripts import load_all
from tests.waiting import eventually
from tests.workers.acts import begin_paying, confirm, held, sell_out
from tests.workers.conftest import Rival, RivalMaker
from tests.workers.gates import Crash, Pause
from tests.workers.laws import check, rows
from tests.workers.stage import Stage, open_stage
from workers.settle import positions
from workers.settle.loop import Settler
from workers.settle.positions import LostRace
from workers.settle.reopen import Reopener

STEPS_MAX = 120


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """One shard, so that a step is a step of its reopening."""
    async with open_stage(db, valkey_url, shards=1) as opened:
        yield opened


class Night:
    """Rounds of sales, each ending in a fault of one kind."""

    def __init__(self, stage: Stage, offer: Offer, kind: str) -> None:
        self.stage, self.offer, self.kind, self.round = stage, offer, kind, 0
        self.unsaid: dict[str, tuple[str, int]] = {}
        self.facts: dict[str, str] = {}  # claim → the fact whose event may be lost

    async def prepare(self) -> None:
        """Settled claims in several states, unsettled ones, then the fault."""
        stage, offer = self.stage, self.offer
        self.round += 1
        claims = [await held(stage, offer, f"{name}{self.round}") for name in "ab"]
        await begin_paying(stage, offer, claims[1])
        await stage.settle()
        await held(stage, offer, f"d{self.round}")
        attempt_id = await begin_paying(stage, offer, claims[0])
        self.facts[claims[0]], _ = await confirm(stage, offer, claims[0], attempt_id)
        if self.kind != "sealed":
            query = "SELECT pay_expires_at_ms FROM payment_attempts WHERE id = :id"
            (row,) = await rows(stage, query, id=attempt_id)
            self.unsaid[claims[0]] = (attempt_id, row["pay_expires_at_ms"])
        if self.kind == "flushed":
            await stage.wire.call("FLUSHALL")
        elif self.kind == "sealed":
            seal = load_all()["seal"]
            names = {"meta": keys.meta(offer.shard), "token": keys.token(offer.shard)}
            epoch = stage.epochs.of(offer.shard)
            await stage.wire.call(*seal.command(**names, epoch=epoch, why="a test"))
        else:
            await self._gap()

    async def _gap(self) -> None:
        stage, shard = self.stage, self.offer.shard
        epoch = stage.epochs.of(shard)
        (position,) = await rows(stage, "SELECT seq FROM shard_position WHERE shard = :s", s=shard)
        deleted = await stage.wire.call(
            "XDEL", keys.events(shard, epoch), f"{position['seq'] + 2}-0"
        )
        assert deleted == 1
        await stage.settle()
        assert await self.state() == "sealed"

    async def repeat(self) -> None:
        """What the worker does about committed rows whose events were lost."""
        for claim_id, (attempt_id, _) in self.unsaid.items():
            shard = self.offer.shard
            began = await self.stage.inventory.pay_begin(shard, claim_id, attempt_id)
            assert began.what == "paying"
            paid = await self.stage.inventory.pay_confirm(
                shard,
                claim_id,
                attempt_id=attempt_id,
                fact_id=self.facts[claim_id],
                verdict="ok",
            )
            assert paid.what == "paid"
        self.unsaid = {}
        await self.stage.settle()

    async def state(self) -> str:
        """Of the shard, in PostgreSQL."""
        query = "SELECT state FROM shard_position WHERE shard = :s"
        return str(await self.stage.scalar(query, s=self.offer.shard))

    async def reopen(self, other: Rival) -> None:
        """What settler or person do about the fault."""
        if self.kind != "gap":
            await other.settler().round()
            return
        async with other.db.begin() as session:
            position = await positions.read(session, self.offer.shard)
        assert position is not None
        if position.state == "sealed":
            await reopener(other).reopen(position, "past the gap", past_gap=True)

    async def finish(self, settler: Settler, other: Rival) -> None:
        """Another settler (and for a gap another person) until all shards are open."""

        async def done() -> bool:
            if self.kind == "gap" and await self.state() == "sealed":
                with suppress(LostRace):
                    await self.reopen(other)
            await settler.round()
            states = await rows(self.stage, "SELECT state FROM shard_position")
            return all(row["state"] == "open" for row in states)

        await eventually(done)
        await self.stage.settle()


def reopener(other: Rival) -> Reopener:
    return Reopener(other.db, other.inventory.wire, batch_max=2, rebuild_batch_max=500)


async def straight(_: str) -> None:
    """A gate that is always open."""


@asynccontextmanager
async def held_at(night: Night, other: Rival, gate: Pause, at: int) -> AsyncIterator[None]:
    """Inside, a reopening stands at its step `at`; then it goes on and ends, this way or that."""
    gate.set(at)
    task = asyncio.create_task(night.reopen(other))
    reached = asyncio.create_task(gate.reached.wait())
    try:
        await asyncio.wait((task, reached), return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        reached.cancel()
        gate.release.set()
        with suppress(LostRace, Unavailable, Crash):
            await task


@pytest.mark.parametrize("kind", ["flushed", "sealed", "gap"])
async def test_a_reopening_abandoned_at_any_step_is_finished_by_another(
    stage: Stage, rival: RivalMaker, kind: str
) -> None:
    night = Night(stage, await stage.offer(2_000), kind)
    where: list[str] = []
    gate = Pause()
    async with rival(straight) as healthy, rival(gate) as other:
        for at in range(1, STEPS_MAX):
            await night.prepare()
            async with held_at(night, other, gate, at):
                where.append(gate.where)
                await night.finish(healthy.settler(), healthy)
                await check(stage, night.unsaid, thorough=at % 8 == 0)
                await night.repeat()
                await held(stage, night.offer, f"e{at}")
                await stage.settle()
            await held(stage, night.offer, f"f{at}")  # the late one has closed nothing
            await stage.settle()
            await check(stage, thorough=at % 8 == 0)
            if not gate.where:
                break
    await check(stage)
    wanted = {"before rebuild_begin", "before epoch_open", "before seal", "before commit"}
    assert wanted <= set(where), where
    assert ("before rebuild_write" in where) == (kind != "sealed")
    if kind == "gap":
        assert await stage.scalar("SELECT count(*) FROM incidents WHERE kind = 'gap'") == at
        open_ones = "SELECT count(*) FROM incidents WHERE resolved_at_ms IS NULL"
        assert await stage.scalar(open_ones) == 0


async def test_a_flush_during_a_rebuild_ends_in_a_newer_rebuild(
    stage: Stage, rival: RivalMaker
) -> None:
    night = Night(stage, await stage.offer(300), "flushed")
    where: list[str] = []
    gate = Pause()
    async with rival(straight) as healthy, rival(gate) as other:
        for at in range(6, STEPS_MAX, 2):
            await night.prepare()
            async with held_at(night, other, gate, at):
                where.append(gate.where)
                await stage.wire.call("FLUSHALL")
            await night.finish(healthy.settler(), healthy)
            await check(stage, night.unsaid, thorough=at % 8 == 0)
            await night.repeat()
            if not gate.where:
                break
    assert "before rebuild_write" in where
    left = await rows(stage, "SELECT total - held - sold AS left FROM offers")
    assert await sell_out(stage, night.offer, "z") == left[0]["left"]
