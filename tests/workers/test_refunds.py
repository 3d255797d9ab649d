"""Sending refunds: one number, booked once, each for itself, whatever the provider does."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from engine.db import Database
from tests.conftest import DbUrls
from tests.sandbox import SandboxServer, running_sandbox
from tests.workers.paying import Paying, open_paying
from tests.workers.provider_spy import Spy, idle_in_transaction
from workers import refunds


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


async def states(world: Paying) -> object:
    return await world.stage.scalar("SELECT string_agg(state, ' ' ORDER BY id) FROM refunds")


async def test_a_refund_is_booked_with_its_posting_and_its_units(world: Paying) -> None:
    await world.stage.people()
    order_id = await world.standing("m1", qty=2)
    refund = await world.refund(order_id, 1)
    assert await refunds.run_once(world.parts) == 1
    assert await refunds.run_once(world.parts) == 0
    assert await states(world) == "done"
    lines = (
        "SELECT string_agg(source || '>' || destination || '=' || amount_fen, ' ' ORDER BY line)"
        " FROM postings p JOIN ledger_transactions t ON t.id = p.transaction_id"
        " WHERE t.reference = :r"
    )
    assert await world.stage.scalar(lines, r=f"refund:{refund.id}") == (
        "promoter:g1:pending>escrow=79 promoter:g2:pending>escrow=20 store:s1>escrow=99"
        " hq>escrow=792 escrow>clearing:sandbox=990"
    )
    await world.stage.settle()
    assert await world.stage.scalar("SELECT units || state || refunded_fen FROM orders") == (
        "1paid990"
    )
    assert await world.stage.scalar("SELECT sold FROM offers") == 1
    assert await world.stage.scalar("SELECT applied_seq IS NOT NULL FROM refunds") is True
    assert await world.verdict() == (1, 1)


async def test_a_failing_refund_delays_no_other(world: Paying) -> None:
    orders = [await world.standing(f"b{n}") for n in range(4)]
    rows = [await world.refund(order_id, 1) for order_id in orders]
    bad = rows[0].id
    await world.sandbox.switch(
        failing={"count": 1_000, "operations": ["refund"], "attempts": [bad]}
    )
    assert await refunds.run_once(world.parts) == 4
    by_id = "SELECT state || tries || last_error FROM refunds WHERE id = :i"
    assert await world.stage.scalar(by_id, i=bad) == "due1provider_unreachable"
    for row in rows[1:]:
        assert await world.stage.scalar(by_id, i=row.id) == "done1"
    alarm_at = world.parts.settings.outside_tries_alarm
    for _ in range(alarm_at):
        await world.due()
        await refunds.run_once(world.parts)
    alarm = "SELECT kind || '/' || (resolved_at_ms IS NULL) FROM incidents"
    assert await world.stage.scalar(alarm) == "refund_not_done/true"
    await world.sandbox.switch()
    await world.rest()
    assert await world.stage.scalar(alarm) == "refund_not_done/false"
    assert await world.verdict() == (4, 4)


@pytest.mark.parametrize("how", ["500", "429", "closed"])
async def test_done_there_without_an_answer_is_one_refund(world: Paying, how: str) -> None:
    await world.refund(await world.standing(), 1)
    await world.sandbox.switch(
        failing={"count": 3, "how": how, "when": "after", "operations": ["refund"]}
    )
    await refunds.run_once(world.parts)
    assert await states(world) == "due"
    await world.rest()
    assert await states(world) == "done"
    assert await world.verdict() == (1, 1)


async def test_processing_and_failed_refunds_are_asked_for_until_done(world: Paying) -> None:
    await world.refund(await world.standing(), 1)
    await world.sandbox.switch(refunds={"fail_next": 2, "processing_ms": 150})
    errors = set()
    for _ in range(200):
        await world.due()
        if await refunds.run_once(world.parts) == 0:
            break
        errors.add(await world.stage.scalar("SELECT last_error FROM refunds"))
        await asyncio.sleep(0.02)
    assert errors == {"USER_ACCOUNT_ABNORMAL", "processing", ""}
    await world.rest()
    assert await world.verdict() == (1, 1)


async def test_a_payment_that_never_stood_is_refunded_out_of_escrow(world: Paying) -> None:
    await world.sandbox.switch(wrong_amount={"share_bps": 10_000, "delta_fen": 10})
    await world.paid()
    await world.rest(all_attempts=True)
    assert await states(world) == "done"
    lines = (
        "SELECT count(*) FROM postings p JOIN ledger_transactions t ON t.id = p.transaction_id"
        " WHERE t.kind = 'refund' AND source = 'escrow' AND amount_fen = 1000"
    )
    assert await world.stage.scalar(lines) == 1
    assert await world.verdict() == (1, 1)


async def test_two_workers_at_once_send_each_refund_once(world: Paying, db_urls: DbUrls) -> None:
    orders = [await world.standing(f"b{n}") for n in range(6)]
    for order_id in orders:
        await world.refund(order_id, 1)
    spy = Spy(world.client)
    other = Database(db_urls.app)
    try:
        few = msgspec.structs.replace(world.parts.settings, outside_batch_max=2)
        crowd = [
            replace(world.parts, provider=spy, settings=few, db=db)
            for db in (world.parts.db, other) * 4
        ]
        counts = await asyncio.gather(*(refunds.run_once(parts) for parts in crowd))
    finally:
        await other.close()
    assert sum(counts) == 6
    assert sorted(spy.calls.values()) == [1] * 6
    await world.rest()
    assert await world.verdict() == (6, 6)


@pytest.mark.parametrize("theft", ["expired", "taken by another worker"])
async def test_a_lease_that_ended_under_way_books_nothing(world: Paying, theft: str) -> None:
    await world.refund(await world.standing(), 1)
    sql = "UPDATE refunds SET lease_until_ms = " + (
        "1" if theft == "expired" else "lease_until_ms + 5"
    )

    async def steal(_: str) -> None:
        await world.run(sql)

    spy = Spy(world.client, after=steal)
    await refunds.run_once(replace(world.parts, provider=spy))
    assert await states(world) == "due"
    posted = "SELECT count(*) FROM ledger_transactions WHERE kind = 'refund'"
    assert await world.stage.scalar(posted) == 0
    await world.rest()
    assert await world.stage.scalar(posted) == 1
    assert await world.verdict() == (1, 1)


async def test_no_transaction_is_open_while_the_provider_is_asked(world: Paying) -> None:
    orders = [await world.standing(f"b{n}") for n in range(3)]
    for order_id in orders:
        await world.refund(order_id, 1)
    await world.sandbox.switch(slow={"share_bps": 10_000, "ms": 600, "operations": ["refund"]})
    task = asyncio.create_task(refunds.run_once(world.parts))
    seen = await idle_in_transaction(world.stage.db, task, at_provider="refunds")
    assert seen.looks > 3
    assert seen.idle == 0
    await world.sandbox.switch()
    await world.rest()
    assert await world.verdict() == (3, 3)


async def test_the_same_number_is_sent_on_every_retry(world: Paying) -> None:
    refund = await world.refund(await world.standing(), 1)
    spy = Spy(world.client)
    await world.sandbox.switch(failing={"count": 5, "when": "after", "operations": ["refund"]})
    for _ in range(6):
        await world.due()
        await refunds.run_once(replace(world.parts, provider=spy))
    assert set(spy.calls) == {f"refund {refund.id}"}
    assert spy.calls[f"refund {refund.id}"] == 6
    await world.rest()
    assert await world.verdict() == (1, 1)


async def test_units_wait_for_a_shard_that_is_reopening(world: Paying) -> None:
    order_id = await world.standing()
    await world.refund(order_id, 1)
    await world.stage.wire.call("HSET", "{s0}:meta", "sealed", "test")
    await refunds.run_once(world.parts)
    assert await states(world) == "done"
    async with world.stage.db.begin() as session:
        units = await session.execute(text("SELECT units, state FROM orders"))
        assert tuple(units.one()) == (1, "refunded")
    await world.rest()
    assert await world.stage.scalar("SELECT units FROM orders") == 0
    assert await world.verdict() == (1, 1)
