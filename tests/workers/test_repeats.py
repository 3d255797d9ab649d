"""What was committed is carried on until a settled event says it is applied, and not beyond."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.payment.service import apply_fact, notification_of, record_payment
from engine.db import Database
from tests.sandbox import SandboxServer, running_sandbox
from tests.waiting import eventually
from tests.workers.paying import Door, Paying, open_paying
from workers import refunds
from workers.loop import Parts
from workers.repeats import Repeats


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


async def hot_state(world: Paying, claim_id: str) -> str:
    return (await world.stage.inventory.claim_state(0, claim_id)).get("state", "none")


async def recorded(world: Paying, buyer: str = "b1") -> tuple[str, str]:
    """A claim and the fact of its payment, of which no shard has heard."""
    claim_id = await world.bought(buyer)
    page = await world.begin(claim_id, buyer)
    await world.pay(page, "lost")
    payment = (await world.client.query(page.attempt_id)).payment
    assert payment is not None
    told = notification_of(page.attempt_id, payment)
    fact = await record_payment(world.parts.db, told, provider_name="sandbox", source="query")
    return claim_id, fact


def of(parts: Parts, **settings: Any) -> Repeats:
    changed = msgspec.structs.replace(parts.settings, **settings)
    return Repeats(replace(parts, settings=changed))


async def test_callbacks_are_taken_while_the_shard_is_reopening(
    world: Paying, opened: tuple[Paying, Door]
) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.stage.wire.call("HSET", "{s0}:meta", "sealed", "test")
    await world.pay(page, "doubled")
    await eventually(lambda: opened[1].taken == 2)
    await Repeats(world.parts).run_once()
    assert await world.fact(claim_id) == "ok/-"
    await world.rest()
    assert await world.fact(claim_id) == "ok/paid"
    assert await world.verdict() == (1, 0)


@pytest.mark.parametrize("lost", ["claim.paying", "claim.paid", "payment.late", "claim.returned"])
async def test_an_event_lost_with_the_hot_store_is_said_again(world: Paying, lost: str) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    if lost == "claim.paid":
        await world.stage.settle()
        await world.pay(page)
        await eventually(lambda: world.stage.scalar("SELECT count(*) FROM payment_facts"))
    elif lost == "payment.late":
        await world.expire()
        await world.rest(all_attempts=True)
        await world.pay(page, "paid_after_close")
        await eventually(lambda: world.stage.scalar("SELECT count(*) FROM payment_facts"))
    elif lost == "claim.returned":
        await world.pay(page)
        await world.rest()
        await world.refund(str(await world.order(claim_id, "id")), 1)
        await refunds.run_once(world.parts)
    await world.stage.wire.call("FLUSHALL")
    await world.stage.settle()  # rebuilds from PostgreSQL under a new epoch
    assert await world.stage.scalar("SELECT epoch FROM shard_position") == 2
    if lost == "claim.paying":
        await Repeats(world.parts).run_once()
        await world.stage.settle()
        assert await world.order(claim_id, "claim_state") == "paying"
        await world.pay(page)
    await world.rest()
    expected = {"payment.late": (1, 1), "claim.returned": (1, 1)}.get(lost, (1, 0))
    assert await world.verdict() == expected


async def test_an_offer_command_whose_event_was_lost_runs_again(world: Paying) -> None:
    offer, _ = await world.stage.planned_offer(7)
    await Repeats(world.parts).run_once()
    await world.stage.wire.call("FLUSHALL")
    await world.stage.settle()
    assert await world.stage.scalar("SELECT state FROM offers") == "scheduled"
    await Repeats(world.parts).run_once()
    await world.stage.settle()
    assert await world.stage.scalar("SELECT state || total FROM offers") == "open7"
    assert (await world.stage.inventory.offer_state(0, offer.id))["available"] == "7"


async def test_a_rejected_claim_goes_back(world: Paying) -> None:
    offer = await world.stage.offer(1)
    await world.stage.wire.call("HINCRBY", f"{{s0}}:offer:{offer.id}", "available", 1)  # a bug
    await world.stage.claim(offer, "b1")
    claim_id = (await world.stage.claim(offer, "b2")).details[0]
    await world.stage.settle()
    assert await world.order(claim_id, "state || release_due") == "rejectedtrue"
    await Repeats(world.parts).run_once()
    assert await hot_state(world, claim_id) == "released"
    await world.stage.settle()
    assert await world.order(claim_id, "claim_state || release_due") == "releasedfalse"
    assert await world.stage.scalar("SELECT state FROM offers") == "frozen"


async def test_a_receipt_is_told_when_the_hot_store_is_back(world: Paying) -> None:
    claim_id = await world.bought()
    await world.begin(claim_id)
    await world.stage.settle()
    await world.run(
        "UPDATE payment_attempts SET state = 'closed', reason = 'expired', next_at_ms = 1"
    )
    await Repeats(world.parts).run_once()
    assert await hot_state(world, claim_id) == "released"
    await world.stage.settle()
    assert await world.order(claim_id, "reason") == "closed"
    assert await world.attempt(claim_id, "released_seq IS NOT NULL") is True
    assert await Repeats(world.parts).run_once() == 0


async def test_a_refused_attempt_is_no_receipt(world: Paying) -> None:
    claim_id = await world.bought()
    page = await world.begin(claim_id)
    await world.stage.settle()
    await world.run(
        "INSERT INTO payment_attempts SELECT 'att_other', claim_id, order_id, shard, amount_fen,"
        " 'void', 'refused', '', created_at_ms, NULL, 0, 0, 1, 0, '', NULL, NULL, NULL"
        " FROM payment_attempts"
    )
    assert await Repeats(world.parts).run_once() == 0
    assert await hot_state(world, claim_id) == "paying"
    await world.pay(page)
    await world.rest()
    assert await world.verdict() == (1, 0)


async def test_a_row_read_before_a_rebuild_is_not_repeated_after_it(world: Paying) -> None:
    claim_id, fact = await recorded(world)
    await world.stage.settle()
    await world.stage.wire.call("HSET", "{s0}:meta", "sealed", "test")
    await world.stage.settle()
    assert await world.stage.scalar("SELECT epoch FROM shard_position") == 2
    parts = world.parts
    assert await apply_fact(parts.db, parts.inventory, fact, epoch=1) == "reopening"
    assert await hot_state(world, claim_id) == "paying"
    assert await apply_fact(parts.db, parts.inventory, fact) == "paid"
    assert await apply_fact(parts.db, parts.inventory, fact) == "done"
    await world.stage.settle()
    assert await apply_fact(parts.db, parts.inventory, fact) == "done"
    assert await world.verdict() == (1, 0)


async def test_rows_that_stay_do_not_stand_in_the_way_of_others(world: Paying) -> None:
    claims = [(await recorded(world, f"b{n}"))[0] for n in range(5)]
    repeats = of(world.parts, outside_batch_max=2)
    for expected in (2, 4, 5):  # nothing is settled in between, so all five rows stay
        await repeats.run_once()
        states = [await hot_state(world, claim_id) for claim_id in claims]
        assert states.count("paid") == expected
    await repeats.run_once()  # and the walk begins again at the front
    await world.rest()
    assert await world.verdict() == (5, 0)


async def test_what_is_fresh_is_left_to_whoever_wrote_it(world: Paying) -> None:
    await recorded(world)
    assert await of(world.parts, repeat_after_ms=60_000).run_once() == 0
    assert await Repeats(world.parts).run_once() >= 1


async def test_units_that_can_never_come_back_raise_an_alarm_once(world: Paying) -> None:
    order_id = await world.standing()
    await world.refund(order_id, 1)
    claim = f"{{s0}}:claim:{await world.stage.scalar('SELECT claim_id FROM orders')}"
    await world.stage.wire.call("HSET", claim, "units", 0)  # planted damage
    await refunds.run_once(world.parts)
    repeats = Repeats(world.parts)
    for _ in range(3):
        await repeats.run_once()
    alarms = "SELECT string_agg(kind || '/' || (detail ->> 'reply'), ' ') FROM incidents"
    assert await world.stage.scalar(alarms) == "not_applied/too_many"
