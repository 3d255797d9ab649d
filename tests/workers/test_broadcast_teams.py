"""What a team's own topic and the rooms are told of teams and crowds, and what they never are."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest_asyncio

from campaigns.offer.models import Offer
from campaigns.people.models import Member
from engine.room_events import room_topic, team_topic
from tests.workers.hall import Hall, open_hall
from tests.workers.seats import (
    cancelled,
    crowd_of,
    crowd_offer,
    decided,
    joined,
    opened,
    pays,
    sits,
    subsidised,
    team_offer,
)
from tests.workers.stage import Stage


@pytest_asyncio.fixture
async def hall(stage: Stage) -> AsyncIterator[Hall]:
    async with stage.db.begin() as session:
        session.add_all(
            [
                Member(
                    id=buyer,
                    nickname=f"小{buyer} 13800138000",
                    phone_hash=buyer,
                    phone_cipher=b"c",
                    phone_shown="138",
                )
                for buyer in ("cap", "two")
            ]
        )
    yield await open_hall(stage)


async def told(hall: Hall, topic: str) -> list[dict[str, Any]]:
    """The events of a log, oldest first."""
    return [msgspec.json.decode(one[3]) for one in await hall.logs.entries(topic, 0, 1_000)]


async def part(hall: Hall, topic: str, name: str) -> dict[str, Any]:
    """A part of a topic's state."""
    found: dict[str, Any] = msgspec.json.decode((await hall.snapshot(topic)).parts[name])
    return found


async def words(hall: Hall, team_id: str) -> list[tuple[str, str, int]]:
    """(what, nickname, paid seats) that a team's topic was told, one by one."""
    return [
        (one["what"], one["nickname"], one["paid"])
        for one in await told(hall, team_topic(team_id))
        if one["kind"] == "team_event"
    ]


async def test_a_team_hears_of_its_seats_with_nicknames_and_nothing_else(hall: Hall) -> None:
    stage = hall.stage
    offer = await team_offer(stage, size=2)
    team_id, _ = await opened(stage, offer, "cap")
    await hall.quiet()
    now = await part(hall, team_topic(team_id), "team")
    assert (now["state"], now["paid"], now["pending"], now["size"]) == ("forming", 1, 0, 2)
    await sits(stage, offer, "two", team_id)
    await hall.quiet()
    assert (await part(hall, team_topic(team_id), "team"))["pending"] == 1
    await joined_now(hall, offer, team_id)
    assert await words(hall, team_id) == [
        ("team.opened", "小cap 138****8000", 0),
        ("team.seat_filled", "小cap 138****8000", 1),
        ("team.seat_filled", "小two 138****8000", 2),
        ("team.formed", "", 2),
    ]
    assert (await part(hall, team_topic(team_id), "team"))["state"] == "formed"
    whole = " ".join(one[3] for one in await hall.logs.entries(team_topic(team_id), 0, 1_000))
    assert '"cap"' not in whole
    assert "clm-" not in whole


async def joined_now(hall: Hall, offer: Offer, team_id: str) -> None:
    """The held seat of `two` is paid."""
    claim_id = (await hall.stage.teams.seats(offer.shard, team_id))["two"]
    await hall.stage.settle()
    await pays(hall.stage, offer, claim_id)
    await hall.quiet()


async def test_a_failed_team_is_told_why_nobody_sits_there_any_more(hall: Hall) -> None:
    offer = await team_offer(hall.stage)
    team_id, _ = await opened(hall.stage, offer, "cap")
    await decided(hall.stage, offer, team_id)
    await hall.quiet()
    assert [one[0] for one in await words(hall, team_id)][-1] == "team.failed"
    assert (await part(hall, team_topic(team_id), "team"))["state"] == "failed"


