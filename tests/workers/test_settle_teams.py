"""Teams in the rows: who sits where, and what their money becomes when a team is decided."""

from tests.workers.acts import begin_paying, confirm, give_back
from tests.workers.laws import check, rows
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
from tests.workers.stage import Stage

TEAM = "SELECT state, why, captain_id, paid, subsidy, decided_at_ms, booked_at_ms FROM teams"
SEATS = "SELECT buyer_id, state, seat, split_fen FROM orders ORDER BY claimed_at_ms, id"
REFUNDS = "SELECT cause, amount_fen, units, state FROM refunds ORDER BY payment_id"


async def seats(stage: Stage) -> list[tuple[object, ...]]:
    """(buyer, state, seat, split) of all orders, as they were claimed."""
    return [tuple(row.values()) for row in await rows(stage, SEATS)]


async def test_a_seat_is_an_order_in_its_team(stage: Stage) -> None:
    offer = await team_offer(stage)
    claim_id = await sits(stage, offer, "cap", consent=True)
    team_id = await team_of(stage, offer, claim_id)
    await stage.settle()
    (order,) = await rows(stage, "SELECT team_id, seat, consent, newcomer, state FROM orders")
    assert tuple(order.values()) == (team_id, "taken", True, False, "open")
    (team,) = await rows(stage, TEAM)
    assert (team["state"], team["captain_id"], team["paid"]) == ("opening", "cap", 0)
    await pays(stage, offer, claim_id)
    await stage.settle()
    (team,) = await rows(stage, TEAM)
    assert (team["state"], team["paid"]) == ("forming", 1)
    assert await seats(stage) == [("cap", "paid", "taken", None)]
    await check(stage)


async def test_a_formed_team_is_split_in_the_same_batch(stage: Stage) -> None:
    await stage.people()
    offer = await team_offer(stage)
    team_id, _ = await opened(stage, offer, "m1")
    await joined(stage, offer, "b", team_id)
    await stage.settle()
    assert await stage.scalar("SELECT count(*) FROM postings") == 0
    await joined(stage, offer, "c", team_id)
    await stage.settle()
    (team,) = await rows(stage, TEAM)
    assert (team["state"], team["why"], team["paid"]) == ("formed", "full", 3)
    assert team["booked_at_ms"] == team["decided_at_ms"] is not None
    assert [row[1:] for row in await seats(stage)] == [("paid", "taken", 990)] * 3
    assert await stage.scalar("SELECT sum(amount_fen) FROM postings") == 3 * 990
    await check(stage)


async def test_a_failed_team_refunds_each_paid_member_once(stage: Stage) -> None:
    offer = await team_offer(stage)
    team_id, _ = await opened(stage, offer, "cap")
    await joined(stage, offer, "b", team_id)
    await sits(stage, offer, "c", team_id)
    assert await decided(stage, offer, team_id) == "failed"
    assert [row[:3] for row in await seats(stage)] == [
        ("cap", "refunding", "taken"),
        ("b", "refunding", "taken"),
        ("c", "released", "left"),
    ]
    found = [tuple(row.values()) for row in await rows(stage, REFUNDS)]
    assert found == [("team_failed", 990, 1, "due")] * 2
    assert await stage.scalar("SELECT count(*) FROM ledger_transactions") == 0
    await check(stage)


async def test_a_failed_team_refunds_what_nobody_asked_back_yet(stage: Stage) -> None:
    offer = await team_offer(stage, seat_qty=2)
    claim_id = await sits(stage, offer, "cap", qty=2)
    fact_id, _ = await pays(stage, offer, claim_id, qty=2)
    team_id = await team_of(stage, offer, claim_id)
    await stage.settle()
    await give_back(stage, offer, claim_id, fact_id, units=1)
    assert await decided(stage, offer, team_id) == "failed"
    assert [tuple(row.values())[:3] for row in await rows(stage, REFUNDS)].count(
        ("team_failed", 990, 1)
    ) == 1


async def test_a_full_refund_frees_the_seat_and_the_captaincy(stage: Stage) -> None:
    offer = await team_offer(stage)
    team_id, claim_id = await opened(stage, offer, "cap")
    await joined(stage, offer, "b", team_id)
    await stage.settle()
    payment_id = str(await stage.scalar("SELECT payment_id FROM orders WHERE buyer_id = 'cap'"))
    await give_back(stage, offer, claim_id, payment_id, units=1)
    await stage.settle()
    (team,) = await rows(stage, TEAM)
    assert (team["state"], team["captain_id"], team["paid"]) == ("forming", "b", 1)
    assert (await seats(stage))[0] == ("cap", "paid", "left", None)
    await check(stage)


