"""FLUSHALL with teams under way: seats, teams, openers, newcomers and a crowd's price come back.

A script's events may be settled in two batches, and the hot store may be lost between them: each
cut of each script is tried here, and what is left of its team ends well all the same.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.offer.models import Offer
from engine.db import Database
from engine.inventory import Reply
from tests.workers.acts import begin_paying, confirm, give_back
from tests.workers.laws import check, hot_view, rows, timeless
from tests.workers.seats import (
    crowd_of,
    crowd_offer,
    deadline_passes,
    decided,
    joined,
    opened,
    pays,
    sits,
    subsidised,
    team_of,
    team_offer,
)
from tests.workers.stage import Stage, open_stage

# Of claims that were lost with the store nobody knows: those facts are decided in SQL.
UNDECIDED_FACTS = (
    "SELECT f.id, f.claim_id, f.attempt_id FROM payment_facts f"
    " JOIN orders o ON o.claim_id = f.claim_id WHERE f.outcome IS NULL"
)


async def flush(stage: Stage, shard: int) -> None:
    """All is settled, the store is emptied, and the same comes back."""
    await stage.settle()
    before = timeless(await hot_view(stage, shard))
    await stage.wire.call("FLUSHALL")
    await stage.settle()
    assert before.differences(timeless(await hot_view(stage, shard))) == []
    await check(stage)


async def payment_of(stage: Stage, claim_id: str) -> str:
    """By which the claim's settled order stands."""
    return str(await stage.scalar("SELECT payment_id FROM orders WHERE claim_id = :c", c=claim_id))


async def test_teams_in_all_states_come_back(stage: Stage) -> None:
    offer = await team_offer(stage, 40, subsidy_max=3)
    opening = await sits(stage, offer, "opening")
    forming, captain = await opened(stage, offer, "forming", consent=True)
    await sits(stage, offer, "held", forming)
    await begin_paying(stage, offer, await sits(stage, offer, "paying", forming))
    full, _ = await opened(stage, offer, "full")
    for buyer in ("second", "third"):
        await joined(stage, offer, buyer, full)
    left, gone = await opened(stage, offer, "gone")
    await joined(stage, offer, "next", left)
    helped, _ = await opened(stage, offer, "helped")
    await stage.settle()
    await give_back(stage, offer, gone, await payment_of(stage, gone), units=1)
    await subsidised(stage, offer, helped)
    closing, _ = await opened(stage, offer, "closing")
    await begin_paying(stage, offer, await sits(stage, offer, "late", closing))
    failing, _ = await opened(stage, offer, "failing")
    assert await decided(stage, offer, failing) == "failed"
    await deadline_passes(stage, offer, closing)
    await stage.teams.close(offer.shard, 9, again_ms=0)
    await flush(stage, offer.shard)
    assert (await stage.seat(offer, "opening", key="again")).details == (
        await team_of(stage, offer, opening),
    )
    assert (await stage.seat(offer, "next", key="again", team_id=left)).what == "in_team"
    assert (await stage.seat(offer, "anybody", forming)).what == "team_full"
    await joined(stage, offer, "last", helped)
    assert (await stage.teams.state(offer.shard, helped))["state"] == "formed"
    assert (await stage.inventory.claim_state(offer.shard, captain))["seat"] == "1"


async def test_a_crowd_comes_back_with_its_step_and_price(stage: Stage) -> None:
    offer = await crowd_offer(stage)
    for buyer in "abcd":
        await joined(stage, offer, buyer, "")
    await flush(stage, offer.shard)
    assert (await stage.seat(offer, "e")).details == ("p3", "900")
    assert await decided(stage, offer, crowd_of(offer)) == "formed"
    await flush(stage, offer.shard)


async def test_newcomers_come_back(stage: Stage) -> None:
    offer = await team_offer(stage, newcomers_only=True)
    team_id, _ = await opened(stage, offer, "cap")
    await joined(stage, offer, "new", team_id, traits="n")
    await flush(stage, offer.shard)
    other, _ = await opened(stage, offer, "other")
    again = await stage.seat(offer, "new", other, key="again", traits="n")
    assert again.details == ("newcomer", "1")


