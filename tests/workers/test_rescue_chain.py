"""Leftovers whose deadlines are apart still make one team: each goes to one still forming."""

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from engine.db import Database
from tests.workers.laws import check, rows
from tests.workers.seats import deadline_passes, opened, team_of, team_offer
from tests.workers.stage import Stage, open_stage
from tests.workers.test_teams import turns


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url, team_again_ms=0) as opened_stage:
        yield opened_stage


async def test_three_captains_whose_deadlines_are_apart_form_one_team(stage: Stage) -> None:
    """Nothing has to close at the same time: at 21:00 the first goes to the second's team, which
    forms until 21:05; then both go to the third's, which is full with them."""
    offer = await team_offer(stage)
    teams, claims = [], []
    for buyer in ("lin", "wu", "mei"):
        team_id, claim_id = await opened(stage, offer, buyer, consent=True)
        teams.append(team_id)
        claims.append(claim_id)
    for team_id in teams[:2]:
        await deadline_passes(stage, offer, team_id)
        await turns(stage)
    last = {await team_of(stage, offer, claim_id) for claim_id in claims}
    assert len(last) == 1
    states = await rows(stage, "SELECT state FROM teams ORDER BY state")
    assert [row["state"] for row in states] == ["failed", "failed", "formed"]
    assert await rows(stage, "SELECT id FROM refunds") == []
    await check(stage)
