"""The settler's ordinary work: claims become orders, payments become postings, exactly once."""

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from engine.db import Database
from engine.ids import new_id, now_ms
from tests.workers.stage import Stage, open_stage


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url) as stage:
        yield stage


async def begin_attempt(stage: Stage, claim_id: str, shard: int, amount_fen: int = 990) -> str:
    attempt_id = new_id("pay")
    async with stage.db.begin() as session:
        await session.execute(
            text(
                "INSERT INTO payment_attempts (id, claim_id, order_id, shard, amount_fen, state,"
                " reason, pay_url, created_at_ms, send_until_ms, lease_until_ms, next_at_ms,"
                " tries, last_error) VALUES (:id, :claim, :claim, :shard, :fen, 'open', '', '',"
                " :now, 0, 0, :now, 0, '')"
            ),
            {
                "id": attempt_id,
                "claim": claim_id,
                "shard": shard,
                "fen": amount_fen,
                "now": now_ms(),
            },
        )
    return attempt_id


async def add_fact(stage: Stage, claim_id: str, attempt_id: str, amount_fen: int = 990) -> str:
    fact_id = new_id("txn")
    async with stage.db.begin() as session:
        await session.execute(
            text(
                "INSERT INTO payment_facts (id, attempt_id, claim_id, amount_fen, currency,"
                " verdict, source, paid_at_ms, received_at_ms) VALUES (:id, :attempt, :claim,"
                " :fen, 'CNY', 'ok', 'callback', :now, :now)"
            ),
            {
                "id": fact_id,
                "attempt": attempt_id,
                "claim": claim_id,
                "fen": amount_fen,
                "now": now_ms(),
            },
        )
    return fact_id


async def test_a_claim_becomes_an_order_and_a_payment_its_split(stage: Stage) -> None:
    await stage.people()
    offer = await stage.offer(5)
    held = await stage.claim(offer, "m1")
    assert held.what == "held"
    claim_id = held.details[0]
    await stage.settle()
    order = "SELECT {} FROM orders WHERE claim_id = :c"
    assert await stage.scalar(order.format("claim_state || state"), c=claim_id) == "heldopen"
    assert await stage.scalar(order.format("credit -> 'credit' ->> 'upline_id'"), c=claim_id) == (
        "g2"
    )

    attempt_id = await begin_attempt(stage, claim_id, offer.shard)
    assert (await stage.inventory.pay_begin(offer.shard, claim_id, attempt_id)).what == "paying"
    fact_id = await add_fact(stage, claim_id, attempt_id)
    paid = await stage.inventory.pay_confirm(
        offer.shard, claim_id, attempt_id=attempt_id, fact_id=fact_id, verdict="ok"
    )
    assert paid.what == "paid"
    await stage.settle()
    assert await stage.scalar(order.format("claim_state || state"), c=claim_id) == "paidpaid"
    assert await stage.scalar("SELECT sold FROM offers") == 1
    assert await stage.scalar("SELECT outcome FROM payment_facts") == "paid"
    assert await stage.scalar("SELECT state FROM payment_attempts") == "paid"
    postings = await stage.scalar(
        "SELECT string_agg(destination || '=' || amount_fen, ' ' ORDER BY line) FROM postings"
    )
    assert postings == "promoter:g1:pending=79 promoter:g2:pending=20 store:s1=99 hq=792"


async def test_archive_holds_each_event_once_and_in_order(stage: Stage) -> None:
    offer = await stage.offer(3)
    for number in range(5):
        await stage.claim(offer, f"b{number}")
        await stage.settle()
    batches = "SELECT {} FROM event_batches WHERE shard = :s"
    assert await stage.scalar(batches.format("min(first_seq)"), s=offer.shard) == 1
    assert await stage.scalar(batches.format("sum(last_seq - first_seq + 1)"), s=offer.shard) == 4
    assert await stage.scalar("SELECT seq FROM shard_position WHERE shard = :s", s=offer.shard) == 4


async def test_the_guard_rejects_what_the_script_should_never_have_held(stage: Stage) -> None:
    offer = await stage.offer(1)
    key = f"{{s{offer.shard}}}:offer:{offer.id}"
    await stage.wire.call("HINCRBY", key, "available", 1)  # a planted bug: one unit too many
    first, second = await stage.claim(offer, "b1"), await stage.claim(offer, "b2")
    assert (first.what, second.what) == ("held", "held")
    await stage.settle()
    query = "SELECT state || '/' || release_due FROM orders WHERE claim_id = :c"
    assert await stage.scalar(query, c=first.details[0]) == "open/false"
    assert await stage.scalar(query, c=second.details[0]) == "rejected/true"
    assert await stage.scalar("SELECT kind FROM incidents") == "guard"
    assert await stage.scalar("SELECT count(*) FROM offer_commands WHERE reason = 'guard'") == 1
    await stage.inventory.release(offer.shard, second.details[0], attempt_id="", why="rejected")
    await stage.settle()
    assert await stage.scalar(query, c=second.details[0]) == "rejected/false"
    assert await stage.scalar("SELECT held FROM offers") == 1


async def test_lapsed_holds_are_swept_only_once_they_are_settled(stage: Stage) -> None:
    offer = await stage.offer(1, hold_ms=0)
    held = await stage.claim(offer, "b1")
    swept = await stage.inventory.sweep(offer.shard, 10)
    assert swept.details == ("0", "1")  # due, but its order is not written yet
    await stage.settle()
    assert (await stage.inventory.sweep(offer.shard, 10)).details == ("1", "1")
    await stage.settle()
    assert await stage.scalar("SELECT state || reason FROM orders") == "releasedlapsed"
    assert (await stage.claim(offer, "b2")).what == "held"
    assert (await stage.claim(offer, "b1")).details[0] == held.details[0]  # the stored answer


async def test_poison_goes_to_the_dead_letters_with_what_follows_it(stage: Stage) -> None:
    offer = await stage.offer(5)
    held = await stage.claim(offer, "b1")
    claim_id = held.details[0]
    other = await stage.claim(offer, "b2")
    await stage.settle()
    # an attempt that has no row: claim.paying cannot be settled
    await stage.inventory.pay_begin(offer.shard, claim_id, "pay_nobody_wrote")
    await stage.inventory.release(
        offer.shard, claim_id, attempt_id="pay_nobody_wrote", why="closed"
    )
    await stage.inventory.release(offer.shard, other.details[0], attempt_id="", why="cancelled")
    await stage.settle()
    assert await stage.scalar("SELECT count(*) FROM dead_letters WHERE state = 'open'") == 2
    state = "SELECT claim_state FROM orders WHERE claim_id = :c"
    assert await stage.scalar(state, c=claim_id) == "held"
    assert await stage.scalar(state, c=other.details[0]) == "released"