@pytest_asyncio.fixture
async def slow(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    """A stage that settles one event in a round."""
    async with open_stage(db, valkey_url, settle_batch_max=1, shards=1) as opened:
        yield opened


Tail = Callable[[Stage, Offer], Awaitable[None]]


async def last_pays(stage: Stage, offer: Offer) -> None:
    """claim.held, claim.paying, claim.paid, team.seat_filled, team.formed"""
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    claim_id = await sits(stage, offer, "b", team_id)
    await pays(stage, offer, claim_id)


async def captain_lapses(stage: Stage, offer: Offer) -> None:
    """claim.released, team.seat_left, team.failed; before them all of an opening"""
    claim_id = await sits(stage, offer, "cap")
    await stage.inventory.release(offer.shard, claim_id, attempt_id="", why="cancelled")


async def captain_leaves(stage: Stage, offer: Offer) -> None:
    """claim.returned, team.seat_left with a successor"""
    team_id, claim_id = await opened(stage, offer, "cap")
    await sits(stage, offer, "b", team_id)
    await stage.settle()
    await give_back(stage, offer, claim_id, await payment_of(stage, claim_id), units=1)


async def lands_anew(stage: Stage, offer: Offer) -> None:
    """team.opened, claim.paid, team.seat_filled of a late payment"""
    claim_id = await sits(stage, offer, "cap")
    attempt_id = await begin_paying(stage, offer, claim_id)
    await stage.inventory.release(offer.shard, claim_id, attempt_id=attempt_id, why="closed")
    await stage.settle()
    reply: Reply = (await confirm(stage, offer, claim_id, attempt_id))[1]
    assert reply.details[0] == "new"


async def is_rescued(stage: Stage, offer: Offer) -> None:
    """team.seat_moved, seat_left, failed, seat_filled, formed"""
    failing, claim_id = await opened(stage, offer, "cap", consent=True)
    target, _ = await opened(stage, offer, "host")
    await deadline_passes(stage, offer, failing)
    await stage.teams.close(offer.shard, 9, again_ms=0)
    await stage.settle()
    assert (await stage.teams.move(offer.shard, claim_id, target)).what == "moved"


async def crowd_reaches(stage: Stage, offer: Offer) -> None:
    """offer.opened, team.opened; then claim.paid, crowd.progress, crowd.reached"""
    for buyer in "ab":
        await pays(stage, offer, await sits(stage, offer, buyer))


@pytest.mark.parametrize(
    "tail",
    [last_pays, captain_lapses, captain_leaves, lands_anew, is_rescued, crowd_reaches],
    ids=lambda tail: tail.__name__,
)
async def test_each_cut_of_a_script_ends_well(slow: Stage, tail: Tail) -> None:
    stage, cut, settled = slow, 0, -1
    while True:
        is_crowd = tail is crowd_reaches
        offer = await (crowd_offer(stage) if is_crowd else team_offer(stage, size=2))
        await tail(stage, offer)
        for _ in range(cut):
            settled = await stage.settler.round()
        await stage.wire.call("FLUSHALL")
        await stage.settle()
        await check(stage, await _unsaid(stage))
        await _ends_well(stage, offer)
        if cut and settled == 0:  # nothing was cut off any more
            return
        cut += 1


async def _unsaid(stage: Stage) -> dict[str, tuple[str, int]]:
    """Held orders with an open attempt come back as paying, as `check` wants to know."""
    attempts = (
        "SELECT a.claim_id, a.id, a.pay_expires_at_ms FROM payment_attempts a"
        " JOIN orders o ON o.claim_id = a.claim_id WHERE o.claim_state = 'held'"
    )
    found = await rows(stage, attempts)
    return {row["claim_id"]: (row["id"], row["pay_expires_at_ms"]) for row in found}


async def _ends_well(stage: Stage, offer: Offer) -> None:
    """Lost payments are told again; then all teams are decided at their deadline."""
    for fact in await rows(stage, UNDECIDED_FACTS):
        await stage.inventory.pay_confirm(
            offer.shard,
            fact["claim_id"],
            attempt_id=fact["attempt_id"],
            fact_id=fact["id"],
            verdict="ok",
        )
    await stage.settle()
    await stage.teams.close(offer.shard, 99, again_ms=0)  # whose end was lost is due now
    await stage.settle()
    undecided = (
        "SELECT id, kind, paid, size FROM teams WHERE offer_id = :o AND decided_at_ms IS NULL"
    )
    for team in await rows(stage, undecided, o=offer.id):
        assert team["kind"] == "crowd" or team["paid"] < team["size"], team
        await deadline_passes(stage, offer, team["id"])
        await stage.teams.close(offer.shard, 99, again_ms=0)
        await stage.teams.decide(offer.shard, team["id"])
    await stage.settle()
    await check(stage)
    wrong = await rows(
        stage,
        "SELECT id, state FROM teams WHERE decided_at_ms IS NULL"
        " OR (kind = 'team' AND (state = 'formed') <> (paid = size))"
        " OR (kind = 'crowd' AND (state = 'formed') <> (paid >= 2))",
    )
    assert wrong == []
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 0
    assert await rows(stage, UNDECIDED_FACTS) == []
