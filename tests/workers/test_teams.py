"""Teams past their deadline: who never paid leaves, the rest is rescued, then it is decided."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.team.subsidy import REFUSALS, SubsidyOut, subsidise
from engine import keys
from engine.db import Database
from engine.errors import Conflict, Missing, Unprocessable
from engine.shards import Epochs
from engine.teams import Teams
from engine.tokens import Access
from tests.workers.acts import begin_paying, confirm
from tests.workers.laws import rows
from tests.workers.seats import (
    crowd_of,
    crowd_offer,
    deadline_passes,
    joined,
    opened,
    sits,
    team_of,
    team_offer,
)
from tests.workers.stage import Stage, open_stage
from workers.loop import Parts
from workers.repeats import Repeats
from workers.teams import TeamWatch

HQ = Access("hq-1", "hq", "", "", 0)


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url, team_again_ms=0, repeat_after_ms=0) as stage:
        yield stage


def parts_of(stage: Stage) -> Parts:
    nobody: object = None
    return Parts(stage.db, stage.inventory, nobody, "sandbox", stage.settings)  # type: ignore[arg-type]


async def turns(stage: Stage) -> None:
    """Until no team is past its deadline, settled in between."""
    watch = TeamWatch(parts_of(stage))
    for _ in range(20):
        await stage.settle()
        if await watch.run_once() == 0:
            return
    raise AssertionError("a team past its deadline is never decided")


async def state_of(stage: Stage, team_id: str) -> object:
    await stage.settle()
    return await stage.scalar("SELECT state FROM teams WHERE id = :id", id=team_id)


async def test_while_somebody_pays_a_team_waits(stage: Stage) -> None:
    offer = await team_offer(stage, size=2)
    team_id, _ = await opened(stage, offer, "cap")
    claim_id = await sits(stage, offer, "one", team_id)
    await stage.settle()
    attempt_id = await begin_paying(stage, offer, claim_id)
    await deadline_passes(stage, offer, team_id)
    watch = TeamWatch(parts_of(stage))
    assert [await watch.run_once() for _ in range(3)] == [1, 1, 1]
    assert await state_of(stage, team_id) == "closing"
    await confirm(stage, offer, claim_id, attempt_id)
    assert await state_of(stage, team_id) == "formed"
    assert await watch.run_once() == 0


async def test_after_the_closing_the_unpaid_leave_and_the_others_are_rescued(stage: Stage) -> None:
    """Who paid would be refunded with them; one free seat elsewhere saves the one who agreed."""
    offer = await team_offer(stage, size=2, closing_max_ms=0, total=12)
    other, _ = await opened(stage, offer, "other")
    team_id, mine = await opened(stage, offer, "cap", consent=True)
    unpaid = await sits(stage, offer, "one", team_id)
    await stage.settle()
    await begin_paying(stage, offer, unpaid)
    await deadline_passes(stage, offer, team_id)
    await turns(stage)
    assert await team_of(stage, offer, mine) == other
    assert [await state_of(stage, one) for one in (team_id, other)] == ["failed", "formed"]
    claim = await stage.inventory.claim_state(offer.shard, unpaid)
    assert (claim["state"], claim["seat"]) == ("paying", "")
    assert await stage.scalar("SELECT count(*) FROM refunds") == 0


async def test_unpaid_seats_of_a_crowd_leave_in_bounded_batches(
    db: Database, hot: Redis, valkey_url: str
) -> None:
    async with open_stage(db, valkey_url, team_again_ms=0, team_unpaid_max=2) as stage:
        offer = await crowd_offer(stage)
        for buyer in ("p1", "p2"):
            await joined(stage, offer, buyer, "")
        for n in range(5):
            claim_id = await sits(stage, offer, f"u{n}")
            await stage.settle()
            await begin_paying(stage, offer, claim_id)
        await deadline_passes(stage, offer, crowd_of(offer))
        await turns(stage)
        assert await state_of(stage, crowd_of(offer)) == "formed"
        found = await rows(stage, "SELECT seat, count(*) FROM orders GROUP BY 1 ORDER BY 1")
        assert [tuple(row.values()) for row in found] == [("left", 5), ("taken", 2)]


async def fill(
    stage: Stage, team_id: str, *, key: str = "k", seats: int = 1, reason: str = "r"
) -> SubsidyOut:
    """HQ fills seats."""
    return await subsidise(stage.db, stage.teams, HQ, team_id, key=key, seats=seats, reason=reason)


async def test_a_subsidy_seat_completes_a_team_once_and_is_in_the_ledger(stage: Stage) -> None:
    offer = await team_offer(stage, size=2, subsidy_max=1)
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    assert (await fill(stage, team_id)).in_effect
    assert (await fill(stage, team_id)).in_effect  # the same key: the same seat
    assert await state_of(stage, team_id) == "formed"
    posted = "SELECT source, destination, amount_fen FROM postings WHERE source = 'subsidy'"
    assert [tuple(row.values()) for row in await rows(stage, posted)] == [("subsidy", "hq", 990)]
    assert await stage.scalar("SELECT subsidy FROM teams WHERE id = :id", id=team_id) == 1
    assert await stage.scalar("SELECT count(*) FROM audit_log WHERE subject = :t", t=team_id) == 1


async def test_subsidies_are_refused_with_their_reason(stage: Stage) -> None:
    offer = await team_offer(stage, subsidy_max=1)
    opening = await sits(stage, offer, "slow")
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    for seats, said in ((2, "over_budget"), (3, "no_seat")):
        with pytest.raises(Conflict) as refused:
            await fill(stage, team_id, key=f"k{seats}", seats=seats)
        assert refused.value.code == said in REFUSALS
        with pytest.raises(Conflict):  # a repeat of the key is told the same
            await fill(stage, team_id, key=f"k{seats}", seats=seats)
    with pytest.raises(Conflict) as refused:
        await fill(stage, await team_of(stage, offer, opening))
    assert refused.value.code == "not_open"
    with pytest.raises(Missing):
        await fill(stage, "tem-unknown")
    assert (await fill(stage, team_id, key="good")).in_effect
    with pytest.raises(Unprocessable):
        await fill(stage, team_id, key="good", reason="another")
    outcomes = await rows(stage, "SELECT outcome FROM team_commands ORDER BY outcome")
    assert [row["outcome"] for row in outcomes] == ["no_seat", "not_open", "over_budget", None]


async def test_a_subsidy_whose_script_never_ran_is_repeated(stage: Stage) -> None:
    offer = await team_offer(stage, subsidy_max=1)
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    nowhere = Teams(stage.wire, Epochs.fixed({}))  # knows no shard: as if the store were away
    waits = await subsidise(stage.db, nowhere, HQ, team_id, key="k", seats=1, reason="r")
    assert not waits.in_effect
    key = keys.groups(offer.shard) + team_id
    assert await stage.wire.call("HGET", key, "subsidy") == b"0"
    for _ in range(2):
        await Repeats(parts_of(stage)).run_once()
        await stage.settle()
    assert await stage.wire.call("HGET", key, "subsidy") == b"1"
    assert await stage.scalar("SELECT applied_seq FROM team_commands") is not None