async def test_a_cancelled_campaign_ends_its_teams_for_all_to_hear(hall: Hall) -> None:
    """Team and room are told why; of many teams a room hears of a few. The card is closed."""
    stage = hall.stage
    offer = await team_offer(stage, 90, on_cancel="refund")
    room = await hall.room(offer)
    teams = [(await opened(stage, offer, f"o{n}"))[0] for n in range(8)]
    await hall.quiet()
    await cancelled(stage, offer)
    await stage.teams.close(offer.shard, 99, again_ms=0, early=teams)
    for team_id in teams:
        await stage.teams.decide(offer.shard, team_id)
    await hall.quiet()
    for team_id in teams:
        last = [one for one in await told(hall, team_topic(team_id)) if "what" in one][-1]
        assert (last["what"], last["why"]) == ("team.failed", "cancelled")
    heard = [one for one in await told(hall, room_topic(room)) if one.get("why")]
    assert [one["what"] for one in heard] == ["team.failed"] * stage.settings.room_teams_max
    assert (await part(hall, room_topic(room), f"offer:{offer.id}"))["state"] == "closed"


async def test_a_subsidy_seat_is_told_as_such(hall: Hall) -> None:
    offer = await team_offer(hall.stage, size=2, subsidy_max=1)
    team_id, _ = await opened(hall.stage, offer, "cap")
    await hall.stage.settle()
    await subsidised(hall.stage, offer, team_id)
    await hall.quiet()
    assert [one[0] for one in await words(hall, team_id)][-2:] == [
        "team.subsidised",
        "team.formed",
    ]
    assert (await part(hall, team_topic(team_id), "team"))["subsidy"] == 1


async def test_a_room_shows_group_buys_and_how_many_teams_are_open(hall: Hall) -> None:
    stage = hall.stage
    offer, sale = await team_offer(stage, 90, captain_price=None), await stage.offer(3)
    room = await hall.room(offer, sale)
    await hall.quiet()
    topic = room_topic(room)
    card = await part(hall, topic, f"offer:{offer.id}")
    assert (card["offer_kind"], card["team"]["size"], card["late"]) == ("team", 3, "new")
    assert "team" not in await part(hall, topic, f"offer:{sale.id}")
    assert f"teams:{sale.id}" not in (await hall.snapshot(topic)).parts
    assert (await part(hall, topic, f"teams:{offer.id}"))["open_teams"] == 0
    for n in range(8):
        await opened(stage, offer, f"o{n}")
    await hall.quiet()
    assert (await part(hall, topic, f"teams:{offer.id}"))["open_teams"] == 8
    heard = [one["what"] for one in await told(hall, topic) if one["kind"] == "team_event"]
    assert heard == ["team.opened"] * stage.settings.room_teams_max  # of one batch
    await hall.check(room)


async def test_a_room_follows_its_crowd_and_hears_of_each_step(hall: Hall) -> None:
    stage = hall.stage
    offer = await crowd_offer(stage)
    room = await hall.room(offer)
    for n in range(4):
        await joined(stage, offer, f"c{n}", "")
    await hall.quiet()
    crowd = (await part(hall, room_topic(room), f"teams:{offer.id}"))["crowd"]
    assert (crowd["state"], crowd["paid"], crowd["step"]) == ("reached", 4, 2)
    heard = [one for one in await told(hall, room_topic(room)) if one["kind"] == "team_event"]
    assert [(one["what"], one["step"]) for one in heard] == [
        ("crowd.reached", 1),
        ("crowd.reached", 2),
    ]
    card = await part(hall, room_topic(room), f"offer:{offer.id}")
    assert [step["price_fen"] for step in card["team"]["steps"]] == [990, 900]
    own = await told(hall, team_topic(crowd_of(offer)))
    assert [one["kind"] for one in own].count("team") == 1  # once a batch, not once a seat
    await hall.check(room)


async def test_a_batch_that_is_told_again_is_told_once(hall: Hall) -> None:
    stage = hall.stage
    offer = await team_offer(stage)
    room = await hall.room(offer)
    await hall.quiet()
    before = len(await told(hall, room_topic(room)))
    team_id, _ = await opened(stage, offer, "cap")
    await hall.quiet()
    once = (await told(hall, team_topic(team_id)), await told(hall, room_topic(room)))
    assert len(once[1]) > before
    for follower in hall.broadcaster._followers:  # as one that was killed before it moved
        follower.at = (1, 0)
    await hall.quiet()
    assert (await told(hall, team_topic(team_id)), await told(hall, room_topic(room))) == once
