"""Rescue: nobody is worse off than without it, and nobody moves without consent."""

from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.db import Database
from engine.settings import Settings
from tests.engine.hotshard import bench
from tests.engine.seats import Hall
from workers.loop import Parts
from workers.rescue import Leftover, Member, OpenTeam, Plan, plan
from workers.teams import TeamWatch

SITUATIONS = 700


def members(rng: Random, team: str, count: int) -> tuple[Member, ...]:
    """Of few buyers, so that the same one sits in several teams."""
    buyers = rng.sample([f"b{n}" for n in range(12)], count)
    return tuple(
        Member(f"clm-{team}-{buyer}", buyer, rng.random() < 0.7, rng.random() < 0.7)
        for buyer in buyers
    )


def situation(rng: Random) -> tuple[list[Leftover], list[OpenTeam], bool, int]:
    """Teams of one offer that would fail, teams that are forming, and the offer's rules."""
    size = rng.choice((2, 3))
    leftovers = []
    for n in range(rng.randrange(9)):
        paid = rng.randrange(1, size)
        leftovers.append(Leftover(f"l{n}", size - paid, members(rng, f"l{n}", paid)))
    forming = [
        OpenTeam(
            f"o{n}",
            rng.randrange(1, size),
            rng.randrange(1_000),
            frozenset(one.buyer_id for one in members(rng, "o", rng.randrange(1, size))),
        )
        for n in range(rng.randrange(4))
    ]
    return leftovers, forming, rng.random() < 0.3, rng.choice((2, 3, 50))


def check(
    found: Plan, leftovers: list[Leftover], forming: list[OpenTeam], newcomers_only: bool, most: int
) -> None:
    """Everything a plan promises."""
    assert len(found.moves) <= most
    home = {member.claim_id: (one, member) for one in leftovers for member in one.members}
    came: dict[str, list[str]] = {}
    for move in found.moves:
        team, member = home.pop(move.claim_id)  # each moves once, and out of a team that fails
        assert member.consent
        assert member.newcomer or not newcomers_only
        assert team.team_id != move.team_id
        came.setdefault(move.team_id, []).append(member.buyer_id)
    left = {move.claim_id for move in found.moves}
    for one in leftovers:
        arrived = came.pop(one.team_id, [])
        if arrived:  # who is moved into a leftover is in a team that forms with this plan
            assert len(arrived) == one.missing
            assert not left & {member.claim_id for member in one.members}
            seated = arrived + [member.buyer_id for member in one.members]
            assert max(Counter(seated).values()) == 1
    for target in forming:
        arrived = came.pop(target.team_id, [])
        assert len(arrived) <= target.free
        assert max(Counter([*arrived, *target.buyers]).values()) == 1
    assert came == {}


