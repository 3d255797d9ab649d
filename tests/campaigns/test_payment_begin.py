"""Beginning a payment: one page per claim, however often and by how many it is asked for."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from campaigns.payment.service import notification_of, record_payment
from engine.db import Database
from engine.errors import KaituanError
from tests.sandbox import SandboxServer, running_sandbox
from tests.workers.paying import Door, Paying, open_paying


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest_asyncio.fixture
async def opened(
    db: Database, hot: Redis, valkey_url: str, sandbox: SandboxServer
) -> AsyncIterator[tuple[Paying, Door]]:
    async with open_paying(db, valkey_url, sandbox) as opened:
        yield opened


@pytest.fixture
def world(opened: tuple[Paying, Door]) -> Paying:
    return opened[0]


async def refusal(world: Paying, claim_id: str, buyer: str = "b1") -> tuple[int, str]:
    with pytest.raises(KaituanError) as caught:
        await world.begin(claim_id, buyer)
    return caught.value.status, caught.value.code


async def states(world: Paying) -> object:
    sql = "SELECT string_agg(state || ':' || reason, ' ' ORDER BY state) FROM payment_attempts"
    return await world.stage.scalar(sql)


async def test_the_page_says_where_how_much_and_until_when(world: Paying) -> None:
    claim_id = await world.bought(qty=2)
    page = await world.begin(claim_id)
    assert page.amount_fen == 2 * 990
    hot = await world.stage.inventory.claim_state(0, claim_id)
    assert (hot["state"], hot["attempt_id"]) == ("paying", page.attempt_id)
    assert hot["pay_expires_at_ms"] == str(page.pay_expires_at_ms)
    assert (await world.client.query(page.attempt_id)).state == "pending"
    assert await world.begin(claim_id) == page
    await world.stage.settle()
    assert await world.order(claim_id, "attempt_id") == page.attempt_id
    assert await world.begin(claim_id) == page
    assert await states(world) == "open:"


async def test_twenty_begins_at_once_are_one_attempt_at_the_provider(world: Paying) -> None:
    claim_id = await world.bought()
    pages = await asyncio.gather(*(world.begin(claim_id) for _ in range(20)))
    assert len(set(pages)) == 1
    known = 0
    async with world.stage.db.begin() as session:
        attempts = (await session.execute(text("SELECT id, state FROM payment_attempts"))).all()
    for attempt_id, state in attempts:
        at_provider = (await world.client.query(attempt_id)).state
        known += at_provider != "unknown"
        assert (state == "open") == (attempt_id == pages[0].attempt_id)
    assert known == 1
    await world.pay(pages[0])
    await world.rest()
    assert await world.verdict() == (1, 0)


async def test_strangers_and_strange_ids_find_nothing(world: Paying) -> None:
    claim_id = await world.bought("b1")
    missing = (404, "claim_not_found")
    assert await refusal(world, claim_id, "b2") == missing
    for strange in ("", "x", "clm-s0-e1-999-0123456789abcdef", "clm-s77-e1-1-0123456789abcdef"):
        assert await refusal(world, strange) == missing
    assert await states(world) is None


async def test_a_claim_is_payable_once_its_order_is_written(world: Paying) -> None:
    offer = await world.stage.offer(5)
    claim_id = (await world.stage.claim(offer, "b1")).details[0]
    assert await refusal(world, claim_id) == (409, "not_ordered")
    assert await refusal(world, claim_id, "b2") == (404, "claim_not_found")
    await world.stage.settle()
    await world.begin(claim_id)


async def test_what_was_paid_or_released_is_not_paid_again(world: Paying) -> None:
    paid = await world.paid("b1")
    await world.rest()
    assert await refusal(world, paid) == (409, "not_payable")
    lapsed = await world.bought("b2")
    await world.stage.wire.call("ZADD", "{s0}:deadlines", 1, lapsed)
    await world.stage.inventory.sweep(0, 10)  # the row says open, the script knows better
    assert await refusal(world, lapsed, "b2") == (409, "not_payable")
    assert await states(world) == "paid: void:refused"
    await world.stage.settle()
    assert await refusal(world, lapsed, "b2") == (409, "not_payable")
    assert await world.verdict() == (1, 0)


async def test_a_payment_that_is_recorded_but_not_settled_is_not_begun_again(
    world: Paying,
) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.pay(page, "lost")
    status = await world.client.query(page.attempt_id)
    assert status.payment is not None
    await record_payment(
        world.parts.db,
        notification_of(page.attempt_id, status.payment),
        provider_name="sandbox",
        source="query",
    )
    assert await world.order(claim_id, "state") == "open"
    assert await refusal(world, claim_id) == (409, "not_payable")
    await world.rest()
    assert await world.verdict() == (1, 0)


@pytest.mark.parametrize("how", ["500", "429", "closed"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_provider_without_an_answer_keeps_the_units_for_a_repeat(
    world: Paying, how: str, when: str
) -> None:
    claim_id = await world.bought()
    await world.sandbox.switch(
        failing={"count": 1, "how": how, "when": when, "operations": ["prepay"]}
    )
    assert await refusal(world, claim_id) == (503, "provider_unreachable")
    assert (await world.stage.inventory.claim_state(0, claim_id))["state"] == "paying"
    page = await world.begin(claim_id)
    await world.pay(page)
    await world.rest()
    assert await world.verdict() == (1, 0)
    assert await states(world) == "paid:"


async def test_a_slow_provider_is_unreachable_and_the_repeat_finds_its_work(
    world: Paying,
) -> None:
    claim_id = await world.bought()
    await world.sandbox.switch(slow={"share_bps": 10_000, "ms": 700, "operations": ["prepay"]})
    async with world.sandbox.client(timeout_ms=200) as hasty:
        with pytest.raises(KaituanError, match="provider_unreachable"):
            await world.begin(claim_id, provider=hasty)
    await world.sandbox.switch()
    await world.pay(await world.begin(claim_id))
    await world.rest()
    assert await world.verdict() == (1, 0)


async def test_after_its_time_the_page_is_not_given_any_more(world: Paying) -> None:
    claim_id = await world.bought()
    await world.begin(claim_id)
    await world.expire()
    assert await refusal(world, claim_id) == (409, "pay_expired")


async def test_what_the_provider_refuses_the_watch_finds_out(world: Paying) -> None:
    """The attempt was closed there, and a crash came before the receipt was kept."""
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.client.close(page.attempt_id)
    await world.run("UPDATE payment_attempts SET pay_url = ''")  # as if the answer had been lost
    assert await refusal(world, claim_id) == (409, "not_payable")
    await world.rest(all_attempts=True)
    assert await states(world) == "closed:expired"
    assert await world.order(claim_id, "state") == "released"
    assert await world.verdict() == (0, 0)


async def test_while_the_shard_reopens_nothing_is_sent_and_the_repeat_goes_on(
    world: Paying,
) -> None:
    claim_id = await world.bought()
    await world.stage.wire.call("HSET", "{s0}:meta", "sealed", "test")
    assert await refusal(world, claim_id) == (503, "reopening")
    assert await states(world) == "begun:"
    await world.stage.settle()  # reopens under a new epoch
    page = await world.begin(claim_id)
    assert await states(world) == "open:"
    await world.pay(page)
    await world.rest()
    assert await world.verdict() == (1, 0)


async def test_no_lease_for_sending_is_given_once_the_attempt_is_taken_back(
    world: Paying,
) -> None:
    claim_id = await world.bought()
    settings = msgspec.structs.replace(world.parts.settings, lease_ms=1)
    await world.sandbox.switch(failing={"count": 1, "operations": ["prepay"]})
    with pytest.raises(KaituanError, match="provider_unreachable"):
        await world.begin(claim_id, settings=settings)
    await world.run("UPDATE payment_attempts SET reason = 'voiding'")
    assert await refusal(world, claim_id) == (409, "pay_expired")
    attempt_id = await world.attempt(claim_id, "id")
    assert (await world.client.query(attempt_id)).state == "unknown"
