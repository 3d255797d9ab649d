"""Two refunds of one order booked at the same moment: each sees what the other left."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from engine.db import Database
from tests.sandbox import SandboxServer, running_sandbox
from tests.waiting import eventually
from tests.workers.paying import Paying, open_paying
from workers import refunds

_WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest_asyncio.fixture
async def world(
    db: Database, hot: Redis, valkey_url: str, sandbox: SandboxServer
) -> AsyncIterator[Paying]:
    async with open_paying(db, valkey_url, sandbox) as (world, _):
        yield world


async def test_units_and_an_amount_of_one_order_booked_at_once(world: Paying) -> None:
    order_id = await world.standing(qty=2)
    await world.refund(order_id, 1)
    await world.refund(order_id, 0, amount_fen=1)
    async with world.stage.db.begin() as session:  # both are done there and wait for the order
        await session.execute(text("SELECT 1 FROM orders FOR UPDATE"))
        sending = asyncio.create_task(refunds.run_once(world.parts))

        async def both_wait() -> bool:
            return await world.stage.scalar(_WAITING) == 2

        await eventually(both_wait)
    assert await sending == 2
    await world.rest()
    state = "SELECT state || '/' || units || '/' || refunded_fen FROM orders"
    assert await world.stage.scalar(state) == "paid/1/991"
    await world.refund(order_id, 1)  # the rest: 989 fen
    await world.rest()
    assert await world.stage.scalar(state) == "refunded/0/1980"
    assert await world.verdict() == (1, 3)
