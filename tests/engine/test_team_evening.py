"""Two thousand buyers over three hundred teams: the laws hold at rest, whatever they did.

The events are replayed through the pure model, which refuses any that breaks I1, I8 or T1 to T4
at that very event; the hot state must be what they add up to (I2, I11). What follows is at rest.
"""

import random
from collections import Counter

import pytest
from hypothesis import settings
from redis.asyncio import Redis

from engine.events import ClaimPaid, Decided, PaymentLate, PaymentRefused, SeatEvent
from engine.replay.shard import Shard
from engine.replay.view import view_of
from tests.engine.hotshard import bench
from tests.engine.seats import Hall
from tests.engine.team_evening import Evening


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.timeout(3_000)
async def test_an_evening_of_teams(redis: Redis, valkey_url: str) -> None:
    for _ in range(200 if settings().max_examples > 1_000 else 2):
        seed = random.randrange(2**32)
        try:
            await one_evening(redis, valkey_url, seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


async def one_evening(redis: Redis, url: str, seed: int) -> None:
    await redis.flushall()
    async with bench(url) as first, bench(url) as second:
        await first.open()
        evening = Evening((Hall(first), Hall(second)), seed, 2_000, 300)
        await evening.play()
        await check(evening)


async def check(evening: Evening) -> None:
    """Everything is decided, every payment stands or goes back, and the stock is whole."""
    shard = evening.hall.bench
    events, hot = await shard.events(), await shard.view()
    configs = {offer_id: offer.config for offer_id, offer in hot.offers.items()}
    model = Shard(shard=0, epoch=1, configs=configs)
    over: set[str] = set()
    for event in events:
        if isinstance(event, SeatEvent | Decided):  # T4
            assert event.team_id not in over, event
        if isinstance(event, Decided):
            over.add(event.team_id)
        model.apply(event)
    model.settle(hot.settled_seq)
    for team_id, deadline_ms in evening.moved.items():
        model.teams[team_id].deadline_ms = deadline_ms
    assert view_of(model).differences(hot) == []

    assert hot.undecided == frozenset()
    assert set(over) == set(hot.teams)
    claims = hot.claims.values()
    assert {claim.state for claim in claims} <= {"paid", "released", "returned"}
    seats = Counter(claim.team_id for claim in claims if claim.seat == "1")
    for team in hot.teams.values():  # T1, T3
        formed = team.step > 0 if team.kind == "crowd" else team.paid + team.subsidy == team.size
        assert (team.state == "formed") == formed, team
        assert seats[team.team_id] == team.paid, team
    for claim in claims:  # T5, T8: an order stands in a formed team only
        if claim.state == "paid":
            assert claim.seat == "1"
            assert hot.teams[claim.team_id].state == "formed"
    for offer_id, offer in hot.offers.items():
        sold = sum(one.units for one in claims if one.offer_id == offer_id and one.state == "paid")
        assert (offer.held, offer.sold, offer.available) == (0, sold, offer.total - sold)
    told = Counter(
        event.fact_id
        for event in events
        if isinstance(event, ClaimPaid | PaymentLate | PaymentRefused)
    )
    assert told == Counter(evening.payments)
