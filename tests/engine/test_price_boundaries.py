"""What is charged around every boundary is the price that was shown, or `price_changed` (I9).

Start, step of a price list and end are crossed in real time by a stream of claims, and swept from
two seconds before to two seconds behind them; a crowd's ladder is climbed while others ask.
"""

import asyncio
import itertools
from typing import Any

import pytest

from engine import keys
from engine.events import ClaimHeld, CrowdReached
from engine.ids import now_ms
from engine.inventory import OfferConfig, Reply
from engine.replay.decide import price_at, price_now
from engine.replay.shard import Shard
from tests.engine.hotshard import HOUR_MS, Bench, config
from tests.engine.seats import CROWD_ID, Hall

PRICES = {"prc_1": 1_000, "prc_2": 900}


async def server_ms(shard: Bench) -> int:
    seconds, micros = await shard.wire.call("TIME")
    return int(seconds) * 1_000 + int(micros) // 1_000


def right(rules: OfferConfig, reply: Reply, price_id: str, at_ms: int) -> bool:
    """Whether this is what a claim of `price_id` has to be told at `at_ms`."""
    if at_ms >= rules.ends_at_ms:
        return reply == Reply("closed")
    if at_ms < rules.starts_at_ms:
        return reply == Reply("not_open", (str(rules.starts_at_ms),))
    holding, fen = price_at(rules, at_ms)
    if price_id != holding:
        return reply == Reply("price_changed", (holding, str(fen)))
    return reply.what == "held" and reply.details[1:3] == (price_id, str(PRICES[price_id]))


async def ask(shard: Bench, kind: str, place: int, price_id: str) -> tuple[int, Reply, int]:
    """One who was shown `price_id`: the clock before, the answer, the clock behind."""
    hall, buyer = Hall(shard), f"mbr_{place}"
    before, reply, after = await asyncio.gather(
        server_ms(shard),
        hall.seat(buyer, offer_id="ofr_1", price_id=price_id)
        if kind == "team"
        else shard.claim("ofr_1", buyer, price_id=price_id),
        server_ms(shard),
    )
    return before, reply, after


async def charged_is_shown(shard: Bench) -> None:
    """Every claim that was ever held is charged what its price_id says."""
    for event in await shard.events():
        if isinstance(event, ClaimHeld):
            assert event.price_fen == PRICES[event.price_id]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flash", "team"])
async def test_claims_cross_start_step_and_end(shard: Bench, kind: str) -> None:
    now = await server_ms(shard)
    given: dict[str, Any] = {
        "starts_at_ms": now + 300,
        "ends_at_ms": now + 900,
        "prices": (("prc_1", 1_000, 0), ("prc_2", 900, now + 600)),
    }
    if kind == "team":
        rules = await Hall(shard).team_offer("ofr_1", 50_000)
        rules = config(**{**_fields(rules), **given})
        await _put(shard, rules)
    else:
        rules = await shard.offer("ofr_1", 50_000, **given)
    told: list[str] = []
    for place in itertools.count():
        price_id = ("prc_1", "prc_2")[place % 2]
        before, reply, after = await ask(shard, kind, place, price_id)
        assert any(right(rules, reply, price_id, at) for at in range(before, after + 1))
        told.append(reply.what)
        if before >= rules.ends_at_ms + 100:
            break
        await asyncio.sleep(0.001)
    assert {"not_open", "held", "price_changed", "closed"} <= set(told)
    await charged_is_shown(shard)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flash", "team"])
@pytest.mark.parametrize("boundary", ["start", "step", "end"])
async def test_a_sweep_around_each_boundary(shard: Bench, kind: str, boundary: str) -> None:
    """The boundary is put where now is so far from it; both prices are asked for."""
    hall = Hall(shard)
    if kind == "team":
        base = await hall.team_offer("ofr_1", 50_000)
    else:
        base = await shard.offer("ofr_1", 50_000)
    place = 0
    for offset_ms in (*range(-2_000, 2_001, 100), *range(-5, 6)):
        edge = await server_ms(shard) - offset_ms
        starts = edge if boundary == "start" else edge - HOUR_MS
        ends = edge if boundary == "end" else edge + HOUR_MS
        step = edge if boundary == "step" else edge - HOUR_MS // 2
        prices = (("prc_1", 1_000, 0), ("prc_2", 900, step))
        moved = {"starts_at_ms": starts, "ends_at_ms": ends, "prices": prices}
        rules = config(**{**_fields(base), **moved})
        await _put(shard, rules)
        for price_id in PRICES:
            place += 1
            before, reply, after = await ask(shard, kind, place, price_id)
            assert any(right(rules, reply, price_id, at) for at in range(before, after + 1)), (
                offset_ms,
                reply,
            )
    await charged_is_shown(shard)


def _fields(rules: OfferConfig) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in rules.__struct_fields__}


async def _put(shard: Bench, rules: OfferConfig) -> None:
    flat = [part for pair in rules.flat().items() for part in pair]
    await shard.wire.call("HSET", keys.offers(0) + "ofr_1", *flat)


@pytest.mark.slow
async def test_a_ladder_is_climbed_while_others_ask(shard: Bench) -> None:
    """Each claim is held at the price of the step in force, or told the price that is."""
    hall = Hall(shard)
    configs = {"ofr_c": await hall.crowd_offer(total=500)}
    fens = {"prc_low": 800, "prc_lower": 700}
    claims = [
        (await hall.seat(f"mbr_{n}", offer_id="ofr_c", price_id="prc_low")).details[0]
        for n in range(6)
    ]
    shown = itertools.cycle(fens)

    async def another(place: int) -> None:
        price_id = next(shown)
        reply = await hall.seat(f"late_{place}", offer_id="ofr_c", price_id=price_id)
        if reply.what == "held":
            assert reply.details[1:3] == (price_id, str(fens[price_id]))
        else:
            (other,) = set(fens) - {price_id}
            assert reply == Reply("price_changed", (other, str(fens[other])))

    jobs = [another(place) for place in range(300)]
    for place, claim_id in enumerate(claims):
        jobs.insert(40 * (place + 1), _paid(hall, claim_id))
    await asyncio.gather(*jobs)
    assert (await hall.teams.state(0, CROWD_ID))["step"] == "2"
    model, prices = Shard(shard=0, epoch=1, configs=configs), []
    for event in await shard.events():
        if isinstance(event, ClaimHeld):
            assert (event.price_id, event.price_fen) == price_now(model, "ofr_c", now_ms())
            prices.append(event.price_id)
        model.apply(event)
    assert set(prices) == set(fens)
    assert sum(isinstance(one, CrowdReached) for one in await shard.events()) == 2


async def _paid(hall: Hall, claim_id: str) -> None:
    assert (await hall.bench.confirm(claim_id, "att", f"fct-{claim_id}")).what == "paid"