async def test_an_unpaid_captain_dissolves_the_team(stage: Stage) -> None:
    offer = await team_offer(stage)
    claim_id = await sits(stage, offer, "cap")
    await stage.inventory.release(offer.shard, claim_id, attempt_id="", why="cancelled")
    await stage.settle()
    (team,) = await rows(stage, TEAM)
    assert (team["state"], team["why"]) == ("failed", "empty")
    assert await seats(stage) == [("cap", "released", "left", None)]
    await check(stage)


async def test_a_late_payment_lands_where_it_was_declared(stage: Stage) -> None:
    offer = await team_offer(stage)
    team_id, _ = await opened(stage, offer, "cap")
    own = await sits(stage, offer, "own", team_id)
    other = await sits(stage, offer, "other", consent=True)
    alone = await sits(stage, offer, "alone")
    attempts = {one: await begin_paying(stage, offer, one) for one in (own, other, alone)}
    for claim_id, attempt_id in attempts.items():
        await stage.inventory.release(offer.shard, claim_id, attempt_id=attempt_id, why="closed")
    await stage.settle()
    landed = []
    for claim_id, attempt_id in attempts.items():
        _, reply = await confirm(stage, offer, claim_id, attempt_id)
        landed.append(reply.details[0])
        await stage.settle()
    assert landed == ["seat", "other", "new"]
    states = "SELECT state FROM teams ORDER BY opened_at_ms, id"
    assert sorted(row["state"] for row in await rows(stage, states)) == [
        "failed",
        "failed",
        "formed",
        "forming",
    ]
    assert [row[1:3] for row in await seats(stage)] == [("paid", "taken")] * 4
    await check(stage)


async def test_a_payment_after_the_closing_goes_back(stage: Stage) -> None:
    offer = await team_offer(stage, late="refund", closing_max_ms=0)
    team_id, _ = await opened(stage, offer, "cap")
    claim_id = await sits(stage, offer, "b", team_id)
    attempt_id = await begin_paying(stage, offer, claim_id)
    await deadline_passes(stage, offer, team_id)
    await stage.teams.close(offer.shard, 9, again_ms=0)
    assert (await stage.teams.decide(offer.shard, team_id, [claim_id])).what == "left"
    await stage.settle()
    assert (await seats(stage))[1] == ("b", "open", "left", None)
    assert (await stage.teams.decide(offer.shard, team_id)).what == "failed"
    assert (await confirm(stage, offer, claim_id, attempt_id))[1].what == "late"
    await stage.settle()
    assert sorted(row["cause"] for row in await rows(stage, REFUNDS)) == ["late", "team_failed"]
    assert (await seats(stage))[1] == ("b", "released", "left", None)
    await check(stage)


async def test_a_rescued_member_stands_with_the_team_they_came_to(stage: Stage) -> None:
    offer = await team_offer(stage, size=2)
    failing, claim_id = await opened(stage, offer, "cap", consent=True)
    target, _ = await opened(stage, offer, "host")
    await deadline_passes(stage, offer, failing)
    await stage.teams.close(offer.shard, 9, again_ms=0)
    assert (await stage.teams.move(offer.shard, claim_id, target)).details == ("formed",)
    await stage.settle()
    states = {row["id"]: row["state"] for row in await rows(stage, "SELECT id, state FROM teams")}
    assert states == {failing: "failed", target: "formed"}
    assert [row[1:] for row in await seats(stage)] == [("paid", "taken", 990)] * 2
    assert await rows(stage, REFUNDS) == []
    await check(stage)


async def test_a_subsidy_is_in_the_books(stage: Stage) -> None:
    offer = await team_offer(stage, subsidy_max=2)
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    assert (await subsidised(stage, offer, team_id, seats=2)).details == ("formed",)
    await stage.settle()
    (team,) = await rows(stage, TEAM)
    assert (team["state"], team["paid"], team["subsidy"]) == ("formed", 1, 2)
    assert await stage.scalar("SELECT applied_seq IS NOT NULL FROM team_commands") is True
    posted = "SELECT amount_fen FROM postings WHERE source = 'subsidy' AND destination = 'hq'"
    assert await stage.scalar(posted) == 2 * 990
    await check(stage)


async def test_a_crowd_is_left_to_its_loop(stage: Stage) -> None:
    offer = await crowd_offer(stage)
    for buyer in "ab":
        await joined(stage, offer, buyer, "")
    await stage.settle()
    (team,) = await rows(stage, "SELECT state, paid, step FROM teams")
    assert tuple(team.values()) == ("reached", 2, 1)
    await check(stage)
    assert await decided(stage, offer, crowd_of(offer)) == "formed"
    (team,) = await rows(stage, TEAM)
    assert (team["state"], team["why"], team["booked_at_ms"]) == ("formed", "reached", None)
    assert [row[1:] for row in await seats(stage)] == [("paid", "taken", None)] * 2
    await check(stage)
