"""Waiting lists in SQL: entries come and go with their events, and a rebuild puts them back."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.offer.models import Offer
from engine import keys
from engine.db import Database
from engine.ids import now_ms
from engine.inventory import Reply
from tests.workers.acts import begin_paying, confirm, give_back, held, pay
from tests.workers.hall import Hall, open_hall
from tests.workers.laws import check, hot_view, rows, timeless
from tests.workers.stage import Stage, open_stage
from workers.loop import Parts
from workers.waiting import WaitWatch


@pytest_asyncio.fixture
async def hall(stage: Stage) -> Hall:
    return await open_hall(stage)


@pytest_asyncio.fixture
async def slow(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """A stage that settles one event in a round."""
    async with open_stage(db, valkey_url, settle_batch_max=1, shards=1) as opened:
        yield opened


def watch(stage: Stage) -> WaitWatch:
    nobody: object = None
    parts = Parts(stage.db, stage.inventory, nobody, "sandbox", stage.settings)  # type: ignore[arg-type]
    return WaitWatch(parts)


async def waiting(stage: Stage) -> list[str]:
    """Who waits, as settled, in order."""
    return [row["buyer_id"] for row in await rows(stage, "SELECT * FROM waits ORDER BY place")]


async def let_go(stage: Stage, offer: Offer, claim_id: str) -> None:
    reply = await stage.inventory.release(offer.shard, claim_id, attempt_id="", why="cancelled")
    assert reply.what == "released"


async def owners(stage: Stage) -> list[str]:
    """Whose live orders there are, in the order of the claims."""
    found = await rows(
        stage,
        "SELECT buyer_id FROM orders WHERE claim_state IN ('held', 'paying', 'paid')"
        " ORDER BY claimed_at_ms, claim_id",
    )
    return [row["buyer_id"] for row in found]


async def test_who_waits_is_served_in_order_and_leaves_the_rows(stage: Stage) -> None:
    offer = await stage.offer(2)
    first, second = [await held(stage, offer, buyer) for buyer in ("a", "b")]
    for place, buyer in enumerate("cdef", start=1):
        assert await stage.wait(offer, buyer) == Reply("waiting", (str(place),))
    await stage.waiting.leave(offer.shard, offer.id, "d")
    await stage.settle()
    assert await waiting(stage) == ["c", "e", "f"]
    await check(stage)
    await let_go(stage, offer, first)
    await stage.settle()
    assert (await waiting(stage), await owners(stage)) == (["e", "f"], ["b", "c"])
    attempt_id = await begin_paying(stage, offer, second)
    await confirm(stage, offer, second, attempt_id, fen=1, verdict="wrong_amount")
    await stage.settle()
    assert (await waiting(stage), await owners(stage)) == (["f"], ["c", "e"])
    mine = await stage.claim(offer, "c", key="w-1")
    assert mine.what == "stored"  # the wish's own key and body
    await check(stage)
    fact_id = await pay(stage, offer, mine.details[0])
    await stage.settle()
    await give_back(stage, offer, mine.details[0], fact_id, units=1)
    await stage.settle()
    assert (await waiting(stage), await owners(stage)) == ([], ["e", "f"])
    assert (await stage.claim(offer, "g")).what == "sold_out"
    await check(stage)


async def test_the_list_comes_back_in_its_order_with_its_keys(stage: Stage) -> None:
    offer = await stage.offer(1)
    claim_id = await held(stage, offer, "a")
    for buyer in "zyx":
        await stage.wait(offer, buyer)
    await stage.waiting.leave(offer.shard, offer.id, "z")
    await stage.settle()
    before = timeless(await hot_view(stage, offer.shard))
    assert (await stage.wait(offer, "lost")).what == "waiting"  # never settled
    await stage.wire.call("FLUSHALL")
    await stage.settle()
    assert before.differences(timeless(await hot_view(stage, offer.shard))) == []
    await check(stage)
    assert await stage.wait(offer, "y") == Reply("waiting", ("2",))
    assert await stage.wait(offer, "y", qty=2) == Reply("key_reused", ("",))
    assert await stage.wait(offer, "lost") == Reply("waiting", ("4",))  # behind all others
    assert (await stage.claim(offer, "new")).what == "sold_out"
    await let_go(stage, offer, claim_id)
    await stage.settle()
    assert (await owners(stage), await waiting(stage)) == (["y"], ["x", "lost"])
    assert (await stage.claim(offer, "y", key="w-1")).what == "stored"
    await check(stage)


@pytest.mark.parametrize("rounds", range(1, 8))
async def test_a_release_whose_tail_was_lost_serves_the_list_all_the_same(
    slow: Stage, rounds: int
) -> None:
    """joined, joined, released, held, released, held: the store is lost after each of them."""
    offer = await slow.offer(2)
    claims = [await held(slow, offer, buyer) for buyer in "ab"]
    await slow.settle()
    for buyer in "cd":
        await slow.wait(offer, buyer)
    for claim_id in claims:
        await let_go(slow, offer, claim_id)
    for _ in range(rounds):
        await slow.settler.round()
    await slow.wire.call("FLUSHALL")
    await slow.settle()
    await check(slow)
    await watch(slow).run_once()
    await slow.settle()
    await check(slow)
    state = await slow.inventory.offer_state(0, offer.id)
    assert not (int(state["available"]) and int(state.get("waiting", "0")))
    known = [*await owners(slow), *await waiting(slow)]
    assert max(known) == ("b", "c", "d")[min(rounds, 2)]  # whose joining was settled


async def test_nobody_waits_for_what_is_over(stage: Stage, hall: Hall) -> None:
    offer = await stage.offer(1)
    beside = await stage.offer_beside(offer, 1)
    for one in (offer, beside):
        await held(stage, one, "a", key=one.id)
        for buyer in "bcd":
            await stage.wait(one, buyer)
    await stage.settle()
    look = watch(stage)
    assert await look.run_once() == 2
    assert len(await rows(stage, "SELECT 1 FROM waits")) == 6  # nothing is free yet
    prefix = keys.offers(offer.shard)
    await stage.wire.call("HSET", prefix + offer.id, "ends_at_ms", now_ms() - 1)
    await stage.wire.call("HSET", prefix + beside.id, "state", "closed")
    assert (await stage.wait(offer, "e")).what == "closed"
    await look.run_once()
    await stage.settle()
    await hall.quiet()
    assert await rows(stage, "SELECT 1 FROM waits") == []
    told = await hall.snapshot("me:b")
    assert sorted(part for part in told.parts if part.startswith("wait:")) == sorted(
        (f"wait:{offer.id}", f"wait:{beside.id}")
    )
    assert all('"why":"closed"' in told.parts[f"wait:{one.id}"] for one in (offer, beside))


async def test_me_hears_of_the_place_and_of_the_claim(stage: Stage, hall: Hall) -> None:
    offer = await stage.offer(1)
    claim_id = await held(stage, offer, "a")
    for buyer in "bc":
        await stage.wait(offer, buyer)
    await hall.quiet()
    assert '"state":"waiting","place":2' in (await hall.snapshot("me:c")).parts[f"wait:{offer.id}"]
    await stage.waiting.leave(offer.shard, offer.id, "c")
    await let_go(stage, offer, claim_id)
    await hall.quiet()
    assert await hall.claims_of("b") == [("waiting", "", 0), ("held", "", 1)]
    assert '"state":"left"' in (await hall.snapshot("me:c")).parts[f"wait:{offer.id}"]
