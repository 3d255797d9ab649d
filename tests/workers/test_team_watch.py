"""The watch over teams goes on: past a shard that is away, and past a plan it may not carry out."""

from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import select

from engine import keys
from engine.db import Database
from engine.models import Incident
from tests.engine.hotshard import bench
from tests.engine.seats import Hall
from tests.workers.test_rescue import turns, watch_of


@pytest_asyncio.fixture
async def hall(hot: Redis, valkey_url: str) -> AsyncIterator[Hall]:
    async with bench(valkey_url) as opened:
        await opened.open()
        yield Hall(opened)


async def test_a_shard_that_is_not_there_stops_no_other(hall: Hall, db: Database) -> None:
    await hall.team_offer()
    team_id, _ = await hall.opened("cap")
    await hall.deadline_passes(team_id)
    await turns(hall, watch_of(hall, db, shards=3))
    assert (await hall.teams.state(0, team_id))["state"] == "failed"


async def test_a_plan_that_no_run_may_carry_out_keeps_nobody_waiting(
    hall: Hall, db: Database
) -> None:
    """Three lone captains could be one team, by two moves at once; only one may be made."""
    await hall.team_offer(total=30, size=3)
    teams = [(await hall.opened(f"cap{n}", consent=True))[0] for n in range(3)]
    for team_id in teams:
        await hall.deadline_passes(team_id)
    await turns(hall, watch_of(hall, db, rescue_batch_max=1))
    assert {(await hall.teams.state(0, one))["state"] for one in teams} == {"failed"}


async def test_a_team_that_cannot_be_decided_holds_up_no_other(hall: Hall, db: Database) -> None:
    await hall.team_offer(total=30)
    broken, _ = await hall.opened("cap0", consent=True)
    fine, _ = await hall.opened("cap1", consent=True)
    for team_id in (broken, fine):
        await hall.deadline_passes(team_id)
    key = keys.groups(0) + broken
    await hall.teams.close(0, 10, again_ms=0)
    await hall.bench.wire.call("HDEL", key, "paying")
    watch = watch_of(hall, db)
    for _ in range(3):
        assert await watch.run_once() > 0  # it is looked at again and again
    assert (await hall.teams.state(0, fine))["state"] == "failed"
    assert await _alarms(db) == {f"not_decided:{broken}": True}
    await hall.bench.wire.call("HSET", key, "paying", 0)
    await turns(hall, watch)
    assert (await hall.teams.state(0, broken))["state"] == "failed"
    assert await _alarms(db) == {f"not_decided:{broken}": False}


async def test_who_ends_an_instant_later_is_waited_for(
    hall: Hall, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second team's deadline passes between the first one's closing and its rescue."""
    await hall.team_offer(total=30, size=2)
    first, _ = await hall.opened("cap0", consent=True)
    second, _ = await hall.opened("cap1", consent=True)
    await hall.deadline_passes(first)
    watch = watch_of(hall, db)
    rescue = watch._rescue

    async def an_instant_later(shard: int, closing: Sequence[str]) -> set[str]:
        await hall.deadline_passes(second)
        monkeypatch.undo()
        return await rescue(shard, closing)

    monkeypatch.setattr(watch, "_rescue", an_instant_later)
    await turns(hall, watch)
    states = sorted([(await hall.teams.state(0, one))["state"] for one in (first, second)])
    assert states == ["failed", "formed"]


async def _alarms(db: Database) -> dict[str, bool]:
    """Which alarms there are of teams, and whether they are open."""
    async with db.begin() as session:
        rows = await session.scalars(select(Incident).where(Incident.kind == "not_decided"))
        return {one.cause: one.resolved_at_ms is None for one in rows}
