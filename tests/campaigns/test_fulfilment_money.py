"""From the sale to the counter with settler, provider and ledger at work: stock and money agree."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.fulfilment.codes import PickUpCodes
from campaigns.fulfilment.pick_up import choose_store, hand_over
from campaigns.fulfilment.ready import make_ready
from campaigns.fulfilment.schemas import ReadyIn, ReadyOut
from campaigns.fulfilment.views import view
from campaigns.people.models import Guide, GuideTerm, Store
from engine.db import Database
from engine.errors import Conflict
from engine.settings import Settings
from engine.tokens import Access
from tests.sandbox import SandboxServer, running_sandbox
from tests.workers.paying import Paying, open_paying
from tests.workers.seats import joined, opened, sits, team_offer

HQ = Access("stf_hq", "hq", "", "k1", 2**53)
GUIDE = Access("stf_g", "guide", "gd_counter", "k1", 2**53)


def customer(buyer_id: str) -> Access:
    return Access(buyer_id, "customer", "", "k1", 2**53)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest_asyncio.fixture
async def world(
    db: Database, hot: Redis, valkey_url: str, sandbox: SandboxServer
) -> AsyncIterator[Paying]:
    async with open_paying(db, valkey_url, sandbox) as (world, _):
        async with db.begin() as session:
            session.add(
                Store(id="counter", name="Counter", city="", address="", latitude=0, longitude=0)
            )
            session.add(Guide(id="gd_counter", name="Counter"))
            await session.flush()
            session.add(GuideTerm(guide_id="gd_counter", from_ms=0, store_id="counter"))
        yield world


@pytest.fixture
def codes(hot: Redis) -> PickUpCodes:
    return PickUpCodes(hot, Settings(token_secret="a secret for tests only"))


async def ready(world: Paying, offer_id: str) -> ReadyOut:
    wanted = ReadyIn(offer_id=offer_id, store_id="counter")
    return await make_ready(world.stage.db, HQ, wanted, batch_max=2)


async def test_a_regular_sale_to_the_counter_and_refunds_around_it(
    world: Paying, codes: PickUpCodes
) -> None:
    db, scalar = world.stage.db, world.stage.scalar
    claim_id = await world.paid(qty=2, kind="regular")
    await world.rest()
    order_id = str(await world.order(claim_id, "id"))
    await choose_store(db, codes, customer("b1"), order_id, "counter")
    assert (await ready(world, str(await world.order(claim_id, "offer_id")))).units == 2
    # One unit is asked back before the scan, and comes back on sale after it.
    await world.refund(order_id, 1, actor="b1", buyer_id="b1")
    shown = await view(db, codes, customer("b1"), order_id)
    assert shown.code is not None
    assert (await hand_over(db, codes, GUIDE, shown.code)).units == 1
    await world.rest()
    assert await scalar("SELECT state || units FROM orders") == "fulfilled1"
    assert await scalar("SELECT sold FROM offers") == 1
    # After it only money goes back, and no unit.
    with pytest.raises(Conflict, match="handed_over"):
        await world.refund(order_id, 1)
    await world.refund(order_id, 0, amount_fen=90)
    await world.rest()
    assert await scalar("SELECT state || units || refunded_fen FROM orders") == "fulfilled11080"
    await world.refund(order_id, 0, amount_fen=900)
    await world.rest()
    assert await scalar("SELECT state || units FROM orders") == "refunded1"
    assert await scalar("SELECT sold FROM offers") == 1
    assert await world.verdict() == (1, 3)


async def test_a_formed_team_s_orders_and_no_others(world: Paying, codes: PickUpCodes) -> None:
    stage = world.stage
    offer = await team_offer(stage, size=2)
    team_id, captain = await opened(stage, offer, "a1")
    friend = await joined(stage, offer, "a2", team_id)
    _, alone = await opened(stage, offer, "b1")
    unpaid = await sits(stage, offer, "c1")
    await stage.settle()
    for claim_id, buyer in ((captain, "a1"), (friend, "a2"), (alone, "b1"), (unpaid, "c1")):
        order_id = str(await world.order(claim_id, "id"))
        await choose_store(stage.db, codes, customer(buyer), order_id, "counter")
    said = await ready(world, offer.id)
    assert (said.orders, said.units, said.undecided) == (2, 2, 1)
    states = [await world.order(claim_id, "state") for claim_id in (captain, friend, alone, unpaid)]
    assert states == ["ready", "ready", "paid", "open"]
    for claim_id, buyer in ((captain, "a1"), (friend, "a2")):
        order_id = str(await world.order(claim_id, "id"))
        code = (await view(stage.db, codes, customer(buyer), order_id)).code
        assert code is not None
        assert (await hand_over(stage.db, codes, GUIDE, code)).order_id == order_id
        with pytest.raises(Conflict, match="already_handed_over"):
            await hand_over(stage.db, codes, GUIDE, code)
    waiting = await view(stage.db, codes, customer("b1"), str(await world.order(alone, "id")))
    assert (waiting.stands, waiting.code, waiting.expected_from_ms) == (False, None, None)
    assert "once its team is formed" in waiting.says
