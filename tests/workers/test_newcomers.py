"""A new customer is new once in all campaigns: the order paid first stands, a later one goes back.

Campaigns live on shards of their own, so no script sees the other's orders: the settler decides.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.db import Database
from engine.errors import Conflict
from tests.workers.acts import add_refund, begin_paying, confirm, held, pay
from tests.workers.laws import check
from tests.workers.newcomers import (
    LOST,
    STANDS,
    begin,
    bought,
    claimed,
    done,
    offers,
    refunds,
    repeats,
    settle_one,
    states,
)
from tests.workers.seats import decided, joined, opened, sits, team_of, team_offer
from tests.workers.stage import Stage, open_stage


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url, repeat_after_ms=0) as made:
        yield made


@pytest.mark.parametrize("first", [0, 1])
async def test_of_two_campaigns_the_one_paid_first_stands(stage: Stage, first: int) -> None:
    """Whichever shard is settled first: shard 0 always is, in a round."""
    both = await offers(stage)
    early = await bought(stage, both[first])
    late = await bought(stage, both[1 - first], qty=2)
    await stage.settle()
    assert await states(stage) == {early: STANDS, late: LOST}
    assert await refunds(stage) == [(late, 1 - first, "not_new", 1_980, 2)]
    await check(stage)
    other = await bought(stage, both[1 - first], "b2")  # somebody else is not concerned
    await stage.settle()
    assert (await states(stage))[other] == STANDS


async def test_settled_one_after_the_other_it_is_the_same(stage: Stage) -> None:
    both = await offers(stage)
    early = await bought(stage, both[0])
    await stage.settle()
    late = await bought(stage, both[1])
    await stage.settle()
    assert await states(stage) == {early: STANDS, late: LOST}


@pytest.mark.parametrize("shard", [0, 1])
async def test_any_order_paid_before_counts_and_none_paid_after(stage: Stage, shard: int) -> None:
    both = await offers(stage)
    plain = await stage.offer_beside(both[shard], 9, audience="all")
    before = await held(stage, plain, "b1")
    await pay(stage, plain, before)
    await asyncio.sleep(0.002)
    lost = await bought(stage, both[1 - shard])
    stands = await bought(stage, both[1 - shard], "b2")
    after = await held(stage, plain, "b2")
    await pay(stage, plain, after)
    await stage.settle()
    assert await states(stage) == {before: STANDS, lost: LOST, stands: STANDS, after: STANDS}


async def test_who_got_all_money_back_before_is_new(stage: Stage) -> None:
    both = await offers(stage)
    first = await bought(stage, both[0])
    await stage.settle()
    await stage.run("UPDATE orders SET state = 'refunding' WHERE claim_id = :c", c=first)
    second = await bought(stage, both[1])
    await stage.settle()
    assert (await states(stage))[second] == STANDS


async def test_a_part_given_back_leaves_an_order_paid(stage: Stage) -> None:
    both = await offers(stage)
    first = await claimed(stage, both[0], qty=2)
    fact_id = await pay(stage, both[0], first, qty=2)
    await stage.settle()
    refund_id = await add_refund(stage, both[0], first, fact_id, units=1)
    await stage.inventory.give_back(both[0].shard, first, units=1, refund_id=refund_id)
    second = await bought(stage, both[1])
    await stage.settle()
    assert (await states(stage))[second] == LOST


async def test_the_loser_gets_back_what_nobody_asked_for_yet(stage: Stage) -> None:
    """Of two units one was asked back before the other shard's earlier payment was settled."""
    both = await offers(stage)
    early = await bought(stage, both[1])
    late = await claimed(stage, both[0], qty=2)
    fact_id = await pay(stage, both[0], late, qty=2)
    await settle_one(stage, 0)
    assert (await states(stage))[late] == STANDS
    await add_refund(stage, both[0], late, fact_id, units=1)
    await stage.settle()
    assert (await states(stage)) == {early: STANDS, late: LOST}
    assert [one[2:] for one in await refunds(stage) if one[2] == "not_new"] == [("not_new", 990, 1)]


async def test_what_left_the_store_is_not_taken_back(stage: Stage) -> None:
    both = await offers(stage)
    await bought(stage, both[1])
    late = await bought(stage, both[0])
    await settle_one(stage, 0)
    await stage.run("UPDATE orders SET state = 'fulfilled' WHERE claim_id = :c", c=late)
    await stage.settle()
    assert (await states(stage))[late] == ("fulfilled", "")
    assert await refunds(stage) == []


