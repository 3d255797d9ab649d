"""Ten thousand buyers race for one team of three over two wires; late payments land as declared.

After a race the events are replayed through the pure model, which refuses a seat too many at the
very event (T1, T2, T7), and the hot state must be what they add up to.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from engine.events import ClaimPaid, PaymentLate
from engine.inventory import Reply
from tests.engine.hotshard import Bench, bench
from tests.engine.seats import Hall
from tests.engine.test_scripts_race import replayed

BUYERS = 10_000
IN_FLIGHT_MAX = 500


@pytest_asyncio.fixture
async def halls(shard: Bench, valkey_url: str) -> AsyncIterator[tuple[Hall, Hall]]:
    """The same shard over two wires, as two API processes have it."""
    async with bench(valkey_url) as second:
        yield Hall(shard), Hall(second)


async def race(halls: tuple[Hall, Hall], team_id: str, names: list[str]) -> dict[str, Reply]:
    """Everybody asks for a seat at once, half of them over each wire."""
    turn = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def one(place: int, name: str) -> Reply:
        async with turn:
            return await halls[place % 2].seat(name, team_id, consent=True)

    replies = await asyncio.gather(*(one(place, name) for place, name in enumerate(names)))
    return dict(zip(names, replies, strict=True))


async def twice(halls: tuple[Hall, Hall], claim_id: str) -> list[Reply]:
    """The provider's callback comes to both processes at once, and once more."""
    att, fact = f"att-{claim_id}", f"fct-{claim_id}"
    both = await asyncio.gather(*(hall.bench.confirm(claim_id, att, fact) for hall in halls))
    again = await halls[0].bench.confirm(claim_id, att, fact)
    assert again.what == "done"
    assert sorted(reply.what == "done" for reply in both) == [False, True]
    return [reply for reply in both if reply.what != "done"]


@pytest.mark.slow
async def test_ten_thousand_race_for_three_seats(halls: tuple[Hall, Hall]) -> None:
    hall = halls[0]
    configs = {"ofr_t": await hall.team_offer(total=50)}
    team_id, _ = await hall.opened("cap")
    replies = await race(halls, team_id, [f"mbr_{n}" for n in range(BUYERS)])
    assert Counter(reply.what for reply in replies.values()) == {"held": 2, "team_full": BUYERS - 2}
    winners = [reply.details[0] for reply in replies.values() if reply.what == "held"]
    for claim_id in winners:
        await hall.bench.inventory.pay_begin(0, claim_id, f"att-{claim_id}")
        assert [one.what for one in await twice(halls, claim_id)] == ["paid"]
    team = await hall.teams.state(0, team_id)
    assert (team["state"], team["paid"]) == ("formed", "3")
    model = await replayed(hall.bench, configs)
    assert model.offers["ofr_t"].available == 47


# Where the payment may land that comes behind its close receipt, while others race for the seat.
DECLARED = {
    "refund": {("late", "refund")},
    "seat": {("landed", "seat"), ("late", "no_seat")},
    "other": {("landed", "seat"), ("landed", "other")},
    "new": {("landed", "seat"), ("landed", "new")},
}


@pytest.mark.slow
@pytest.mark.parametrize("late", DECLARED)
async def test_a_payment_behind_its_close_receipt_lands_as_declared(
    halls: tuple[Hall, Hall], late: str
) -> None:
    hall = halls[0]
    configs = {"ofr_t": await hall.team_offer(total=50, late=late)}
    team_id, _ = await hall.opened("cap")
    if late == "other":
        await hall.opened("host")
    first = await race(halls, team_id, [f"mbr_{n}" for n in range(200)])
    winners = {name: reply.details[0] for name, reply in first.items() if reply.what == "held"}
    assert len(winners) == 2
    for claim_id in winners.values():
        await hall.bench.inventory.pay_begin(0, claim_id, f"att-{claim_id}")
    closed, stays = winners.values()
    again = [f"late_{n}" for n in range(300)]
    await hall.bench.inventory.release(0, closed, attempt_id=f"att-{closed}", why="closed")
    replies, (told,), paid = await asyncio.gather(
        race(halls, team_id, again), twice(halls, closed), twice(halls, stays)
    )
    assert (told.what, told.details[0]) in DECLARED[late]
    assert [one.what for one in paid] == ["paid"]
    # The one seat went to the late payment or to one of those who asked again.
    took = sum(reply.what == "held" for reply in replies.values())
    assert took == (0 if told.details[0] == "seat" else 1)
    assert {one.what for one in replies.values()} <= {"held", "team_full", "team_over"}
    model = await replayed(hall.bench, configs)
    assert model.teams[team_id].taken == 3
    facts = [one for one in await hall.bench.events() if isinstance(one, ClaimPaid | PaymentLate)]
    assert len({one.fact_id for one in facts}) == len(facts)


@pytest.mark.slow
async def test_a_seat_that_keeps_coming_free_goes_to_one_at_a_time(
    halls: tuple[Hall, Hall],
) -> None:
    """Whoever gets the last seat lets it go again: of K claims at most one is held at a time."""
    hall = halls[0]
    configs = {"ofr_t": await hall.team_offer(total=50, size=2)}
    team_id, _ = await hall.opened("cap")
    had: list[str] = []

    async def one(place: int) -> None:
        mine = halls[place % 2]
        for turn in range(8):
            reply = await mine.seat(f"mbr_{place}", team_id, key=f"{place}-{turn}")
            if reply.what == "held":
                had.append(reply.details[0])
                await mine.bench.inventory.release(
                    0, reply.details[0], attempt_id="", why="cancelled"
                )
            else:
                assert reply.what == "team_full"

    await asyncio.gather(*(one(place) for place in range(200)))
    assert len(had) > 1
    model = await replayed(hall.bench, configs)
    assert model.teams[team_id].taken == 1
    assert model.offers["ofr_t"].available == 49
