"""A race for a waiting list: releases, direct claims, wishes and leavings, all at once.

Afterwards the events are replayed through the pure model, which refuses units for anybody else
while somebody waits, stock below zero and a passed limit at the very event.
"""

import asyncio
import random
from collections import Counter

import pytest

from engine.events import ClaimHeld, WaitJoined, WaitLeft
from engine.inventory import OfferConfig, Reply
from engine.replay.shard import Shard
from engine.replay.view import view_of
from engine.waiting import Waiting
from tests.engine.hotshard import Bench, bench


async def _release(shard: Bench, claim_id: str) -> None:
    reply = await shard.inventory.release(0, claim_id, attempt_id="", why="cancelled")
    assert reply == Reply("released")


async def _join(shard: Bench, buyer_id: str) -> Reply:
    waiting = Waiting(shard.wire, shard.inventory.epochs, shard.scripts)
    return await waiting.join(
        0,
        offer_id="ofr_1",
        campaign_id="cmp_a",
        buyer_id=buyer_id,
        qty=1,
        price_id="prc_1",
        key=f"key-{buyer_id}",
        body_hash="1",
    )


async def _leave(shard: Bench, buyer_id: str) -> Reply:
    waiting = Waiting(shard.wire, shard.inventory.epochs, shard.scripts)
    return await waiting.leave(0, "ofr_1", buyer_id)


async def replayed(shard: Bench, rules: OfferConfig) -> Shard:
    model = Shard(shard=0, epoch=1, configs={"ofr_1": rules})
    for event in await shard.events():
        model.apply(event)
    assert view_of(model).differences(await shard.view()) == []
    return model


@pytest.mark.slow
@pytest.mark.fuzz
async def test_units_go_to_those_who_wait_in_their_order(shard: Bench, valkey_url: str) -> None:
    total, waiters = 60, [f"mbr_w{n}" for n in range(100)]
    rules = await shard.offer("ofr_1", total, per_buyer_max=1)
    held = [(await shard.claim("ofr_1", f"mbr_{n}")).details[0] for n in range(total)]
    for buyer_id in waiters:
        assert (await _join(shard, buyer_id)).what == "waiting"
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    async with bench(valkey_url) as second, bench(valkey_url) as third:
        benches = [shard, second, third]
        acts = [_release(rng.choice(benches), claim_id) for claim_id in held]
        told = [rng.choice(benches).claim("ofr_1", f"mbr_d{n}") for n in range(400)]
        told += [
            send(rng.choice(benches), buyer_id)
            for buyer_id in waiters[:70]
            for send in (_join, lambda one, who: one.claim("ofr_1", who))
        ]
        leaving = rng.sample(waiters, 20)
        told += [_leave(rng.choice(benches), buyer_id) for buyer_id in leaving]
        everything = [*acts, *told]
        rng.shuffle(everything)
        await asyncio.gather(*everything)

    model = await replayed(shard, rules)
    assert model.offers["ofr_1"].available == 0, seed
    events = await shard.events()
    served = [one.buyer_id for one in events if isinstance(one, ClaimHeld)][total:]
    assert len(served) == total, seed
    assert not [one for one in served if one.startswith("mbr_d")], seed
    assert max(Counter(served).values()) == 1, seed
    joined = [one.buyer_id for one in events if isinstance(one, WaitJoined)]
    assert served == sorted(served, key=joined.index), seed
    left = {one.buyer_id for one in events if isinstance(one, WaitLeft)}
    assert left <= set(leaving), seed
    # Who joined again after leaving stands behind all others.
    first = [one for one in waiters if one not in left]
    assert served == first[:total], seed
    assert {buyer for _, buyer in model.waits} >= set(first[total:]), seed


@pytest.mark.slow
@pytest.mark.fuzz
async def test_lists_that_come_and_go_sell_each_unit_once(shard: Bench, valkey_url: str) -> None:
    """Everybody does everything; at the end nothing is free while somebody waits whom it fits."""
    rules = await shard.offer("ofr_1", 5, per_buyer_max=2)
    buyers = [f"mbr_{n}" for n in range(12)]
    seed = random.randrange(2**32)

    async def live(one: Bench, buyer_id: str, rng: random.Random) -> None:
        mine: list[str] = []
        for n in range(40):
            what = rng.randrange(4)
            if what == 0 and mine:
                claim_id = mine.pop()
                await one.inventory.release(0, claim_id, attempt_id="", why="cancelled")
            elif what == 1:
                await _leave(one, buyer_id)
            elif what == 2:
                waiting = Waiting(one.wire, one.inventory.epochs, one.scripts)
                await waiting.join(
                    0,
                    offer_id="ofr_1",
                    campaign_id="cmp_a",
                    buyer_id=buyer_id,
                    qty=rng.choice((1, 1, 2)),
                    price_id="prc_1",
                    key=f"{n}",
                    body_hash="x",
                )
            else:
                reply = await one.claim("ofr_1", buyer_id, key=f"{n}")
                if reply.what == "held":
                    mine.append(reply.details[0])

    async with bench(valkey_url) as second:
        benches = (shard, second)
        await asyncio.gather(
            *(
                live(benches[n % 2], buyer_id, random.Random(f"{seed}-{buyer_id}"))
                for n, buyer_id in enumerate(buyers)
            )
        )
    model = await replayed(shard, rules)
    free = model.offers["ofr_1"].available
    assert not [one for one in model.waits.values() if one.qty <= free], seed
