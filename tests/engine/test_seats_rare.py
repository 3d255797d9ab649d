"""Seats in rare moments: who leads next, who may land where, and which price a crowd keeps."""

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from tests.engine.hotshard import HOUR_MS, bench
from tests.engine.seats import CROWD_ID, Hall, crowd_rules, team_rules


@pytest_asyncio.fixture
async def hall(hot: Redis, valkey_url: str) -> AsyncIterator[Hall]:
    async with bench(valkey_url) as opened:
        await opened.open()
        yield Hall(opened)


async def test_who_paid_first_leads_next_and_before_who_has_not_paid(hall: Hall) -> None:
    await hall.team_offer(size=5, total=20)
    team_id, cap = await hall.opened("cap")
    early = await hall.joined("early", team_id, paid=False)
    await hall.joined("late", team_id)
    await hall.joined("unpaid", team_id, paid=False)
    await hall.pay(early)  # sat down before `late`, paid after
    give_back = hall.bench.inventory.give_back
    await give_back(0, cap, units=1, refund_id="rfd_1")
    assert (await hall.teams.state(0, team_id))["captain_id"] == "late"
    seats = await hall.teams.seats(0, team_id)
    await give_back(0, seats["late"], units=1, refund_id="rfd_2")
    assert (await hall.teams.state(0, team_id))["captain_id"] == "early"
    await give_back(0, seats["early"], units=1, refund_id="rfd_3")
    assert (await hall.teams.state(0, team_id))["captain_id"] == "unpaid"
    await hall.bench.inventory.release(0, seats["unpaid"], attempt_id="", why="cancelled")
    team = await hall.teams.state(0, team_id)
    assert (team["state"], team["captain_id"]) == ("failed", "")


async def test_a_late_captain_lands_in_no_team_for_new_customers(hall: Hall) -> None:
    """Who opened needs no such right; a seat of another's team does."""
    await hall.team_offer(late="other", newcomers_only=True)
    _, claim_id = await hall.opened("cap", paid=False, consent=True)
    await hall.opened("host")
    await hall.bench.inventory.release(0, claim_id, attempt_id="", why="cancelled")
    reply = await hall.bench.confirm(claim_id, "att", "fct_1")
    assert (reply.what, reply.details) == ("late", ("no_seat",))


async def test_a_crowd_at_the_regular_price_keeps_it(hall: Hall) -> None:
    """The steps are latched, the difference comes later; no claim is made at a lower price."""
    await hall.bench.offer(
        "ofr_c", 9, kind="crowd", late="seat", team=crowd_rules(charging="regular")
    )
    for buyer_id in ("one", "two"):
        await hall.joined(buyer_id, "", offer_id="ofr_c")
    assert (await hall.teams.state(0, CROWD_ID))["step"] == "1"
    low = await hall.seat("three", offer_id="ofr_c", price_id="prc_low")
    assert low.details == ("prc_1", "1000")
    await hall.joined("three", "", offer_id="ofr_c")


async def test_nobody_is_moved_to_a_team_whose_time_is_up(hall: Hall) -> None:
    """Its deadline has passed, and nobody has written that it closes."""
    await hall.team_offer(size=2)
    failing, claim_id = await hall.opened("cap", consent=True)
    target, _ = await hall.opened("host")
    await hall.deadline_passes(failing)
    assert (await hall.teams.close(0, 10, again_ms=60_000)).details == ("1", failing)
    await hall.deadline_passes(target)
    assert (await hall.teams.state(0, target))["state"] == "forming"
    assert (await hall.teams.move(0, claim_id, target)).what == "no_seat"
    assert (await hall.bench.inventory.claim_state(0, claim_id))["team_id"] == failing


async def test_a_team_whose_last_seat_is_held_is_not_listed(hall: Hall) -> None:
    await hall.team_offer(size=2)
    team_id, _ = await hall.opened("cap")
    claim_id = await hall.joined("one", team_id, paid=False)
    assert await hall.teams.joinable(0, "ofr_t", 0, 9) == []
    await hall.bench.inventory.release(0, claim_id, attempt_id="", why="cancelled")
    assert await hall.teams.joinable(0, "ofr_t", 0, 9) == [team_id]


async def test_a_late_payment_takes_no_second_seat_of_its_buyer(hall: Hall) -> None:
    """They sat down again meanwhile: the seat they have now stays what it is."""
    await hall.team_offer(late="seat")
    team_id, _ = await hall.opened("cap")
    first = await hall.joined("one", team_id, paid=False)
    await hall.bench.inventory.release(0, first, attempt_id="", why="cancelled")
    second = await hall.joined("one", team_id, key="again-and-again")
    reply = await hall.bench.confirm(first, "att", "fct_1")
    assert (reply.what, reply.details) == ("late", ("no_seat",))
    assert (await hall.teams.seats(0, team_id))["one"] == second
    assert (await hall.teams.state(0, team_id))["paid"] == "2"


async def test_a_late_payment_stays_within_the_limits(hall: Hall) -> None:
    await hall.bench.offer(
        "ofr_t", 9, kind="team", late="new", team=team_rules(size=2), per_buyer_max=1
    )
    team_id, _ = await hall.opened("cap")
    late = await hall.joined("one", team_id, paid=False)
    await hall.bench.inventory.release(0, late, attempt_id="", why="cancelled")
    await hall.opened("one", key="another-team")
    reply = await hall.bench.confirm(late, "att", "fct_1")
    assert (reply.what, reply.details) == ("late", ("limit_reached",))


async def test_no_team_outlives_its_offer(hall: Hall) -> None:
    """Neither one that is opened nor one that a late payment opens."""
    rules = await hall.team_offer(size=2, term_ms=9 * HOUR_MS)
    team_id, claim_id = await hall.opened("cap", paid=False)
    assert (await hall.teams.state(0, team_id))["deadline_ms"] == str(rules.ends_at_ms)
    await hall.bench.inventory.release(0, claim_id, attempt_id="", why="cancelled")
    reply = await hall.bench.confirm(claim_id, "att", "fct_1")
    assert (reply.what, reply.details[0]) == ("landed", "new")
    anew = await hall.teams.state(0, reply.details[1])
    assert (anew["state"], anew["deadline_ms"]) == ("forming", str(rules.ends_at_ms))