async def test_a_held_claim_is_let_go_when_another_order_is_paid(stage: Stage) -> None:
    both = await offers(stage)
    waits = await claimed(stage, both[1])
    await stage.settle()
    stands = await bought(stage, both[0])
    await stage.settle()
    assert (await states(stage))[waits] == ("open", "not_new")
    with pytest.raises(Conflict) as refused:
        await begin(stage, waits)
    assert refused.value.code == "not_new"
    await repeats(stage)
    assert await states(stage) == {stands: STANDS, waits: ("released", "not_new")}
    hot = await stage.inventory.offer_state(1, both[1].id)
    assert (hot["available"], hot["held"]) == ("50", "0")
    await repeats(stage)
    await check(stage)


async def test_a_claim_by_an_old_token_is_let_go_too(stage: Stage) -> None:
    both = await offers(stage)
    await bought(stage, both[0])
    await stage.settle()
    late = await claimed(stage, both[1])
    await stage.settle()
    await repeats(stage)
    assert (await states(stage))[late] == ("released", "not_new")


async def test_who_is_paying_is_judged_by_the_receipt(stage: Stage) -> None:
    both = await offers(stage)
    lapses, lands = await claimed(stage, both[1], "b1"), await claimed(stage, both[1], "b2")
    attempts = {one: await begin_paying(stage, both[1], one) for one in (lapses, lands)}
    for buyer in ("b1", "b2"):
        await bought(stage, both[0], buyer)
    await stage.settle()
    await repeats(stage)
    assert {(await states(stage))[one] for one in attempts} == {("open", "")}
    await stage.inventory.release(1, lapses, attempt_id=attempts[lapses], why="closed")
    await confirm(stage, both[1], lands, attempts[lands])
    await stage.settle()
    found = await states(stage)
    assert (found[lapses], found[lands]) == (("released", "closed"), LOST)


async def test_who_begins_to_pay_before_the_release_is_judged_by_the_receipt(stage: Stage) -> None:
    """The release comes too late: the payment decides, and nothing waits for ever."""
    both = await offers(stage)
    waits = await claimed(stage, both[1])
    await stage.settle()
    await bought(stage, both[0])
    await stage.settle()
    attempt_id = await begin_paying(stage, both[1], waits)
    await repeats(stage)
    assert await stage.scalar("SELECT count(*) FROM orders WHERE release_due") == 0
    await confirm(stage, both[1], waits, attempt_id)
    await stage.settle()
    assert (await states(stage))[waits] == LOST


async def test_a_flush_between_leaves_the_release_due(stage: Stage) -> None:
    both = await offers(stage)
    waits = await claimed(stage, both[1])
    await stage.settle()
    await bought(stage, both[0])
    await stage.settle()
    await stage.wire.call("FLUSHALL")
    await stage.settle()
    await check(stage)
    await repeats(stage)
    assert (await states(stage))[waits] == ("released", "not_new")


async def test_a_losers_seat_comes_free_and_the_team_forms_with_another(stage: Stage) -> None:
    flash = (await offers(stage))[0]
    team = await team_offer(stage, newcomers_only=True, size=2)
    team_id, _ = await opened(stage, team, "old")
    await bought(stage, flash)
    seat = await sits(stage, team, "b1", team_id, traits="n")
    await stage.settle()
    await repeats(stage)
    assert (await states(stage))[seat] == ("released", "not_new")
    assert await stage.teams.seats(team.shard, team_id) != {}
    mate = await joined(stage, team, "b2", team_id, traits="n")
    await stage.settle()
    assert await stage.scalar("SELECT state FROM teams WHERE id = :t", t=team_id) == "formed"
    assert (await states(stage))[mate] == STANDS
    await check(stage)


async def test_a_paid_seat_of_a_loser_goes_back_as_any_refund(stage: Stage) -> None:
    """Of a forming team it is free again; in a formed one it is a refund after the sale."""
    flash = (await offers(stage))[0]
    team = await team_offer(stage, newcomers_only=True, size=3)
    full = await team_offer(stage, newcomers_only=True, size=2)
    forming, _ = await opened(stage, team, "old")
    formed, _ = await opened(stage, full, "old")
    for buyer in ("b1", "b2"):
        await bought(stage, flash, buyer)
    left = await joined(stage, team, "b1", forming, traits="n")
    kept = await joined(stage, full, "b2", formed, traits="n")
    await stage.settle()
    found = await states(stage)
    assert (found[left], found[kept]) == (LOST, LOST)
    assert await stage.scalar("SELECT state FROM teams WHERE id = :t", t=formed) == "formed"
    for offer, claim_id in ((team, left), (full, kept)):
        await done(stage, offer, claim_id)
    await stage.settle()
    assert "b1" not in await stage.teams.seats(team.shard, forming)
    assert await team_of(stage, full, kept) == formed
    again = await joined(stage, team, "b3", forming, traits="n")
    assert await decided(stage, team, forming) == "failed"
    assert (await states(stage))[again] == ("refunding", "")
    assert [one[2] for one in await refunds(stage) if one[0] == left] == ["not_new"]
    await check(stage)
