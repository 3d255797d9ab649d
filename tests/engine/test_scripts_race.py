"""Races on the real hot store: one key at once a thousand times; thousands on a small stock.

After a race the events are replayed through the pure model, which refuses stock below zero or a
passed limit at the very event, and the hot state must be what they add up to.
"""

import asyncio
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from engine.events import ClaimHeld
from engine.inventory import OfferConfig, Reply
from engine.replay.shard import Shard
from engine.replay.view import view_of
from tests.engine.hotshard import Bench, bench
from tests.engine.racer import Job, Line

ROOT = Path(__file__).parents[2]


async def replayed(shard: Bench, configs: dict[str, OfferConfig]) -> Shard:
    """The model after all events; equal to the hot state."""
    model = Shard(shard=shard.shard, epoch=shard.epoch, configs=configs)
    for event in await shard.events():
        model.apply(event)
    assert view_of(model).differences(await shard.view()) == []
    return model


@pytest.mark.slow
async def test_a_thousand_requests_of_one_key_have_one_effect(
    shard: Bench, valkey_url: str
) -> None:
    configs = {"ofr_1": await shard.offer("ofr_1", 50)}
    async with bench(valkey_url) as second, bench(valkey_url) as third:
        benches = [shard, second, third]
        replies = await asyncio.gather(
            *(random.choice(benches).claim("ofr_1", "mbr_1", 2, key="k") for _ in range(1_000))
        )
    told = {reply.details for reply in replies}
    assert len(told) == 1
    assert Counter(reply.what for reply in replies) == {"held": 1, "stored": 999}
    model = await replayed(shard, configs)
    assert len(model.claims) == 1
    assert model.offers["ofr_1"].available == 48


@pytest.mark.slow
async def test_one_key_with_two_bodies_belongs_to_the_first(shard: Bench, valkey_url: str) -> None:
    configs = {"ofr_1": await shard.offer("ofr_1", 50)}
    async with bench(valkey_url) as second:
        sent = [(random.choice((shard, second)), random.choice((1, 2))) for _ in range(1_000)]
        replies = await asyncio.gather(
            *(one.claim("ofr_1", "mbr_1", qty, key="k") for one, qty in sent)
        )
    (held,) = [
        (reply, qty) for reply, (_, qty) in zip(replies, sent, strict=True) if reply.what == "held"
    ]
    first, first_qty = held
    for reply, (_, qty) in zip(replies, sent, strict=True):
        if qty == first_qty:
            assert reply in (first, Reply("stored", first.details))
        else:
            assert reply == Reply("key_reused", first.details[:1])
    model = await replayed(shard, configs)
    assert model.offers["ofr_1"].available == 50 - first_qty


async def run_racers(jobs: list[Job]) -> list[Line]:
    """All histories; the processes start their claims together."""
    racers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.engine.racer",
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=2**24,
        )
        for _ in jobs
    ]
    try:
        for racer, job in zip(racers, jobs, strict=True):
            assert racer.stdin is not None
            racer.stdin.write(msgspec.json.encode(job) + b"\n")
        for racer in racers:
            assert racer.stdout is not None
            assert await racer.stdout.readline() == b"ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(b"go\n")
        histories = []
        for racer in racers:
            assert racer.stdout is not None
            histories.append(msgspec.json.decode(await racer.stdout.readline(), type=list[Line]))
            assert await racer.wait() == 0
        return [line for history in histories for line in history]
    finally:
        for racer in racers:
            if racer.returncode is None:
                racer.kill()
                await racer.wait()


@pytest.mark.slow
@pytest.mark.fuzz
async def test_thousands_race_for_a_small_stock(shard: Bench, valkey_url: str) -> None:
    """Four processes, the same buyers in each with other keys, two offers of one campaign."""
    rules = {"per_order_max": 2, "per_buyer_max": 2, "per_campaign_max": 3}
    stock = {"ofr_1": 60, "ofr_2": 35}
    configs = {one: await shard.offer(one, total, **rules) for one, total in stock.items()}
    seed = random.randrange(2**32)
    jobs = [
        Job(
            url=valkey_url,
            name=f"r{place}",
            seed=seed + place,
            claims=1_500,
            buyers=120,
            offers=tuple(stock),
        )
        for place in range(4)
    ]
    history = await run_racers(jobs)

    assert len(history) == 6_000, seed
    words = Counter(line.what for line in history)
    assert set(words) == {"held", "limit_reached", "sold_out"}, (seed, words)
    sold: Counter[str] = Counter()
    mine: Counter[tuple[str, str]] = Counter()
    for line in history:
        if line.what == "held":
            sold[line.offer_id] += line.qty
            mine[line.offer_id, line.buyer_id] += line.qty
            mine["cmp_a", line.buyer_id] += line.qty
    assert sold == stock, seed
    assert max(n for (scope, _), n in mine.items() if scope != "cmp_a") <= 2, seed
    assert max(n for (scope, _), n in mine.items() if scope == "cmp_a") <= 3, seed

    model = await replayed(shard, configs)
    told = {
        line.details[0]: (line.buyer_id, line.qty, line.key)
        for line in history
        if line.what == "held"
    }
    written = {
        event.claim_id: (event.buyer_id, event.qty, event.key)
        for event in await shard.events()
        if isinstance(event, ClaimHeld)
    }
    assert told == written, seed
    assert all(offer.available == 0 for offer in model.offers.values())
