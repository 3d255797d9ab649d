"""Seats, teams and crowds on the real scripts: the musts of group buys, each by name."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio
from redis.asyncio import Redis

from engine import keys
from engine.inventory import Reply
from tests.engine.hotshard import bench
from tests.engine.seats import CROWD_ID, Hall


@pytest_asyncio.fixture
async def hall(hot: Redis, valkey_url: str) -> AsyncIterator[Hall]:
    async with bench(valkey_url) as opened:
        await opened.open()
        yield Hall(opened)


async def test_a_team_forms_when_every_seat_is_paid(hall: Hall) -> None:
    await hall.team_offer()
    team_id, _ = await hall.opened("cap")
    await hall.joined("one", team_id)
    assert (await hall.teams.state(0, team_id))["state"] == "forming"
    assert await hall.teams.joinable(0, "ofr_t", 0, 9) == [team_id]
    await hall.joined("two", team_id)
    team = await hall.teams.state(0, team_id)
    assert (team["state"], team["paid"], team["held"], team["paying"]) == ("formed", "3", "0", "0")
    assert await hall.teams.joinable(0, "ofr_t", 0, 9) == []
    assert (await hall.kinds())[-2:] == ["team.seat_filled", "team.formed"]
    assert await hall.seat("three", team_id) == Reply("team_over", ("formed",))
    await hall.deadline_passes(team_id)  # what it became stays true after its time
    assert await hall.seat("three", team_id) == Reply("team_over", ("formed",))


async def test_a_seat_is_held_before_it_is_paid(hall: Hall) -> None:
    await hall.team_offer()
    team_id, _ = await hall.opened("cap")
    await hall.joined("one", team_id, paid=False)
    await hall.joined("two", team_id, paid=False)
    assert (await hall.seat("three", team_id)).what == "team_full"
    stock = await hall.bench.inventory.offer_state(0, "ofr_t")
    assert (stock["available"], stock["held"], stock["sold"]) == ("6", "2", "1")


async def test_a_captain_who_does_not_pay_dissolves_the_team(hall: Hall) -> None:
    await hall.team_offer()
    team_id, claim_id = await hall.opened("cap", paid=False)
    assert (await hall.seat("one", team_id)).details == ("opening",)
    await hall.bench.inventory.release(0, claim_id, attempt_id="", why="cancelled")
    assert (await hall.teams.state(0, team_id))["state"] == "failed"
    assert (await hall.seat("cap", key="again-and-again")).what == "held"


async def test_nobody_has_two_open_teams_or_two_seats(hall: Hall) -> None:
    await hall.team_offer()
    team_id, claim_id = await hall.opened("cap")
    assert (await hall.seat("cap", key="other-key")).details == (team_id,)
    reply = await hall.seat("cap", team_id, key="third-key")
    assert (reply.what, reply.details) == ("in_team", (claim_id,))


async def test_opening_needs_stock_for_the_whole_team(hall: Hall) -> None:
    await hall.team_offer(total=2)
    assert (await hall.seat("cap")).what == "sold_out"


async def test_the_earliest_paid_member_succeeds_the_captain(hall: Hall) -> None:
    await hall.team_offer()
    team_id, claim_id = await hall.opened("cap")
    await hall.joined("one", team_id)
    await hall.bench.inventory.give_back(0, claim_id, units=1, refund_id="rfd_1")
    team = await hall.teams.state(0, team_id)
    assert (team["state"], team["captain_id"], team["paid"]) == ("forming", "one", "1")
    assert (await hall.seat("cap", key="opens-again")).what == "held"


async def test_paying_at_the_deadline_seats(hall: Hall) -> None:
    await hall.team_offer(size=2)
    team_id, _ = await hall.opened("cap")
    claim_id = await hall.joined("one", team_id, paid=False)
    await hall.bench.inventory.pay_begin(0, claim_id, "att_1")
    await hall.deadline_passes(team_id)
    assert (await hall.teams.close(0, 10, again_ms=500)).details == ("1", team_id)
    assert (await hall.teams.decide(0, team_id)).what == "waiting"
    assert (await hall.bench.confirm(claim_id, "att_1", "fct_1")).what == "paid"
    assert (await hall.teams.state(0, team_id))["state"] == "formed"


async def test_a_team_that_is_not_full_fails_at_its_deadline(hall: Hall) -> None:
    await hall.team_offer(size=2)
    team_id, _ = await hall.opened("cap")
    claim_id = await hall.joined("one", team_id, paid=False)
    await hall.deadline_passes(team_id)
    assert (await hall.teams.close(0, 10, again_ms=0)).details == ("1",)
    assert (await hall.bench.inventory.pay_begin(0, claim_id, "att")).what == "team_over"
    await hall.bench.inventory.settled(0, 99, epoch=1)
    await hall.bench.inventory.sweep(0, 10)
    assert (await hall.teams.close(0, 10, again_ms=0)).details == ("1", team_id)
    assert (await hall.teams.decide(0, team_id)).what == "failed"
    assert (await hall.bench.confirm(claim_id, "att", "fct_late")).details[0] == "new"


async def test_late_payments_land_as_declared(hall: Hall) -> None:
    await hall.team_offer()
    team_id, _ = await hall.opened("cap")
    claim_id = await hall.joined("one", team_id, paid=False)
    await hall.bench.inventory.release(0, claim_id, attempt_id="", why="cancelled")
    reply = await hall.bench.confirm(claim_id, "att", "fct_1")
    assert (reply.what, reply.details) == ("landed", ("seat", team_id))
    assert (await hall.teams.state(0, team_id))["paid"] == "2"


async def test_unpaid_seats_leave_when_the_closing_is_over(hall: Hall) -> None:
    await hall.team_offer(size=2, closing_max_ms=0, late="refund")
    team_id, _ = await hall.opened("cap")
    claim_id = await hall.joined("one", team_id, paid=False)
    await hall.bench.inventory.pay_begin(0, claim_id, "att_1")
    await hall.deadline_passes(team_id)
    await hall.teams.close(0, 10, again_ms=0)
    assert (await hall.teams.decide(0, team_id, [claim_id])).details == ("1",)
    # Nothing is decided in the call by which they leave, so that a rescue comes before the end.
    assert (await hall.teams.state(0, team_id))["state"] == "closing"
    assert (await hall.teams.decide(0, team_id)).what == "failed"
    claim = await hall.bench.inventory.claim_state(0, claim_id)
    assert (claim["state"], claim["seat"]) == ("paying", "")
    reply = await hall.bench.confirm(claim_id, "att_1", "fct_1")
    assert (reply.what, reply.details) == ("late", ("refund",))
    stock = await hall.bench.inventory.offer_state(0, "ofr_t")
    assert (stock["available"], stock["held"], stock["sold"]) == ("8", "0", "1")


async def test_rescue_moves_a_paid_member_with_consent(hall: Hall) -> None:
    await hall.team_offer(size=2)
    failing, claim_id = await hall.opened("cap", consent=True)
    target, _ = await hall.opened("host")
    assert (await hall.teams.move(0, claim_id, target)).what == "not_failing"
    await hall.deadline_passes(failing)
    await hall.teams.close(0, 10, again_ms=0)
    assert (await hall.teams.move(0, claim_id, target)).details == ("formed",)
    assert (await hall.teams.state(0, failing))["state"] == "failed"
    assert await hall.team_of(claim_id) == target


async def test_the_merchant_fills_seats_within_the_budget(hall: Hall) -> None:
    await hall.team_offer(subsidy_max=1)
    team_id, _ = await hall.opened("cap")
    assert (await hall.teams.subsidise(0, team_id, command_id="c", seats=2)).what == "over_budget"
    await hall.joined("one", team_id)
    assert (await hall.teams.subsidise(0, team_id, command_id="c", seats=1)).details == ("formed",)
    assert (await hall.teams.subsidise(0, team_id, command_id="c", seats=1)).what == "done"


async def test_a_crowd_reaches_its_steps_and_its_price_follows(hall: Hall) -> None:
    await hall.crowd_offer()
    offer: dict[str, Any] = {"offer_id": "ofr_c", "price_id": "prc_low"}
    for buyer_id in ("a", "b", "c", "d"):
        await hall.joined(buyer_id, "", **offer)
    team = await hall.teams.state(0, CROWD_ID)
    assert (team["state"], team["paid"], team["step"]) == ("reached", "4", "2")
    assert (await hall.seat("e", **offer)).details == ("prc_lower", "700")
    assert (await hall.kinds()).count("crowd.reached") == 2
    await hall.deadline_passes(CROWD_ID)
    await hall.teams.close(0, 10, again_ms=0)
    assert (await hall.teams.decide(0, CROWD_ID)).what == "formed"


async def test_new_customers_only(hall: Hall) -> None:
    await hall.team_offer(newcomers_only=True)
    team_id, _ = await hall.opened("cap")
    assert (await hall.seat("one", team_id)).what == "newcomers_only"
    await hall.joined("one", team_id, traits="n")
    assert await hall.bench.wire.call("HLEN", keys.groups(0) + "newcomers:cmp_a") == 1


async def test_who_got_all_money_back_is_a_new_customer_again(hall: Hall) -> None:
    await hall.team_offer(newcomers_only=True, size=2)
    team_id, _ = await hall.opened("cap")
    claim_id = await hall.joined("one", team_id, traits="n")
    other, _ = await hall.opened("host")
    assert (await hall.seat("one", other, key="k", traits="n")).details == ("newcomer", "1")
    await hall.bench.inventory.give_back(0, claim_id, units=1, refund_id="rfd_1")
    assert (await hall.teams.state(0, team_id))["state"] == "formed"
    assert (await hall.seat("one", other, key="k", traits="n")).what == "held"


async def test_an_opener_who_left_and_came_back_still_has_one_open_team(hall: Hall) -> None:
    await hall.team_offer()
    first, left = await hall.opened("cap")
    one = await hall.joined("one", first)
    await hall.bench.inventory.give_back(0, left, units=1, refund_id="rfd_1")
    second, _ = await hall.opened("cap", key="second")
    back = await hall.joined("cap", first, key="back")
    # They lead the first team again, and leave it again: the second one is still theirs.
    await hall.bench.inventory.give_back(0, one, units=1, refund_id="rfd_2")
    assert (await hall.teams.state(0, first))["captain_id"] == "cap"
    await hall.bench.inventory.give_back(0, back, units=1, refund_id="rfd_3")
    assert (await hall.seat("cap", key="third")).details == (second,)
