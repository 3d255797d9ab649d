"""A crash at any step of begin, watch or refund leaves a state that the loops finish."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.payment.service import begin_payment
from engine.db import Database
from engine.errors import KaituanError, Unavailable
from tests.sandbox import SandboxServer, running_sandbox
from tests.workers.bomb import Crash, crashing
from tests.workers.paying import Paying, open_paying
from workers import pay_watch, refunds
from workers.repeats import Repeats

STEPS_MAX = 60
pytestmark = pytest.mark.slow


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


async def begin_and_crash(world: Paying, claim_id: str, buyer: str, step: int) -> str:
    """The step at which it died; '' when it came through."""
    parts, bomb = crashing(world.parts, step)
    try:
        await begin_payment(
            parts.db,
            parts.inventory,
            parts.provider,
            parts.settings,
            claim_id=claim_id,
            buyer_id=buyer,
        )
    except Crash:
        return bomb.went_off_at
    return ""


async def pay_or_refusal(world: Paying, claim_id: str, buyer: str) -> str:
    """Begin again and pay; the code of the refusal, or ''."""
    try:
        page = await world.begin(claim_id, buyer)
    except KaituanError as error:
        return error.code
    await world.pay(page)
    return ""


@pytest.mark.parametrize("then", ["repeats at once", "goes away", "repeats after the watch"])
async def test_begin_may_crash_anywhere(world: Paying, then: str) -> None:
    died: set[str] = set()
    paid = 0
    for step in range(1, STEPS_MAX):
        buyer = f"b{step}"
        claim_id = await world.bought(buyer)
        where = await begin_and_crash(world, claim_id, buyer, step)
        if not where:
            break
        died.add(where)
        if then == "goes away":
            continue
        if then == "repeats after the watch":
            await world.due()
            await world.turn()
        refusal = await pay_or_refusal(world, claim_id, buyer)
        if not refusal:
            paid += 1
            continue
        # The watch found the remains first and gave the unit back: said, and nothing charged.
        assert (refusal, then) == ("not_payable", "repeats after the watch"), where
        assert (await world.stage.inventory.claim_state(0, claim_id))["state"] == "released"
    assert {"after a commit", "after a script", "before prepay", "after prepay"} <= died
    await world.expire()
    await world.rest(all_attempts=True)
    assert (paid > 0) == (then != "goes away")
    assert await world.verdict() == (paid, 0)
    stuck = "SELECT count(*) FROM orders WHERE claim_state = 'paying'"
    assert await world.stage.scalar(stuck) == 0


async def never_announced(world: Paying, claim_id: str, buyer: str) -> None:
    await world.sandbox.switch(failing={"count": 1, "operations": ["prepay"]})
    with pytest.raises(Unavailable, match="provider_unreachable"):
        await world.begin(claim_id, buyer)


@pytest.mark.parametrize("case", ["unpaid", "paid, callback lost", "never announced", "begun"])
async def test_the_watch_may_crash_anywhere(world: Paying, case: str) -> None:
    died: set[str] = set()
    for step in range(1, STEPS_MAX):
        buyer = f"b{step}"
        claim_id = await world.bought(buyer)
        if case == "never announced":
            await never_announced(world, claim_id, buyer)
        elif case == "begun":
            assert await begin_and_crash(world, claim_id, buyer, 6) == "after a script"
            await world.run("UPDATE payment_attempts SET next_at_ms = 1 WHERE state = 'begun'")
        else:
            page = await world.begin(claim_id, buyer)
            if case == "paid, callback lost":
                await world.pay(page, "lost")
        sql = (
            "UPDATE payment_attempts SET pay_expires_at_ms = 1, next_at_ms = 1, send_until_ms = 0"
            " WHERE state = 'open' AND claim_id = :c"
        )
        await world.run(sql, c=claim_id)
        parts, bomb = crashing(world.parts, step)
        try:
            await pay_watch.run_once(parts)
        except Crash:
            died.add(bomb.went_off_at)
        else:
            break
    assert {"after a commit", "before a script", "after a script"} <= died
    if case != "begun":
        assert {"before query", "after query"} <= died
    if case == "unpaid":
        assert "after close" in died
    await world.rest(all_attempts=True)
    payments, refunded = await world.verdict()
    assert (payments > 0) == (case == "paid, callback lost")
    assert refunded == 0
    left = "SELECT count(*) FROM orders WHERE claim_state IN ('held', 'paying')"
    assert await world.stage.scalar(left) == 0


async def test_a_refund_may_crash_anywhere(world: Paying) -> None:
    died: set[str] = set()
    for step in range(1, STEPS_MAX):
        order_id = await world.standing(f"b{step}", qty=2)
        await world.refund(order_id, 1)
        parts, bomb = crashing(world.parts, step)
        try:
            await refunds.run_once(parts)
        except Crash:
            died.add(bomb.went_off_at)
        else:
            break
    assert {"before refund", "after refund", "after a commit", "after a script"} <= died
    await world.rest()
    orders = await world.stage.scalar("SELECT count(*) FROM orders")
    half = "SELECT count(*) FROM orders WHERE refunded_fen = 990 AND units = 1 AND state = 'paid'"
    assert await world.stage.scalar(half) == orders
    assert (await world.verdict())[1] == orders


async def test_repeats_may_crash_anywhere(world: Paying) -> None:
    """With facts and receipts left behind by a watch that could not reach the hot store."""
    for step in range(1, STEPS_MAX, 3):
        paid = await world.bought(f"p{step}")
        await world.pay(await world.begin(paid, f"p{step}"), "lost")
        unpaid = await world.bought(f"u{step}")
        await world.begin(unpaid, f"u{step}")
        await world.expire()
        died_early, _ = crashing(world.parts, 1_000)
        died_early.inventory.wire.call = lambda *_: (_ for _ in ()).throw(  # type: ignore[method-assign]
            Unavailable("reopening", "the store is away")
        )
        await pay_watch.run_once(died_early)
        parts, _ = crashing(world.parts, step)
        try:
            await Repeats(parts).run_once()
        except Crash:
            await world.stage.settle()
        else:
            break
    await world.rest(all_attempts=True)
    assert (await world.verdict())[1] == 0
    left = "SELECT count(*) FROM orders WHERE claim_state IN ('held', 'paying')"
    assert await world.stage.scalar(left) == 0


async def test_cancelled_at_any_moment(world: Paying) -> None:
    """As a drain that takes too long does it, or a client that hangs up."""
    draw = random.Random(3)
    await world.sandbox.switch(slow={"share_bps": 10_000, "ms": 20})

    async def cancelled(work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        await asyncio.sleep(draw.random() * 0.08)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, KaituanError):
            await task

    for n in range(30):
        claim_id = await world.bought(f"b{n}")
        await cancelled(world.begin(claim_id, f"b{n}"))
        if n % 3 == 0 and not await pay_or_refusal(world, claim_id, f"b{n}"):
            await world.stage.settle()
        elif n % 3 == 1:
            await world.expire()
        await world.due()
        await cancelled(pay_watch.run_once(world.parts))
        await world.due()
        await cancelled(refunds.run_once(world.parts))
        await cancelled(Repeats(world.parts).run_once())
    await world.sandbox.switch()
    await world.expire()
    await world.rest(all_attempts=True)
    await world.verdict()
    idle = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    assert await world.stage.scalar(idle + " AND datname = current_database()") == 0
