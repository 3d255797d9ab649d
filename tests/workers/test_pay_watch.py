"""Every way a payment can go wrong ends as declared, and the provider's bill is the witness."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.payment.provider import ProviderRefused
from campaigns.payment.service import record_bill
from engine.db import Database
from engine.errors import Conflict
from tests.sandbox import SandboxServer, pay, running_sandbox
from tests.waiting import eventually
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


@pytest.fixture
def door(opened: tuple[Paying, Door]) -> Door:
    return opened[1]


async def test_an_honest_payment_stands(world: Paying, door: Door) -> None:
    claim_id = await world.paid()
    await eventually(lambda: door.taken == 1)
    await world.rest()
    assert await world.order(claim_id, "state || '/' || claim_state") == "paid/paid"
    assert await world.fact(claim_id) == "ok/paid"
    assert await world.attempt(claim_id) == "paid"
    assert await world.verdict() == (1, 0)


async def test_a_delayed_callback_is_not_late(world: Paying, door: Door) -> None:
    await world.sandbox.switch(delayed={"share_bps": 10_000, "ms": 300})
    claim_id = await world.paid()
    assert await world.order(claim_id, "state") == "open"
    await eventually(lambda: door.taken == 1)
    await world.rest()
    assert await world.fact(claim_id) == "ok/paid"
    assert await world.verdict() == (1, 0)


async def test_a_lost_callback_is_found_by_the_query(world: Paying, door: Door) -> None:
    claim_id = await world.paid("b1", "lost")
    await world.expire()
    await world.rest(all_attempts=True)
    assert door.taken == 0
    assert await world.stage.scalar("SELECT source FROM payment_facts") == "query"
    assert await world.order(claim_id, "state") == "paid"
    assert await world.verdict() == (1, 0)


async def test_a_doubled_callback_is_one_fact(world: Paying, door: Door) -> None:
    claim_id = await world.paid("b1", "doubled")
    await eventually(lambda: door.taken == 2)
    await world.rest()
    assert await world.fact(claim_id) == "ok/paid"
    assert await world.verdict() == (1, 0)


async def test_forged_callbacks_are_refused_without_a_trace(world: Paying, door: Door) -> None:
    claim_id = await world.paid("b1", "forged")
    await eventually(lambda: door.refused == 3 and door.taken == 1)
    await world.rest()
    kinds = {one["kind"]: one["state"] for one in await world.sandbox.get(
        f"/notices/{await world.attempt(claim_id, 'id')}"
    )}  # fmt: skip
    assert set(kinds.values()) == {"refused", "delivered"}
    assert await world.verdict() == (1, 0)


async def test_callbacks_out_of_order(world: Paying, door: Door) -> None:
    first = await world.paid("b1", "out_of_order")
    second = await world.paid("b2")
    await eventually(lambda: door.taken == 2)
    await world.rest()
    assert await world.fact(first) == await world.fact(second) == "ok/paid"
    assert await world.verdict() == (2, 0)


@pytest.mark.parametrize(
    ("wrong", "verdict"),
    [
        ({"delta_fen": -1}, "wrong_amount"),
        ({"delta_fen": 1}, "wrong_amount"),
        ({"delta_fen": 0, "currency": "USD"}, "wrong_currency"),
    ],
)
async def test_a_wrong_payment_is_refunded_and_its_claim_released(
    world: Paying, door: Door, wrong: dict[str, object], verdict: str
) -> None:
    await world.sandbox.switch(wrong_amount={"share_bps": 10_000, **wrong})
    claim_id = await world.paid()
    await eventually(lambda: door.taken == 1)
    await world.rest(all_attempts=True)
    assert await world.fact(claim_id) == f"{verdict}/refused"
    assert await world.order(claim_id, "state || '/' || reason") == f"released/{verdict}"
    assert await world.verdict() == (1, 1)


async def test_an_unpaid_attempt_is_closed_and_its_unit_comes_back(world: Paying) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.expire()
    await world.rest(all_attempts=True)
    assert await world.attempt(claim_id) == "closed"
    assert await world.order(claim_id, "state || '/' || reason") == "released/closed"
    assert (await pay(page.pay_url)).json()["code"] == "CLOSED"
    assert await world.stage.scalar("SELECT held + sold FROM offers") == 0
    with pytest.raises(Conflict, match="not_payable"):
        await world.begin(claim_id)
    assert await world.verdict() == (0, 0)


async def test_a_payment_after_its_close_is_late_and_refunded(world: Paying, door: Door) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.expire()
    await world.rest(all_attempts=True)
    await world.pay(page, "paid_after_close")
    await eventually(lambda: door.taken == 1)
    await world.rest()
    assert await world.fact(claim_id) == "ok/late"
    assert await world.order(claim_id, "state") == "released"
    assert await world.verdict() == (1, 1)


async def test_a_payment_after_its_close_retakes_where_the_offer_says_so(
    world: Paying, door: Door
) -> None:
    claim_id = await world.bought(late="retake")
    page = await world.begin(claim_id)
    await world.expire()
    await world.rest(all_attempts=True)
    await world.pay(page, "paid_after_close")
    await eventually(lambda: door.taken == 1)
    await world.rest()
    assert await world.fact(claim_id) == "ok/paid"
    assert await world.order(claim_id, "state || '/' || claim_state") == "paid/paid"
    assert await world.verdict() == (1, 0)


async def test_a_callback_for_nothing_we_know_is_refunded(world: Paying, door: Door) -> None:
    notify_url = world.parts.settings.public_url + "/v1/payments/callback"
    prepay = await world.client.prepay("att_stranger", 700, "?", 2**40 * 2, notify_url)
    await pay(prepay.pay_url)
    await eventually(lambda: door.taken == 1)
    await world.rest()
    facts = "SELECT verdict || '/' || outcome FROM payment_facts"
    assert await world.stage.scalar(facts) == "unknown_claim/unknown"
    assert await world.verdict() == (1, 1)


async def test_a_claim_no_shard_knows_any_more_is_refunded(world: Paying, door: Door) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.expire()
    await world.rest(all_attempts=True)
    await world.stage.wire.call("DEL", f"{{s0}}:claim:{claim_id}")  # its keeping time is over
    await world.pay(page, "paid_after_close")
    await eventually(lambda: door.taken == 1)
    await world.rest()
    assert await world.fact(claim_id) == "ok/unknown"
    assert await world.stage.scalar("SELECT cause FROM refunds") == "unknown_claim"
    assert await world.verdict() == (1, 1)


async def test_a_second_payment_for_one_claim_is_refunded(world: Paying, door: Door) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.pay(page)
    await eventually(lambda: door.taken == 1)
    await world.rest()
    # An attempt of the same claim that the provider, against all rules, could still take.
    await world.run(
        "INSERT INTO payment_attempts SELECT 'att_second', claim_id, order_id, shard, amount_fen,"
        " 'closed', 'expired', '', created_at_ms, pay_expires_at_ms, 0, 0, 1, 0, '', 1, 1, NULL"
        " FROM payment_attempts"
    )
    notify_url = world.parts.settings.public_url + "/v1/payments/callback"
    prepay = await world.client.prepay("att_second", 990, "?", 2**40 * 2, notify_url)
    await pay(prepay.pay_url)
    await eventually(lambda: door.taken == 2)
    await world.rest()
    assert await world.fact(claim_id) == "ok/paid ok/refused"
    assert await world.stage.scalar("SELECT cause FROM refunds") == "second_payment"
    assert await world.order(claim_id, "state") == "paid"
    assert await world.verdict() == (2, 1)


async def test_what_nobody_told_is_found_on_the_bill(world: Paying, door: Door) -> None:
    """Closed there, paid all the same, and the callback lost."""
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.expire()
    await world.rest(all_attempts=True)
    await world.pay(page, "paid_after_close", "lost")
    await world.rest()
    assert await world.fact(claim_id) is None
    parts, period = world.parts, world.period
    with pytest.raises(ProviderRefused, match="PERIOD_OPEN"):
        await record_bill(parts.db, parts.provider, period, provider_name="sandbox")
    world.period = await world.client.close_period(period)
    world.earlier = (await world.client.bill(period)).rows
    found = await record_bill(parts.db, parts.provider, period, provider_name="sandbox")
    assert len(found) == 1
    assert not await record_bill(parts.db, parts.provider, period, provider_name="sandbox")
    await world.rest()
    assert await world.fact(claim_id) == "ok/late"
    assert door.taken == 0
    assert await world.verdict() == (1, 1)
