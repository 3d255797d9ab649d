"""Sold out from memory: never stale, never said to a holder, and only what claim.lua would say."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest_asyncio
from redis import Redis

from campaigns.offer.models import Offer
from engine import keys
from engine.ids import new_nonce
from engine.scripts import load_all
from tests.waiting import eventually
from tests.workers.acts import add_command, held, restock
from tests.workers.memory import Process, plainly, process
from tests.workers.stage import Stage

Two = tuple[Process, Process]


@pytest_asyncio.fixture
async def two(stage: Stage, valkey_url: str) -> AsyncIterator[Two]:
    """Two API processes."""
    async with process(stage, valkey_url) as one, process(stage, valkey_url) as other:
        yield one, other


async def sold_out(stage: Stage, two: Two, units: int = 3, **changes: object) -> tuple[Offer, str]:
    """An offer whose units `b0`, `b1` … hold, as both processes remember; a claim of it."""
    offer = await stage.offer(units, **changes)
    claims = [await held(stage, offer, f"b{number}") for number in range(units)]
    for one in two:
        await one.remembers(offer)
    return offer, claims[0]


async def release(stage: Stage, offer: Offer, claim_id: str) -> None:
    reply = await stage.inventory.release(offer.shard, claim_id, attempt_id="", why="cancelled")
    assert reply.what == "released"


async def test_strangers_share_one_read(stage: Stage, two: Two) -> None:
    offer, _ = await sold_out(stage, two)
    one = two[0]
    before, writes = one.metrics.from_memory, one.inventory.wire.writes
    answers = await asyncio.gather(*(one.claim(offer, f"c{number}") for number in range(200)))
    assert {answer.what for answer in answers} == {"sold_out"}
    assert one.metrics.from_memory == before + 200
    assert one.inventory.wire.writes == writes + 1


async def test_a_released_unit_is_for_the_very_next_request(stage: Stage, two: Two) -> None:
    offer, claim_id = await sold_out(stage, two)
    await release(stage, offer, claim_id)
    assert (await two[1].claim(offer, "next")).what == "held"
    assert (await two[0].claim(offer, "late")).what == "sold_out"
    await restock(stage, offer, 1)
    assert (await two[0].claim(offer, "late")).what == "held"


async def test_a_read_that_began_before_is_not_shared(
    stage: Stage, two: Two, valkey_url: str
) -> None:
    """A unit comes free while the answer to an earlier look is still on its way."""
    offer, claim_id = await sold_out(stage, two)
    one = two[0]
    early = asyncio.create_task(one.claim(offer, "early"))
    writes = one.inventory.wire.writes
    while one.inventory.wire.writes == writes:
        await asyncio.sleep(0)
    time.sleep(0.05)  # noqa: ASYNC251 - the loop must not see the answer, which is there by now
    with Redis.from_url(valkey_url) as redis:
        script = load_all()["release"]
        own = stage.inventory._own(offer.shard, stage.epochs.of(offer.shard))
        given = {"claim_id": claim_id, "attempt_id": "", "why": "cancelled"}
        every = {**own, **given, "nonce": new_nonce()}
        command = script.command(**{name: every[name] for name in script.names})
        assert redis.execute_command(*command)[0] == b"released"
    late = await one.claim(offer, "late")
    assert ((await early).what, late.what) == ("sold_out", "held")


async def test_a_holder_is_never_told_sold_out(stage: Stage, two: Two) -> None:
    """Not the one whose claim the other process made a moment ago, and not one who let go."""
    offer, claim_id = await sold_out(stage, two)
    for number in range(30):
        await release(stage, offer, claim_id)
        buyer = f"next-{number}"
        first = await two[number % 2].claim(offer, buyer)
        again = await two[1 - number % 2].claim(offer, buyer)
        assert (first.what, again.what, again.body) == ("held", "stored", first.body)
        claim_id = first.body.split(b'"')[3].decode()
    for one in two:
        await one.rest()
        await one.remembers(offer)
        for buyer in ("b0", "next-0"):
            assert (await one.claim(offer, buyer)).what == (
                "stored" if buyer == "next-0" else "key_reused"
            )
            assert (await one.claim(offer, buyer, key="k-2")).what == "sold_out"


async def test_what_else_is_wrong_is_said_first(stage: Stage, two: Two) -> None:
    offer, _ = await sold_out(stage, two, per_order_max=9, per_buyer_max=5, per_campaign_max=7)
    one = two[0]
    for qty, price_id in ((1, "p1"), (5, "p1"), (6, "p1"), (8, "p1"), (10, "p1"), (1, "p0")):
        said = await one.claim(offer, "c", qty=qty, price_id=price_id)
        plain = await plainly(stage, offer, "c", qty=qty, price_id=price_id)
        assert said.what == plain.what, (qty, price_id)
    await stage.wire.call(
        "HSET", keys.offers(offer.shard) + offer.id, "prices", "p2|900|0 p1|990|0"
    )
    assert (await one.claim(offer, "c")).what == "price_changed"
    assert (await one.claim(offer, "c", price_id="p2")).what == "sold_out"
    command_id = await add_command(stage, offer, "close")
    await stage.inventory.offer_close(offer.shard, offer.id, command_id=command_id)
    assert (await one.claim(offer, "c", price_id="p2")).what == "closed"


async def test_whom_an_offer_is_not_for_is_told_so(stage: Stage, two: Two) -> None:
    offer = await stage.offer(1, audience="members")
    one = two[0]
    assert (await one.claim(offer, "b0", traits="m")).what == "held"
    await one.remembers(offer, "bm")
    assert (await one.claim(offer, "c", traits="b")).what == "not_for_you"
    assert (await one.claim(offer, "c", traits="m")).what == "sold_out"


async def test_a_settler_that_is_behind_is_said_first(stage: Stage, two: Two) -> None:
    offer, claim_id = await sold_out(stage, two)
    await release(stage, offer, claim_id)
    await held(stage, offer, "c")
    await two[0].rest()
    await two[0].remembers(offer)
    await stage.wire.call("HSET", keys.meta(offer.shard), "waits_since_ms", "1")
    assert (await two[0].claim(offer, "d")).what == "busy"
    await stage.settle()
    assert (await two[0].claim(offer, "d")).what == "sold_out"


async def test_while_somebody_waits_strangers_are_refused(stage: Stage, two: Two) -> None:
    offer, claim_id = await sold_out(stage, two)
    await release(stage, offer, claim_id)
    await stage.wire.call("HSET", keys.offers(offer.shard) + offer.id, "waiting", "1")
    assert (await two[0].claim(offer, "c")).what == "sold_out"
    await two[0].remembers(offer)
    assert (await plainly(stage, offer, "c")).what == "sold_out"
    await stage.wire.call("HSET", keys.offers(offer.shard) + offer.id, "waiting", "0")
    assert (await two[0].claim(offer, "c")).what == "held"


async def test_who_let_go_is_known_after_a_rebuild(stage: Stage, two: Two) -> None:
    offer, claim_id = await sold_out(stage, two, 2)
    await release(stage, offer, claim_id)
    first = await two[0].claim(offer, "gone")
    await release(stage, offer, first.body.split(b'"')[3].decode())
    assert (await two[0].claim(offer, "c")).what == "held"
    await stage.settle()
    await stage.wire.call("FLUSHALL")
    await stage.settle()
    for one in two:
        await one.knows(offer, 2)
        await one.remembers(offer)
        again = await one.claim(offer, "gone")
        assert (again.what, again.body) == ("stored", first.body)


async def test_a_set_of_another_epoch_is_not_taken_for_this_one(stage: Stage, two: Two) -> None:
    """As many buyers, and other ones: what a store lost, others have claimed anew."""
    offer = await stage.offer(2)
    await held(stage, offer, "b0")
    await stage.settle()
    await held(stage, offer, "lost")
    await two[0].remembers(offer)
    await stage.wire.call("FLUSHALL")
    await stage.settle()
    await two[0].knows(offer, 2)
    first = await two[1].claim(offer, "new")
    assert first.what == "held"
    again = await two[0].claim(offer, "new")
    assert (again.what, again.body) == ("stored", first.body)
    assert (await two[0].claim(offer, "lost")).what == "sold_out"


async def test_too_many_holders_are_not_kept(stage: Stage, valkey_url: str) -> None:
    offer = await stage.offer(6)
    for number in range(6):
        await held(stage, offer, f"b{number}")
    small = await stage.offer_beside(offer, 3)
    async with process(stage, valkey_url, holders_max=5) as one:
        for _ in range(20):
            assert (await one.claim(offer, "stranger")).what == "sold_out"
            await one.rest()
        assert (one.metrics.from_memory, offer.id in one.memory.offers) == (0, False)
        for number in range(3):
            await held(stage, small, f"b{number}")
        await one.remembers(small)  # which another one's size does not hinder


async def test_older_sets_make_room(stage: Stage, valkey_url: str) -> None:
    offers = [await stage.offer(3)]
    offers += [await stage.offer_beside(offers[0], 3) for _ in range(2)]
    for offer in offers:
        for number in range(3):
            await held(stage, offer, f"b{number}-{offer.id}")
    async with process(stage, valkey_url, holders_max=5, offers_max=2) as one:
        for offer in offers:
            await one.rest()
            await one.remembers(offer)
            kept = [known.holders for known in one.memory._known.values() if known.holders]
            assert sum(len(holders) for holders in kept) <= 5
            assert len(one.memory._known) <= 2
        for offer in offers * 2:
            assert (await one.claim(offer, "c")).what == "sold_out"


async def test_who_shares_a_read_is_answered_when_its_asker_is_cancelled(
    stage: Stage, two: Two
) -> None:
    offer, _ = await sold_out(stage, two)
    asking = asyncio.create_task(two[0].claim(offer, "c0"))
    sharing = [asyncio.create_task(two[0].claim(offer, f"c{n}")) for n in (1, 2)]
    await asyncio.sleep(0)
    asking.cancel()
    assert [answer.what for answer in await asyncio.gather(*sharing)] == ["sold_out"] * 2


async def test_a_lost_connection_is_said_as_ever(stage: Stage, two: Two) -> None:
    offer, _ = await sold_out(stage, two)
    wire = two[0].inventory.wire
    asking = [asyncio.create_task(two[0].claim(offer, f"c{n}")) for n in range(3)]
    await asyncio.sleep(0)
    wire.hang_up()
    told = await asyncio.gather(*asking, return_exceptions=True)
    assert {getattr(one, "code", None) for one in told} == {"reopening"}
    await eventually(lambda: wire.connected)
    assert (await two[0].claim(offer, "c")).what == "sold_out"