@pytest.mark.parametrize("batch", range(7))
def test_nobody_is_worse_off_and_nobody_moves_without_consent(batch: int) -> None:
    moved = 0
    for seed in range(batch * SITUATIONS // 7, (batch + 1) * SITUATIONS // 7):
        leftovers, forming, newcomers_only, most = situation(Random(seed))
        found = plan(leftovers, forming, newcomers_only=newcomers_only, moves_max=most)
        check(found, leftovers, forming, newcomers_only, most)
        whole = plan(leftovers, forming, newcomers_only=newcomers_only, moves_max=1_000)
        assert whole.moves[: len(found.moves)] == found.moves
        assert bool(found.put_off) == (len(whole.moves) > len(found.moves))
        moved += len(found.moves)
    assert moved > 100


def test_leftovers_make_whole_teams_first() -> None:
    alone = [Leftover(f"l{n}", 2, (Member(f"c{n}", f"b{n}", True),)) for n in range(4)]
    found = plan(
        alone,
        [OpenTeam("o", 1, 0, frozenset({"x"}))],
        newcomers_only=False,
        moves_max=9,
    )
    assert [move.team_id for move in found.moves] == ["l0", "l0", "o"]


def test_who_may_not_move_is_joined_where_they_sit() -> None:
    found = plan(
        [
            Leftover("free", 1, (Member("c1", "b1", True),)),
            Leftover("bound", 1, (Member("c2", "b2", False),)),
        ],
        [],
        newcomers_only=False,
        moves_max=9,
    )
    assert [(move.claim_id, move.team_id) for move in found.moves] == [("c1", "bound")]


@pytest_asyncio.fixture
async def hall(hot: Redis, valkey_url: str) -> AsyncIterator[Hall]:
    async with bench(valkey_url) as opened:
        await opened.open()
        yield Hall(opened)


def watch_of(hall: Hall, db: Database, **changes: object) -> TeamWatch:
    """The loop on the hall's shard; nobody is unpaid here and nothing cancelled: no rows."""
    settings = msgspec.structs.replace(Settings(shards=1, team_again_ms=0), **changes)
    nobody: object = None
    return TeamWatch(Parts(db, hall.bench.inventory, nobody, "", settings))  # type: ignore[arg-type]


async def turns(hall: Hall, watch: TeamWatch) -> None:
    """Until no team is past its deadline."""
    for _ in range(30):
        if await watch.run_once() == 0:
            return
    raise AssertionError("a team past its deadline is never decided")


@pytest.mark.parametrize("seed", range(10))
async def test_the_same_on_the_real_scripts(hall: Hall, db: Database, seed: int) -> None:
    rng = Random(seed)
    size, most = rng.choice((2, 3)), rng.choice((2, 50))
    await hall.team_offer(total=90, size=size)
    home: dict[str, tuple[str, bool]] = {}
    failing: list[str] = []
    forming: list[str] = []
    for n in range(8):
        consent = rng.random() < 0.7
        team_id, claim_id = await hall.opened(f"cap{n}", consent=consent)
        home[claim_id] = (team_id, consent)
        if size == 3 and rng.random() < 0.4:
            consent = rng.random() < 0.7
            home[await hall.joined(f"one{n}", team_id, consent=consent)] = (team_id, consent)
        (failing if n < 6 else forming).append(team_id)
    for team_id in failing:
        await hall.deadline_passes(team_id)
    await turns(hall, watch_of(hall, db, rescue_batch_max=most))

    seated: Counter[str] = Counter()
    for claim_id, (was_in, consent) in home.items():
        claim = await hall.bench.inventory.claim_state(0, claim_id)
        assert claim["state"] == "paid"
        assert claim["team_id"] == was_in or (consent and was_in in failing)
        if claim["team_id"] != was_in:
            state = (await hall.teams.state(0, claim["team_id"]))["state"]
            assert state in ("formed", "forming")
        seated[claim["team_id"]] += 1
    for team_id in failing + forming:
        team = await hall.teams.state(0, team_id)
        assert int(team["paid"]) == seated[team_id] <= size
        assert (team["state"] == "formed") == (seated[team_id] == size)
        assert team["state"] != "closing"


async def test_a_run_moves_a_bounded_number_and_the_next_goes_on(hall: Hall, db: Database) -> None:
    await hall.team_offer(total=90, size=2)
    opened = [await hall.opened(f"cap{n}", consent=True) for n in range(10)]
    for team_id, _ in opened:
        await hall.deadline_passes(team_id)
    watch = watch_of(hall, db, rescue_batch_max=2)
    await watch.run_once()
    assert (await hall.kinds()).count("team.seat_moved") == 2
    await turns(hall, watch)
    kinds = await hall.kinds()
    assert (kinds.count("team.seat_moved"), kinds.count("team.formed")) == (5, 5)
    assert (await hall.bench.inventory.offer_state(0, "ofr_t"))["sold"] == "10"


async def test_a_crowd_is_decided_at_its_deadline(hall: Hall, db: Database) -> None:
    await hall.crowd_offer()
    fields: dict[str, Any] = {"offer_id": "ofr_c", "price_id": "prc_low"}
    for buyer in ("one", "two"):
        await hall.joined(buyer, "", **fields)
    await hall.deadline_passes("tem_crowd")
    await turns(hall, watch_of(hall, db))
    assert (await hall.teams.state(0, "tem_crowd"))["state"] == "formed"
