"""A team's topic through the gateway: its state, what happens to it, and only with its token."""

import asyncio

from engine.ids import now_ms
from engine.room_events import TeamNow, TeamTold, TopicEvent, team_topic, topic_event
from tests.waiting import eventually
from tests.ws.client import Client, watching
from tests.ws.stage import Stage
from ws import close_codes

TEAM_ID = "tem-s0-e1-7-0123456789abcdef"


def filled(paid: int) -> list[TopicEvent]:
    """A seat was paid, and what the team is now."""
    told = TeamTold(
        at_ms=now_ms(),
        team_id=TEAM_ID,
        offer_id="ofr_1",
        what="team.seat_filled",
        nickname="小林",
        paid=paid,
    )
    now = TeamNow(
        at_ms=now_ms(),
        team_id=TEAM_ID,
        offer_id="ofr_1",
        team_kind="team",
        state="formed" if paid == 3 else "forming",
        size=3,
        paid=paid,
        pending=0,
        subsidy=0,
        step=0,
        deadline_ms=now_ms() + 60_000,
    )
    return [topic_event(f"s0-e1-{paid}", told), topic_event(f"tick-s0-e1-{paid}-team", now)]


async def test_a_team_is_told_to_who_follows_it(stage: Stage) -> None:
    topic = team_topic(TEAM_ID)
    async with stage.gateway() as (_, url), watching(url, stage.token([topic]), [topic]) as one:
        assert (await one.until("snapshot"))["epoch"] == ""  # nothing is known of it yet
        await stage.logs.publish(topic, filled(1), shard=0, mark=(1, 1))
        told = await one.until_at(topic, 2)
        assert told.hash == await stage.hash(topic)
        await stage.logs.publish(topic, filled(3), shard=0, mark=(1, 3))
        told = await one.until_at(topic, 4)
        assert told.hash == await stage.hash(topic)
        await eventually(lambda: bool(one.lives))  # the heartbeat comes without a room, too
        async with watching(url, stage.token([topic]), [topic]) as late:
            seen = await late.until("snapshot")
            assert set(seen["parts"]) == {"team"}
            assert seen["parts"]["team"]["state"] == "formed"


async def test_a_team_is_told_to_nobody_else(stage: Stage) -> None:
    room, topic = await stage.room(), team_topic(TEAM_ID)
    await stage.logs.publish(topic, filled(1), shard=0, mark=(1, 1))
    async with stage.gateway() as (_, url):
        client = Client(url, stage.token([room]), [topic])
        await client.open()
        await client.join()
        assert await asyncio.wait_for(client.read(), 20) == close_codes.NOT_ALLOWED
        assert not client.frames
        await client.line.close()
