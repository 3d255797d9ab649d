"""Asking for refunds: once per request, never more than was paid, by nobody else."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.refund.intents import refund_whole
from campaigns.refund.models import Refund
from engine.db import Database
from engine.errors import KaituanError
from engine.ids import new_id
from tests.sandbox import SandboxServer, running_sandbox
from tests.workers.paying import Paying, open_paying


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


async def refusal(world: Paying, order_id: str, units: int, **given: object) -> tuple[int, str]:
    with pytest.raises(KaituanError) as caught:
        await world.refund(order_id, units, **given)
    return caught.value.status, caught.value.code


async def test_units_for_their_price_by_the_buyer(world: Paying) -> None:
    order_id = await world.standing(qty=2)
    refund = await world.refund(order_id, 1, actor="b1", buyer_id="b1")
    assert (refund.amount_fen, refund.units, refund.state) == (990, 1, "due")
    assert await world.stage.scalar("SELECT state FROM orders") == "paid"
    rest = await world.refund(order_id, 1, actor="b1", buyer_id="b1")
    assert rest.amount_fen == 990
    assert await world.stage.scalar("SELECT state FROM orders") == "refunding"
    assert await world.stage.scalar("SELECT count(*) FROM audit_log") == 0
    await world.rest()
    assert await world.stage.scalar("SELECT state || '/' || claim_state FROM orders") == (
        "refunded/returned"
    )
    assert await world.verdict() == (1, 2)


async def test_a_price_only_refund_gives_no_unit_back_and_shrinks_the_last_one(
    world: Paying,
) -> None:
    order_id = await world.standing(qty=2)
    await world.refund(order_id, 0, amount_fen=300)
    assert await world.stage.scalar("SELECT actor || ' ' || action FROM audit_log") == (
        "hq refund.request"
    )
    await world.rest()
    assert await world.stage.scalar("SELECT units FROM orders") == 2
    assert (await world.refund(order_id, 1)).amount_fen == 990
    assert (await world.refund(order_id, 1)).amount_fen == 690
    await world.rest()
    assert await world.stage.scalar("SELECT state || refunded_fen FROM orders") == "refunded1980"
    assert await world.verdict() == (1, 3)


async def test_what_is_refused_changes_nothing(world: Paying) -> None:
    order_id = await world.standing(qty=2)
    assert await refusal(world, "ord-none", 1) == (404, "order_not_found")
    assert await refusal(world, order_id, 1, buyer_id="b2") == (404, "order_not_found")
    assert await refusal(world, order_id, 0) == (400, "refund_of_nothing")
    assert await refusal(world, order_id, -1) == (400, "refund_of_nothing")
    assert await refusal(world, order_id, 1, amount_fen=0) == (400, "refund_of_nothing")
    assert await refusal(world, order_id, 1, amount_fen=5, buyer_id="b1") == (
        400,
        "amount_not_yours",
    )
    assert await refusal(world, order_id, 3) == (409, "refund_exceeds_units")
    assert await refusal(world, order_id, 1, amount_fen=1_981) == (409, "refund_exceeds_paid")
    unpaid = await world.bought("b9")
    unpaid_id = str(await world.order(unpaid, "id"))
    assert await refusal(world, unpaid_id, 1) == (409, "not_refundable")
    assert await world.stage.scalar("SELECT count(*) FROM refunds") == 0
    await world.refund(order_id, 0, amount_fen=1_980)
    assert await refusal(world, order_id, 0, amount_fen=1) == (409, "refund_exceeds_paid")
    assert await refusal(world, order_id, 1) == (409, "refund_exceeds_paid")
    await world.rest()
    assert await refusal(world, order_id, 1) == (409, "not_refundable")
    assert await world.verdict() == (1, 1)


async def test_the_same_request_is_one_refund_and_another_content_is_refused(
    world: Paying,
) -> None:
    order_id = await world.standing(qty=2)
    asked = [world.refund(order_id, 1, request_id="r-1") for _ in range(20)]
    rows = await asyncio.gather(*asked)
    assert len({row.id for row in rows}) == 1
    assert await refusal(world, order_id, 2, request_id="r-1") == (422, "request_reused")
    assert await refusal(world, order_id, 1, request_id="r-1", amount_fen=5) == (
        422,
        "request_reused",
    )
    await world.rest()
    assert (await world.refund(order_id, 1, request_id="r-1")).state == "done"
    assert await world.verdict() == (1, 1)


async def test_requests_at_once_never_ask_for_more_than_was_paid(world: Paying) -> None:
    order_id = await world.standing(qty=2)
    draw = random.Random(7)
    codes: set[str] = set()

    async def ask() -> int:
        units = draw.randrange(3)
        amount = draw.randrange(1, 700) if units == 0 or draw.random() < 0.5 else None
        try:
            refund: Refund = await world.refund(
                order_id, units, amount_fen=amount, request_id=new_id("req")
            )
        except KaituanError as error:
            codes.add(error.code)
            return 0
        return refund.amount_fen

    asked = await asyncio.gather(*(ask() for _ in range(40)))
    assert 0 < sum(asked) <= 1_980
    assert codes <= {"refund_exceeds_units", "refund_exceeds_paid", "not_refundable"}
    assert await world.stage.scalar("SELECT sum(amount_fen) FROM refunds") == sum(asked)
    await world.rest()
    assert await world.stage.scalar("SELECT refunded_fen FROM orders") == sum(asked)
    left = "SELECT 2 - sum(units) FROM refunds"
    assert await world.stage.scalar("SELECT units FROM orders") == await world.stage.scalar(left)
    bill = await world.bill()
    assert sum(one.amount_fen for one in bill if one.kind == "refund") == sum(asked)


async def test_a_payment_has_at_most_fifty_refunds(world: Paying) -> None:
    order_id = await world.standing()
    for _ in range(50):
        await world.refund(order_id, 0, amount_fen=1)
    assert await refusal(world, order_id, 0, amount_fen=1) == (409, "too_many_refunds")
    await world.rest()
    assert await world.stage.scalar("SELECT refunded_fen FROM orders") == 50


async def _in_crowd(world: Paying, order_id: str, *, state: str, step: int = 1) -> None:
    """The order sits in a crowd, as the settler would write it."""
    run = world.stage.run
    await run(
        "INSERT INTO teams (id, shard, offer_id, campaign_id, version, kind, opener_id, captain_id,"
        " size, state, why, paid, subsidy, step, opened_at_ms, deadline_ms) SELECT 'tem_c', shard,"
        " offer_id, campaign_id, 1, 'crowd', '', '', 0, :state, '', 2, 0, :step, 1, 9 FROM orders"
        " WHERE id = :id ON CONFLICT (id) DO UPDATE SET state = :state, step = :step",
        state=state,
        step=step,
        id=order_id,
    )
    await run("UPDATE orders SET team_id = 'tem_c', seat = 'taken' WHERE id = :id", id=order_id)


async def test_nobody_leaves_a_reached_crowd_before_its_end(world: Paying) -> None:
    order_id = await world.standing(qty=2)
    await _in_crowd(world, order_id, state="forming", step=0)
    await world.refund(order_id, 1, actor="b1", buyer_id="b1", request_id="r-early")
    for state in ("reached", "closing"):
        await _in_crowd(world, order_id, state=state)
        assert await refusal(world, order_id, 1, buyer_id="b1") == (409, "crowd_reached")
    # A repeat of an earlier request keeps its answer, and HQ may.
    await world.refund(order_id, 1, actor="b1", buyer_id="b1", request_id="r-early")
    await world.refund(order_id, 0, amount_fen=10)
    await _in_crowd(world, order_id, state="formed")
    assert (await world.refund(order_id, 1, actor="b1", buyer_id="b1")).amount_fen == 980


async def test_after_its_difference_a_unit_is_worth_the_crowds_last_price(world: Paying) -> None:
    order_id = await world.standing(qty=2)
    await _in_crowd(world, order_id, state="formed")
    payment_id = await world.stage.scalar("SELECT payment_id FROM orders")
    async with world.parts.db.begin() as session:
        refund_whole(
            session,
            payment_id=str(payment_id),
            amount_fen=380,
            cause="crowd_difference",
            order_id=order_id,
        )
    await world.stage.run("UPDATE orders SET final_price_fen = 800 WHERE id = :id", id=order_id)
    assert (await world.refund(order_id, 1)).amount_fen == 800
    assert (await world.refund(order_id, 1, actor="b1", buyer_id="b1")).amount_fen == 800
    assert await refusal(world, order_id, 0, amount_fen=1) == (409, "refund_exceeds_paid")


async def test_what_stays_keeps_the_crowds_last_price(world: Paying) -> None:
    """A price-only refund is taken from the first unit that goes back, not from those that stay."""
    order_id = await world.standing(qty=2)
    await world.stage.run("UPDATE orders SET final_price_fen = 800 WHERE id = :id", id=order_id)
    await world.refund(order_id, 0, amount_fen=380)  # as the difference
    await world.refund(order_id, 0, amount_fen=100)
    assert (await world.refund(order_id, 1, actor="b1", buyer_id="b1")).amount_fen == 700
    assert (await world.refund(order_id, 1, actor="b1", buyer_id="b1")).amount_fen == 800
