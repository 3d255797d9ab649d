"""A formed crowd's difference goes to who bought the SKU elsewhere in its campaign: once, exact."""

import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import text

from campaigns.team.booking import left_to_book
from engine.audit.differences import differences
from engine.audit.report import Finding
from engine.db import Database
from tests.workers.conftest import RivalMaker
from tests.workers.gates import Crash, Steps
from tests.workers.laws import check, rows
from tests.workers.promises import (
    Shop,
    asks,
    book_all,
    books,
    bought,
    forms,
    hold_the_laws,
    shop,
)
from tests.workers.seats import crowd_of, deadline_passes, joined, opened, pays, sits
from tests.workers.stage import Stage, open_stage

BATCH_MAX, TURNS_MAX = 3, 20


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """With batches of three."""
    async with open_stage(db, valkey_url, book_batch_max=BATCH_MAX) as opened_stage:
        yield opened_stage


async def given(stage: Stage) -> dict[str, int]:
    """buyer → fen of the guarantee; nobody twice."""
    found = await rows(
        stage,
        "SELECT o.buyer_id, r.amount_fen FROM refunds r JOIN orders o ON o.id = r.order_id"
        " WHERE r.cause = 'upgrade_guarantee'",
    )
    told = {row["buyer_id"]: row["amount_fen"] for row in found}
    assert len(told) == len(found)
    return told


async def test_standing_orders_of_the_sku_get_the_difference(stage: Stage) -> None:
    market = await shop(stage)
    await bought(stage, market.regular, "r1", qty=2)
    formed, _ = await opened(stage, market.teams, "t1")
    await joined(stage, market.teams, "t2", formed)
    await opened(stage, market.teams, "t3")  # alone: it fails
    held_claim = await stage.claim(market.regular, "r2")
    team_id = await forms(stage, market.crowd)
    assert await stage.scalar("SELECT guarantee_due FROM teams WHERE kind = 'crowd'") is True
    async with stage.db.begin() as session:
        assert await left_to_book(session, team_id) == 2 + 3
    await pays(stage, market.regular, held_claim.details[0])  # after the crowd had formed
    await stage.settle()
    await book_all(stage)
    assert await given(stage) == {"r1": 2 * 290, "t1": 290, "t2": 290}
    assert await stage.scalar("SELECT guarantee_due FROM teams WHERE kind = 'crowd'") is False
    async with stage.db.begin() as session:
        assert await left_to_book(session, team_id) == 0
    await stage.run("UPDATE teams SET guarantee_due = true WHERE kind = 'crowd'")
    await book_all(stage)
    assert len(await given(stage)) == 3
    await hold_the_laws(stage)
    await check(stage, thorough=False)


async def test_nobody_else_gets_it(stage: Stage) -> None:
    """Another SKU, a flash, another campaign; and nobody without the promise."""
    market = await shop(stage)
    await stage.run(
        "INSERT INTO skus SELECT 'sku-2', name, shelf_price_fen, mall_price_fen FROM skus"
    )
    flash = await stage.offer_beside(market.regular, 9, kind="flash")
    other = await stage.offer_beside(market.regular, 9)
    await stage.run("UPDATE offers SET sku_id = 'sku-2' WHERE id = :id", id=other.id)
    away = await shop(stage, promised=False)
    for offer, buyer in ((flash, "f"), (other, "o"), (away.regular, "a")):
        await bought(stage, offer, buyer)
    await forms(stage, market.crowd)
    await forms(stage, away.crowd)
    await book_all(stage)
    assert await given(stage) == {}
    await hold_the_laws(stage)


async def test_a_team_that_forms_after_the_crowd_is_not_forgotten(stage: Stage) -> None:
    """Who had paid by then gets the difference with the forming; who came later does not."""
    market = await shop(stage)
    team_id, _ = await opened(stage, market.teams, "t1")
    await forms(stage, market.crowd)
    await book_all(stage)
    assert await given(stage) == {}
    await joined(stage, market.teams, "t2", team_id)
    await stage.settle()
    assert await given(stage) == {"t1": 290}
    await hold_the_laws(stage)


async def _forming_together(stage: Stage, market: Shop, *, team_first: bool) -> None:
    """Team and crowd form, in this order, and one batch settles both."""
    team_id, _ = await opened(stage, market.teams, "t1")
    second = await sits(stage, market.teams, "t2", team_id)
    for buyer in ("c1", "c2"):
        await joined(stage, market.crowd, buyer, "")
    await deadline_passes(stage, market.crowd, crowd_of(market.crowd))
    if team_first:
        await pays(stage, market.teams, second)
    await stage.teams.close(market.crowd.shard, 100, again_ms=0)
    reply = await stage.teams.decide(market.crowd.shard, crowd_of(market.crowd))
    assert reply.what == "formed"
    if not team_first:
        await pays(stage, market.teams, second)
    await stage.settle()


async def test_crowd_and_team_in_one_batch(stage: Stage) -> None:
    market = await shop(stage)
    await _forming_together(stage, market, team_first=False)
    assert await given(stage) == {"t1": 290}  # t2 paid behind the crowd
    await book_all(stage)
    assert await given(stage) == {"t1": 290}
    await hold_the_laws(stage)


async def test_team_and_crowd_in_one_batch(stage: Stage) -> None:
    market = await shop(stage)
    await _forming_together(stage, market, team_first=True)
    assert await given(stage) == {}
    await book_all(stage)
    assert await given(stage) == {"t1": 290, "t2": 290}
    await hold_the_laws(stage)


