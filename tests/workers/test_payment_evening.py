"""A whole evening of troubles with everything running at once; the bill is the witness.

Two workers, the settler and the callback door run side by side while customers pay, stray, pay
late or never, the provider fails and dawdles, refunds are asked for, and the shard is reopened
or its store is emptied under way.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import get_args

import pytest
from redis.asyncio import Redis

from campaigns.payment.service import record_bill
from cli.sandbox.switches import Trouble
from engine.db import Database
from engine.errors import KaituanError
from tests.conftest import DbUrls
from tests.sandbox import SandboxServer, pay, running_sandbox
from tests.waiting import eventually
from tests.workers.paying import Paying, open_paying
from tests.workers.stage import settling
from workers.main import loops_of

pytestmark = pytest.mark.slow
BUYERS = 60
TERM_MS = 600_000  # customers' time ends when the test says so, not when the machine is slow
_REST = (
    "SELECT (SELECT count(*) FROM orders WHERE claim_state IN ('held', 'paying'))"
    " + (SELECT count(*) FROM payment_attempts WHERE state IN ('begun', 'open'))"
    " + (SELECT count(*) FROM payment_facts WHERE outcome IS NULL)"
    " + (SELECT count(*) FROM refunds WHERE state = 'due')"
    " + (SELECT count(*) FROM refunds WHERE units > 0 AND applied_seq IS NULL)"
)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@asynccontextmanager
async def two_workers(world: Paying, urls: DbUrls) -> AsyncIterator[None]:
    stop, other = asyncio.Event(), Database(urls.app)
    loops = loops_of(world.parts) + loops_of(replace(world.parts, db=other))
    tasks = [asyncio.create_task(loop.run(stop)) for loop in loops]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*tasks)
        await other.close()


async def patiently(world: Paying, claim_id: str, buyer: str) -> str:
    """Begin until it works or is finally refused; the page's url or ''."""
    for _ in range(50):
        try:
            return (await world.begin(claim_id, buyer)).pay_url
        except KaituanError as error:
            if error.status != 503 and error.code != "not_ordered":
                return ""
        await asyncio.sleep(0.1)
    return ""


async def customer(world: Paying, claim_id: str, buyer: str, draw: random.Random) -> None:
    """Pays, strays or leaves, as drawn."""
    whim = draw.random()
    if whim < 0.1:  # lets the hold lapse
        await world.stage.wire.call("ZADD", "{s0}:deadlines", "XX", 1, claim_id)
        return
    url = await patiently(world, claim_id, buyer)
    if not url:
        return
    if whim < 0.2:  # opened the page, and left
        await expire(world, claim_id)
        return
    troubles = [name for name in get_args(Trouble) if draw.random() < 0.15]
    if "paid_after_close" in troubles:
        await expire(world, claim_id)
        await asyncio.sleep(draw.random())  # perhaps it is closed by then, perhaps not
    await asyncio.sleep(draw.random())
    await pay(url, *troubles)


async def expire(world: Paying, claim_id: str) -> None:
    """The claim's time to pay is over now."""
    await world.run(
        "UPDATE payment_attempts SET pay_expires_at_ms = 1, next_at_ms = 1 WHERE state = 'open'"
        " AND claim_id = :c",
        c=claim_id,
    )


async def closing_time(world: Paying) -> None:
    """Whatever is still held or unpaid has had its time."""
    await world.expire()
    left = await world.stage.wire.call("ZRANGE", "{s0}:deadlines", 0, -1)
    for claim_id in left:
        await world.stage.wire.call("ZADD", "{s0}:deadlines", "XX", 1, claim_id)


async def refund_some(world: Paying, draw: random.Random) -> None:
    """HQ refunds a unit or a little of about a third of what stands."""
    await asyncio.sleep(2)
    async with world.stage.db.begin() as session:
        connection = await session.connection()
        found = await connection.exec_driver_sql("SELECT id FROM orders WHERE state = 'paid'")
        orders = [row[0] for row in found]
    for order_id in orders:
        if draw.random() < 0.4:
            units = draw.randrange(2)
            await world.refund(order_id, units, amount_fen=None if units else 1)


async def reopen_some(world: Paying, how: str) -> None:
    await asyncio.sleep(1)
    if how == "reopened":
        for _ in range(3):
            await world.stage.wire.call("HSET", "{s0}:meta", "sealed", "test")
            await asyncio.sleep(0.4)
    elif how == "emptied":
        await world.stage.wire.call("FLUSHALL")


@pytest.mark.parametrize("how", ["undisturbed", "reopened", "emptied"])
async def test_an_evening_of_troubles(
    db: Database, db_urls: DbUrls, hot: Redis, valkey_url: str, sandbox: SandboxServer, how: str
) -> None:
    draw = random.Random(how)
    limits = {"lease_ms": 3_000, "provider_timeout_ms": 700, "repeat_after_ms": 50}
    async with open_paying(db, valkey_url, sandbox, **limits, retry_cap_ms=200) as (world, _):
        offer = await world.stage.offer(BUYERS, pay_ms=TERM_MS, hold_ms=TERM_MS)
        claims = [(await world.stage.claim(offer, f"b{n}")).details[0] for n in range(BUYERS)]
        await world.stage.settle()
        await sandbox.switch(
            seed=draw.randrange(1_000),
            slow={"share_bps": 1_000, "ms": 900},
            failing={"count": 60, "when": "after"},
            refunds={"fail_next": 3, "processing_ms": 200},
        )
        async with settling(world.stage), two_workers(world, db_urls):
            await asyncio.gather(
                reopen_some(world, how),
                refund_some(world, draw),
                *(
                    customer(world, claim_id, f"b{n}", random.Random(f"{how}{n}"))
                    for n, claim_id in enumerate(claims)
                ),
            )
            await sandbox.switch()
            await closing_time(world)

            async def is_at_rest() -> bool:
                counts = await sandbox.get("/counts")
                return not counts.get("notices_waiting") and await world.stage.scalar(_REST) == 0

            await eventually(is_at_rest, within_s=120, every_s=0.2)
            # Closed, paid all the same and never told: only the bill knows of those.
            await world.client.close_period(world.period)
            parts = world.parts
            await record_bill(parts.db, parts.provider, world.period, provider_name="sandbox")
            period, world.period = world.period, await world.client.open_period()
            await eventually(is_at_rest, within_s=120, every_s=0.2)
            world.earlier = (await world.client.bill(period)).rows
        await world.stage.settle()
        payments, refunded = await world.verdict()
        assert payments > 0
        assert refunded > 0
