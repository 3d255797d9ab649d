"""The watch under pressure: leases, two at once, a silent provider, a prepay that slips in."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.payment.attempts import BEGUN_KEEP_MS, repeat_begin
from engine.db import Database
from engine.errors import Unavailable
from engine.ids import now_ms
from tests.conftest import DbUrls
from tests.sandbox import SandboxServer, running_sandbox
from tests.workers.paying import Paying, open_paying
from tests.workers.provider_spy import Spy, idle_in_transaction
from workers import pay_watch


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


async def unsent(world: Paying, buyer: str = "b1") -> str:
    """A claim that is paying while the provider has never heard of its attempt."""
    claim_id = await world.bought(buyer)
    await world.sandbox.switch(failing={"count": 1, "operations": ["prepay"]})
    with pytest.raises(Unavailable, match="provider_unreachable"):
        await world.begin(claim_id, buyer)
    return claim_id


async def test_nothing_is_closed_before_its_time(world: Paying) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    assert await pay_watch.run_once(world.parts) == 0
    await world.run("UPDATE payment_attempts SET next_at_ms = 1")  # somebody asks early
    assert await pay_watch.run_once(world.parts) == 1
    assert await world.attempt(claim_id) == "open"
    assert await world.attempt(claim_id, "next_at_ms") == page.pay_expires_at_ms
    assert (await world.client.query(page.attempt_id)).state == "pending"


async def test_two_watches_at_once_ask_for_each_attempt_once(
    world: Paying, db_urls: DbUrls
) -> None:
    for n in range(6):
        await world.begin(await world.bought(f"b{n}"), f"b{n}")
    await world.expire()
    spy = Spy(world.client)
    few = msgspec.structs.replace(world.parts.settings, outside_batch_max=2)
    other = Database(db_urls.app)
    try:
        crowd = [
            replace(world.parts, provider=spy, settings=few, db=db)
            for db in (world.parts.db, other) * 4
        ]
        counts = await asyncio.gather(*(pay_watch.run_once(parts) for parts in crowd))
    finally:
        await other.close()
    assert sum(counts) == 6
    assert sorted(spy.calls.values()) == [1] * 12  # one query and one close each
    await world.rest(all_attempts=True)
    assert await world.stage.scalar("SELECT held FROM offers LIMIT 1") == 0
    assert await world.verdict() == (0, 0)


@pytest.mark.parametrize("theft", ["expired", "taken by another worker"])
@pytest.mark.parametrize("at", ["query", "close"])
async def test_a_lease_that_ended_under_way_changes_nothing(
    world: Paying, theft: str, at: str
) -> None:
    claim_id = await world.bought()
    await world.begin(claim_id)
    await world.expire()
    sql = "UPDATE payment_attempts SET lease_until_ms = " + (
        "1" if theft == "expired" else "lease_until_ms + 5"
    )

    async def steal(name: str) -> None:
        if name == at:
            await world.run(sql)

    await pay_watch.run_once(replace(world.parts, provider=Spy(world.client, after=steal)))
    assert await world.attempt(claim_id) == "open"
    assert (await world.stage.inventory.claim_state(0, claim_id))["state"] == "paying"
    await world.rest(all_attempts=True)
    assert await world.attempt(claim_id) == "closed"
    assert await world.verdict() == (0, 0)


async def test_no_transaction_is_open_while_the_provider_is_asked(world: Paying) -> None:
    claims = [await world.bought(f"b{n}") for n in range(3)]
    await world.sandbox.switch(slow={"share_bps": 10_000, "ms": 500})

    async def slow() -> None:
        begins = (world.begin(claim_id, f"b{n}") for n, claim_id in enumerate(claims))
        await asyncio.gather(*begins)
        await world.expire()
        assert await pay_watch.run_once(world.parts) == 3

    task = asyncio.create_task(slow())
    seen = await idle_in_transaction(world.stage.db, task, at_provider="payment_attempts")
    assert seen.looks > 10
    assert seen.idle == 0
    await world.sandbox.switch()
    await world.rest(all_attempts=True)
    assert await world.verdict() == (0, 0)


async def test_no_answer_keeps_the_unit_and_raises_an_alarm(world: Paying) -> None:
    claim_id = await world.bought()
    await world.begin(claim_id)
    await world.expire()
    await world.sandbox.switch(failing={"count": 10_000, "operations": ["query", "close"]})
    for _ in range(world.parts.settings.outside_tries_alarm):
        await world.due()
        await pay_watch.run_once(world.parts)
    alarm = "SELECT kind || '/' || (resolved_at_ms IS NULL) FROM incidents"
    assert await world.stage.scalar(alarm) == "payment_not_closed/true"
    assert await world.attempt(claim_id, "state || last_error") == "openprovider_unreachable"
    assert (await world.stage.inventory.claim_state(0, claim_id))["state"] == "paying"
    await world.sandbox.switch()
    await world.rest(all_attempts=True)
    assert await world.stage.scalar(alarm) == "payment_not_closed/false"
    assert await world.order(claim_id, "state") == "released"
    assert await world.verdict() == (0, 0)


async def test_a_close_without_an_answer_is_found_closed(world: Paying) -> None:
    claim_id = await world.bought()
    await world.begin(claim_id)
    await world.expire()
    await world.sandbox.switch(failing={"count": 1, "when": "after", "operations": ["close"]})
    await pay_watch.run_once(world.parts)
    assert await world.attempt(claim_id) == "open"
    await world.rest(all_attempts=True)
    assert await world.attempt(claim_id) == "closed"
    assert await world.verdict() == (0, 0)


async def test_paid_in_the_moment_of_its_close(world: Paying) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.expire()

    async def pays(name: str) -> None:
        if name == "query":
            await world.pay(page, "lost")

    await pay_watch.run_once(replace(world.parts, provider=Spy(world.client, after=pays)))
    assert await world.stage.scalar("SELECT source FROM payment_facts") == "close"
    await world.rest()
    assert await world.order(claim_id, "state") == "paid"
    assert await world.verdict() == (1, 0)


async def test_unknown_there_is_a_receipt_only_when_nothing_can_be_on_its_way(
    world: Paying,
) -> None:
    claim_id = await unsent(world)
    await world.run("UPDATE payment_attempts SET pay_expires_at_ms = 1, next_at_ms = 1")
    assert await pay_watch.run_once(world.parts) == 1
    send_until = await world.attempt(claim_id, "send_until_ms")
    assert send_until > now_ms()
    assert await world.attempt(claim_id, "next_at_ms") == send_until + 1
    assert await world.attempt(claim_id, "state || reason") == "open"
    await world.expire()
    await world.rest(all_attempts=True)
    assert await world.attempt(claim_id, "state || '/' || reason") == "void/unknown"
    assert await world.order(claim_id, "state || '/' || reason") == "released/void"
    assert await world.verdict() == (0, 0)


async def test_a_prepay_that_slips_in_between_two_queries_is_closed(world: Paying) -> None:
    claim_id = await unsent(world)
    attempt_id = await world.attempt(claim_id, "id")
    await world.expire()

    async def slips_in(name: str) -> None:
        if spy.calls[f"query {attempt_id}"] == 1 and name == "query":
            url = world.parts.settings.public_url + "/v1/payments/callback"
            await world.client.prepay(attempt_id, 990, "?", now_ms() + 60_000, url)

    spy = Spy(world.client, after=slips_in)
    await pay_watch.run_once(replace(world.parts, provider=spy))
    assert spy.calls == {f"query {attempt_id}": 2, f"close {attempt_id}": 1}
    assert await world.attempt(claim_id) == "closed"
    assert (await world.client.query(attempt_id)).state == "closed"
    await world.rest(all_attempts=True)
    assert await world.verdict() == (0, 0)


async def test_a_silent_second_query_leaves_the_unit_where_it_is(world: Paying) -> None:
    claim_id = await unsent(world)
    await world.expire()

    async def fails_next(name: str) -> None:
        await world.sandbox.switch(failing={"count": 1, "operations": ["query"]})

    spy = Spy(world.client, after=fails_next)
    await pay_watch.run_once(replace(world.parts, provider=spy))
    assert await world.attempt(claim_id, "state || '/' || reason") == "open/voiding"
    assert (await world.stage.inventory.claim_state(0, claim_id))["state"] == "paying"
    await world.rest(all_attempts=True)
    assert await world.attempt(claim_id, "state || '/' || reason") == "void/unknown"
    assert await world.order(claim_id, "state") == "released"


async def test_a_begin_that_was_left_is_voided_after_a_while(world: Paying) -> None:
    claim_id = await world.bought()
    await world.stage.wire.call("HSET", "{s0}:meta", "sealed", "test")
    with pytest.raises(Unavailable, match="reopening"):
        await world.begin(claim_id)
    assert await pay_watch.run_once(world.parts) == 0
    due_in = await world.attempt(claim_id, "next_at_ms - created_at_ms")
    assert due_in == BEGUN_KEEP_MS
    await world.stage.settle()
    await world.due()
    assert await pay_watch.run_once(world.parts) == 1
    assert await world.attempt(claim_id, "state || '/' || reason") == "void/begun"
    # Its script never ran, so the claim is still held and can be paid by another attempt.
    await world.pay(await world.begin(claim_id))
    await world.rest()
    assert await world.verdict() == (1, 0)


async def test_an_open_attempt_whose_claim_is_gone_is_taken_back_at_once(world: Paying) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.stage.wire.call("HSET", f"{{s0}}:claim:{claim_id}", "state", "released")
    assert await repeat_begin(world.parts.db, world.parts.inventory, page.attempt_id) == "released"
    assert await world.attempt(claim_id, "reason") == "voiding"
    assert await pay_watch.run_once(world.parts) == 1  # long before its time to pay is over
    assert await world.attempt(claim_id) == "closed"
