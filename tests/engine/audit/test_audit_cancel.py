"""Planted events and rows about cancelled offers: what none of ours may say is named by its law."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.audit.rest import under_way
from engine.audit.run import run_audit
from engine.audit.team_walk import TeamWalk
from engine.db import Database
from engine.ids import now_ms
from engine.offers import OfferConfig
from tests.engine.audit.test_audit_team_walk import DEADLINE, TEAM, Told
from tests.workers.seats import cancelled, opened, team_offer
from tests.workers.stage import Stage, open_stage


def sale(on_cancel: str = "refund", state: str = "cancelled") -> Told:
    """A team of two with its captain paid, whose offer was cancelled then."""
    told = Told()
    fields = {name: getattr(TEAM, name) for name in TEAM.__struct_fields__}
    config = OfferConfig(**{**fields, "on_cancel": on_cancel})
    told.walk = TeamWalk({"ofr_t": config})
    return told.opened().seat("cap", 1).say("offer.closed", command_id="c", state=state)


def closed(told: Told, at_ms: int = 20) -> Told:
    """It closes long before its deadline."""
    given: dict[str, Any] = {"team_id": "t1", "paying": 0, "paid": 1}
    return told.say("team.closing", at_ms, deadline_ms=at_ms, **given)


def honoured(told: Told) -> Told:
    """The merchant fills the missing seat because it was promised."""
    return told.say("team.subsidised", 30, team_id="t1", command_id="h", seats=1, honour="1")


def failed(told: Told, why: str = "cancelled") -> Told:
    return told.decided("failed", 1, why=why)


def test_what_the_scripts_say_breaks_nothing() -> None:
    assert failed(closed(sale())).broken == set()
    kept = honoured(closed(sale("honour"))).decided("formed", 1, subsidy=1, why="full")
    assert kept.broken == set()
    finished = sale("finish", "finishing").seat("one", 2).decided("formed", 2, why="full")
    assert finished.broken == set()


FAULTS: dict[str, tuple[Callable[[], Told], str]] = {
    "a seat of a cancelled offer": (lambda: sale().held("one"), "I9"),
    "a team that is opened while others finish": (
        lambda: sale("finish", "finishing").opened("t2", "two").held("two", "t2"),
        "I9",
    ),
    "closed early without a cancellation": (lambda: closed(sale(state="frozen")), "T1"),
    "closed early though it may finish": (lambda: closed(sale("finish", "finishing")), "T1"),
    "failed by a deadline that was none": (lambda: failed(closed(sale()), "deadline"), "T1"),
    "failed by a cancellation that was none": (
        lambda: failed(sale("finish", "finishing").closing(1)),
        "T1",
    ),
    "failed though it was promised": (lambda: failed(closed(sale("honour"))), "T1"),
    "honoured without a promise": (lambda: honoured(closed(sale())), "T3"),
    "honoured without a cancellation": (lambda: honoured(closed(sale("honour", "frozen"))), "T3"),
    "honoured before it closes": (lambda: honoured(sale("honour")), "T3"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(fault: str) -> None:
    told, law = FAULTS[fault]
    assert law in told().broken
    assert DEADLINE > 30


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url) as opened:
        yield opened


async def test_teams_that_should_have_ended_are_under_way_and_then_overdue(stage: Stage) -> None:
    """S1: their deadline is an hour away, and yet somebody has to decide them soon."""
    offer = await team_offer(stage, on_cancel="refund", closing_max_ms=1_000)
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    assert await under_way(stage.db, stage.wire) == []
    await cancelled(stage, offer)
    await stage.settle()
    what = "team is past its deadline and not decided"
    assert await under_way(stage.db, stage.wire) == [f"teams {team_id}: {what}"]
    report = await run_audit(stage.db, stage.wire, at_rest=False, stale_ms=0)
    assert "S1" not in report.broken  # who is paying may have until then
    await stage.run("UPDATE offer_commands SET created_at_ms = :at WHERE kind = 'cancel'",
                    at=now_ms() - 200_000)  # fmt: skip
    report = await run_audit(stage.db, stage.wire, at_rest=False, stale_ms=0)
    assert "S1" in report.broken
