"""Nobody leaves a crowd once it is reached, however far behind the rows are."""

from typing import Any

import pytest

from campaigns.offer.models import Offer
from campaigns.refund.models import Refund
from campaigns.refund.of_buyers import request_own_refund
from campaigns.refund.service import request_refund
from engine import keys
from engine.audit.differences import asked_in_time
from engine.audit.report import Finding
from engine.db import Database
from engine.errors import Conflict, Unavailable
from engine.ids import new_id, order_id_of
from tests.workers.conftest import RivalMaker
from tests.workers.laws import rows
from tests.workers.promises import book_all, hold_the_laws
from tests.workers.seats import crowd_of, crowd_offer, decided, joined, pays, sits
from tests.workers.stage import Stage


async def leaves(
    stage: Stage, claim_id: str, request_id: str = "", *, db: Database | None = None
) -> Refund:
    """The buyer b1 gives their unit back."""
    return await request_own_refund(
        db or stage.db,
        stage.teams,
        order_id=order_id_of(claim_id),
        request_id=request_id or new_id("req"),
        units=1,
        buyer_id="b1",
    )


async def one_short(stage: Stage) -> tuple[Offer, str, str]:
    """A crowd that its next paid seat reaches: the offer, b1's paid claim, b2's held one."""
    offer = await crowd_offer(stage)
    first = await joined(stage, offer, "b1", "")
    second = await sits(stage, offer, "b2")
    await stage.settle()
    return offer, first, second


async def test_the_latch_counts_before_it_is_settled(stage: Stage) -> None:
    offer, first, second = await one_short(stage)
    await pays(stage, offer, second)
    assert await stage.scalar("SELECT step FROM teams") == 0  # so the rows know nothing
    with pytest.raises(Conflict) as refused:
        await leaves(stage, first)
    assert refused.value.code == "crowd_reached"
    assert await rows(stage, "SELECT id FROM refunds") == []
    await stage.settle()
    with pytest.raises(Conflict):
        await leaves(stage, first)
    assert await decided(stage, offer, crowd_of(offer)) == "formed"
    assert (await leaves(stage, first)).amount_fen == 990
    await hold_the_laws(stage)


async def test_the_law_names_who_left_a_reached_crowd(stage: Stage) -> None:
    _, first, _ = await one_short(stage)
    refund = await leaves(stage, first)
    await stage.run("UPDATE teams SET reached_at_ms = 1, step = 1")
    finding = Finding("M9", "")
    async with stage.db.begin() as session:
        await asked_in_time(session, finding)
    (problem,) = finding.result().problems
    assert f"refund {refund.id} was asked for" in problem


async def test_who_asked_before_the_latch_may_leave(stage: Stage, rival: RivalMaker) -> None:
    """The hot store has answered; then the last seat is paid; then the intent is written."""
    offer, first, second = await one_short(stage)
    latched = False

    async def latch(step: str) -> None:
        nonlocal latched
        if "FOR UPDATE" in step or not step.startswith("sql SELECT orders"):
            return
        if not latched:
            latched = True
            await pays(stage, offer, second)

    async with rival(latch) as other:
        refund = await leaves(stage, first, db=other.db)
    assert latched
    await stage.settle()
    assert await stage.scalar("SELECT step FROM teams") == 1  # the step stays
    assert refund.amount_fen == 990
    assert await decided(stage, offer, crowd_of(offer)) == "formed"
    await book_all(stage)
    await hold_the_laws(stage)


async def test_a_repeat_needs_nobody_and_hq_may(stage: Stage) -> None:
    offer, first, second = await one_short(stage)
    asked = await leaves(stage, first, "r-1")
    await pays(stage, offer, second)
    await stage.settle()
    await stage.wire.call("HSET", keys.meta(offer.shard), "sealed", "a gap")
    assert (await leaves(stage, first, "r-1")).id == asked.id
    given: dict[str, Any] = {"order_id": order_id_of(second), "request_id": "h", "actor": "hq"}
    assert await request_refund(stage.db, units=1, amount_fen=None, **given)
    await stage.wire.call("HSET", keys.meta(offer.shard), "sealed", "")


async def test_while_nobody_can_say_nobody_leaves(stage: Stage) -> None:
    offer, first, _ = await one_short(stage)
    await stage.wire.call("HSET", keys.meta(offer.shard), "sealed", "a gap")
    with pytest.raises(Unavailable) as refused:
        await leaves(stage, first)
    assert refused.value.code == "reopening"
    assert await rows(stage, "SELECT id FROM refunds") == []
    await stage.wire.call("HSET", keys.meta(offer.shard), "sealed", "")
    assert (await leaves(stage, first)).amount_fen == 990