async def test_a_later_refund_uses_the_effective_price(stage: Stage) -> None:
    market = await shop(stage)
    before = await bought(stage, market.regular, "r1", qty=3)
    meanwhile = await bought(stage, market.regular, "r2", qty=2)
    await stage.settle()
    assert (await asks(stage, before)).amount_fen == 990
    await forms(stage, market.crowd)
    assert (await asks(stage, meanwhile)).amount_fen == 990  # its difference is not computed yet
    await book_all(stage)
    assert await given(stage) == {"r1": 2 * 290, "r2": 290}
    assert (await asks(stage, before)).amount_fen == 700
    assert (await asks(stage, before)).amount_fen == 700
    assert (await asks(stage, meanwhile)).amount_fen == 700
    sums = "SELECT sum(amount_fen) = 5 * 990 FROM refunds WHERE cause <> 'crowd_difference'"
    assert await stage.scalar(sums) is True
    await hold_the_laws(stage)


async def test_a_failed_crowd_promises_nothing(stage: Stage) -> None:
    market = await shop(stage)
    await bought(stage, market.regular, "r1")
    await forms(stage, market.crowd, paid=1)
    await book_all(stage)
    assert await given(stage) == {}
    assert await stage.scalar("SELECT bool_or(guarantee_due) FROM teams") is False
    await hold_the_laws(stage)


async def test_who_cannot_be_booked_holds_up_nobody(stage: Stage, owner_db: Database) -> None:
    market = await shop(stage)
    claims = [await bought(stage, market.regular, f"r{n}") for n in range(5)]
    await forms(stage, market.crowd)
    async with owner_db.begin() as session:
        rule = f"CHECK (claim_id <> '{claims[2]}')"
        await session.execute(text(f"ALTER TABLE refunds ADD CONSTRAINT not_this {rule}"))
    worker = books(stage)
    for _ in range(6):
        await worker.run_once()
    assert set(await given(stage)) == {"r0", "r1", "r3", "r4"}
    alarm = "SELECT count(*) FROM incidents WHERE kind = 'not_booked' AND resolved_at_ms IS NULL"
    assert await stage.scalar(alarm) == 1
    # The crowd's own members do not wait for it.
    assert await stage.scalar("SELECT booked_at_ms > 0 FROM teams WHERE kind = 'crowd'") is True
    async with owner_db.begin() as session:
        await session.execute(text("ALTER TABLE refunds DROP CONSTRAINT not_this"))
    await book_all(stage)  # another worker
    assert len(await given(stage)) == 5
    assert await stage.scalar(alarm) == 0
    await hold_the_laws(stage)


async def test_a_crash_at_any_step_repeats_nothing(stage: Stage, rival: RivalMaker) -> None:
    market = await shop(stage)
    for number in range(4):
        await bought(stage, market.regular, f"r{number}")
    await forms(stage, market.crowd)
    await book_all_members(stage)
    steps, where = Steps(), []
    async with rival(steps) as other:
        for at in range(1, 60):
            steps.count, steps.at, steps.where = 0, at, ""
            try:
                worker = books(stage, db=other.db)
                for _ in range(TURNS_MAX):
                    await worker.run_once()
            except Crash:
                where.append(steps.where)
            if not steps.where:
                break
    assert {"before commit", "after commit"} <= set(where)
    assert await stage.scalar("SELECT bool_or(guarantee_due) FROM teams") is False
    assert await given(stage) == {f"r{number}": 290 for number in range(4)}
    await hold_the_laws(stage)


async def book_all_members(stage: Stage) -> None:
    """The crowd's own orders only."""
    await stage.run("UPDATE teams SET guarantee_due = false")
    await book_all(stage)
    await stage.run("UPDATE teams SET guarantee_due = true WHERE kind = 'crowd'")


async def test_the_law_names_a_difference_that_is_wrong(stage: Stage) -> None:
    """Planted: none, too little, two, one that nobody promised."""
    market = await shop(stage)
    covered = await bought(stage, market.regular, "r1", qty=2)
    await forms(stage, market.crowd)
    await book_all(stage)
    late = await bought(stage, market.regular, "r2")
    await stage.settle()
    await hold_the_laws(stage)
    copy = (
        "INSERT INTO refunds (id, payment_id, order_id, claim_id, shard, cause, amount_fen, units,"
        " state, requested_by, created_at_ms, lease_until_ms, next_at_ms, tries, last_error)"
        " SELECT 'rfd_x', payment_id, id, claim_id, shard, '{}', 1, 0, 'due', 'system', 1, 0, 1, 0,"
        " '' FROM orders WHERE claim_id = '{}'"
    )
    faults = {
        "UPDATE refunds SET amount_fen = 579 WHERE cause = 'upgrade_guarantee'": (
            "1401 fen are left of it, its units at 700 fen are 1400"
        ),
        "UPDATE refunds SET cause = 'late' WHERE cause = 'upgrade_guarantee';"
        "UPDATE orders SET final_price_fen = NULL WHERE team_id IS NULL": (
            "its final price is None, its crowd guarantees 700"
        ),
        copy.format("crowd_difference", covered): "it has 2 differences",
        copy.format("upgrade_guarantee", late): "it has a difference that no crowd guarantees",
    }
    for fault, said in faults.items():
        problems = await _planted(stage, fault)
        assert any(said in one for one in problems), (fault, problems)
    await hold_the_laws(stage)


async def _planted(stage: Stage, fault: str) -> Sequence[str]:
    """What the law says of it; it is rolled back."""
    finding = Finding("M9", "")
    with contextlib.suppress(_Undo):
        async with stage.db.begin() as session:
            for statement in fault.split(";"):
                await session.execute(text(statement))
            await differences(session, finding)
            raise _Undo
    return finding.result().problems


class _Undo(Exception):
    """Rolls a planted fault back."""
