"""The watch over teams goes on: past a shard that is away, and past a plan it may not carry out."""

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from engine.db import Database
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
