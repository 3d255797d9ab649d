"""Decided crowds are booked in batches: splits and differences, or refunds, once each."""

from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis

from campaigns.offer.models import Offer
from campaigns.team.booking import left_to_book
from engine.db import Database
from tests.workers.acts import give_back
from tests.workers.conftest import RivalMaker
from tests.workers.gates import Crash, Steps
from tests.workers.laws import check, rows
from tests.workers.seats import crowd_of, crowd_offer, decided, joined
from tests.workers.stage import Stage, open_stage
from workers.crowds import CrowdBooks
from workers.loop import Parts

BATCH_MAX, TURNS_MAX = 3, 20
REFUNDS = "SELECT cause, amount_fen, units, state FROM refunds ORDER BY id"


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """With batches of three."""
    async with open_stage(db, valkey_url, book_batch_max=BATCH_MAX) as opened:
        yield opened


def books(stage: Stage, db: Database | None = None) -> CrowdBooks:
    """A worker that has just started; the loop needs no provider."""
    provider: Any = None
    return CrowdBooks(Parts(db or stage.db, stage.inventory, provider, "sandbox", stage.settings))


async def book_all(stage: Stage, worker: CrowdBooks | None = None) -> int:
    """Turns until nothing is left; how many members."""
    worker, total = worker or books(stage), 0
    for _ in range(TURNS_MAX):
        count = await worker.run_once()
        total += count
        if not count:
            return total
    raise AssertionError(f"still something to book after {TURNS_MAX} turns")


async def crowd(stage: Stage, offer: Offer, buyers: Iterable[str], **more: Any) -> str:
    """Everybody pays for a seat, and the crowd is decided; its id."""
    for buyer in buyers:
        await joined(stage, offer, buyer, "", **more)
    await decided(stage, offer, crowd_of(offer))
    return crowd_of(offer)


async def left(stage: Stage, team_id: str) -> int:
    async with stage.db.begin() as session:
        return await left_to_book(session, team_id)


async def test_a_formed_crowd_is_split_in_bounded_batches(stage: Stage) -> None:
    offer = await crowd_offer(stage)
    team_id = await crowd(stage, offer, ("b1", "b2", "b3"))
    worker = books(stage)
    assert await left(stage, team_id) == 3
    assert await worker.run_once() == BATCH_MAX
    booked = "SELECT booked_at_ms IS NOT NULL FROM teams"
    assert (await left(stage, team_id), await stage.scalar(booked)) == (0, False)
    assert [await worker.run_once() for _ in range(2)] == [0, 0]
    assert await stage.scalar(booked) is True
    assert await stage.scalar("SELECT sum(split_fen) FROM orders") == 3 * 990
    assert await stage.scalar("SELECT sum(amount_fen) FROM postings") == 3 * 990
    assert await rows(stage, REFUNDS) == []  # step one was reached, everybody paid its price
    await check(stage)


async def test_the_final_price_gives_differences_back_once(stage: Stage) -> None:
    offer = await crowd_offer(stage)
    first = await joined(stage, offer, "b1", "", qty=2)
    await joined(stage, offer, "b2", "")
    await stage.settle()
    payment_id = str(await stage.scalar("SELECT payment_id FROM orders WHERE buyer_id = 'b1'"))
    await give_back(stage, offer, first, payment_id, units=1)
    await stage.settle()
    team_id = await crowd(stage, offer, ("b3", "b4"))
    assert await stage.scalar("SELECT step FROM teams") == 2
    worker = books(stage)
    assert await book_all(stage, worker) == 4
    for _ in range(2):
        await stage.run("UPDATE teams SET booked_at_ms = NULL")
        assert await book_all(stage) == 0
    found = sorted(tuple(row.values())[1:] for row in await rows(stage, REFUNDS))
    # b1 paid for two units, and one had gone back before
    assert found == [(90, 0, "due")] * 4 + [(990, 1, "done")]
    query = "SELECT split_fen, final_price_fen FROM orders ORDER BY claimed_at_ms"
    assert [tuple(row.values()) for row in await rows(stage, query)] == [(990, 900)] * 4
    assert await left(stage, team_id) == 0
    await check(stage)


async def test_a_failed_crowd_gives_everything_back(stage: Stage) -> None:
    offer = await crowd_offer(stage)
    await crowd(stage, offer, ("b1",))
    assert await book_all(stage) == 1
    found = [tuple(row.values()) for row in await rows(stage, REFUNDS)]
    assert found == [("team_failed", 990, 1, "due")]
    states = "SELECT state, split_fen FROM orders"
    assert [tuple(row.values()) for row in await rows(stage, states)] == [("refunding", None)]
    assert await stage.scalar("SELECT booked_at_ms IS NOT NULL FROM teams") is True
    await stage.run("UPDATE teams SET booked_at_ms = NULL")
    assert await book_all(stage) == 0
    assert len(await rows(stage, REFUNDS)) == 1
    await check(stage)


async def test_a_failed_crowd_at_the_regular_price_stands(stage: Stage) -> None:
    offer = await crowd_offer(stage, charging="regular")
    await crowd(stage, offer, ("b1",))
    assert await book_all(stage) == 1
    assert await rows(stage, REFUNDS) == []
    states = "SELECT state, split_fen, final_price_fen FROM orders"
    assert [tuple(row.values()) for row in await rows(stage, states)] == [("paid", 990, None)]
    await check(stage)


async def test_who_cannot_be_booked_holds_up_nobody(stage: Stage) -> None:
    offer = await crowd_offer(stage)
    await joined(stage, offer, "b0", "")
    await stage.settle()
    sound = await stage.scalar("SELECT credit::text FROM orders")
    await stage.run("UPDATE orders SET credit = '{}'")
    team_id = await crowd(stage, offer, ("b1", "b2", "b3"))
    worker = books(stage)
    assert await book_all(stage, worker) == 4
    assert await left(stage, team_id) == 1
    alarm = "SELECT count(*) FROM incidents WHERE kind = 'not_booked' AND resolved_at_ms IS NULL"
    assert await stage.scalar(alarm) == 1
    await stage.run("UPDATE orders SET credit = CAST(:c AS jsonb)", c=sound)
    assert await book_all(stage, worker) == 0  # it rests before it tries again
    assert await book_all(stage) == 1
    assert await stage.scalar(alarm) == 0
    assert await left(stage, team_id) == 0
    assert await stage.scalar("SELECT booked_at_ms IS NOT NULL FROM teams") is True
    await check(stage)


async def test_a_crash_at_any_step_repeats_nothing(stage: Stage, rival: RivalMaker) -> None:
    offer = await crowd_offer(stage, total=20)
    await crowd(stage, offer, ("b1", "b2", "b3", "b4"))
    steps, where = Steps(), []
    async with rival(steps) as other:
        for at in range(1, 60):
            steps.count, steps.at, steps.where = 0, at, ""
            try:
                worker = books(stage, other.db)
                for _ in range(TURNS_MAX):
                    await worker.run_once()
            except Crash:
                where.append(steps.where)
            if not steps.where:
                break
    assert {"before commit", "after commit"} <= set(where)
    assert await stage.scalar("SELECT booked_at_ms IS NOT NULL FROM teams") is True
    assert await stage.scalar("SELECT sum(split_fen) FROM orders") == 4 * 990
    assert await stage.scalar("SELECT count(*) FROM refunds WHERE amount_fen = 90") == 4
    await check(stage)
