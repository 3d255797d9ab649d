"""Joining: what the first frame must be, whose token counts, and for which topics."""

import asyncio
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.waiting import eventually
from tests.ws.client import Client, watching
from tests.ws.stage import Stage
from ws import close_codes


async def closed_with(client: Client) -> int:
    """The code that a connection is closed with."""
    try:
        return await asyncio.wait_for(client.read(), 20)
    finally:
        await client.line.close()


async def test_a_snapshot_then_events(stage: Stage) -> None:
    topic = await stage.room()
    await stage.publish(topic, 3)
    async with stage.gateway() as (gateway, url):
        async with watching(url, stage.token([topic]), [topic]) as one:
            joined = await one.until("joined")
            assert joined["topics"] == [topic]
            assert joined["heartbeat_ms"] == 200
            told = await one.until("snapshot")
            assert told["offset"] == 3
            assert told["parts"]["room"]["title"] == "晚八点直播"
            last = await stage.publish(topic, 4)
            seen = await one.until_at(topic, last)
            assert seen.hash == await stage.hash(topic)
            assert len(one.of("snapshot")) == 1
            await eventually(lambda: one.lives and one.lives[-1]["viewers"] == 1)
        assert gateway.metrics.deliveries == 4


async def test_all_events_of_a_tick_are_one_frame(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway() as (_, url), watching(url, stage.token([topic]), [topic]) as one:
        await one.until("snapshot")
        await stage.publish(topic, 200)
        await one.until_at(topic, 200)
        assert [len(frame["events"]) for frame in one.of("events")] == [200]


FRAMES = [
    "not json",
    "{}",
    '{"type":"jump"}',
    '{"type":"ping","at_ms":1}',  # before the join
    '{"type":"join","token":"x","topics":[]}',
    '{"type":"join","token":"x","topics":[{"topic":"room:a","more":1}]}',
    '{"type":"join","token":"x","topics":[{"topic":"room:a","offset":-1}]}',
    '{"type":"join","token":"x","topics":[{"topic":"{room:a}"}]}',
    '{"type":"join","token":"x","topics":[{"topic":"room:a"},{"topic":"room:a"}]}',
    b"\x00binary",
    "[" * 3_000,
]


@pytest.mark.parametrize("frame", FRAMES)
async def test_a_frame_that_the_protocol_does_not_know(stage: Stage, frame: str | bytes) -> None:
    async with stage.gateway() as (_, url):
        client = Client(url, "", [])
        await client.open()
        await client.line.send(frame)
        assert await closed_with(client) == close_codes.BAD_FRAME


async def test_a_second_join_is_a_bad_frame(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway() as (_, url):
        client = Client(url, stage.token([topic]), [topic])
        await client.open()
        await client.join()
        await client.join()
        assert await closed_with(client) == close_codes.BAD_FRAME


async def test_tokens_that_do_not_count(stage: Stage) -> None:
    topic, other = await stage.room(), await stage.room()
    good = stage.token([topic])
    payload, _, signature = good.partition(".")
    cases = [
        (stage.token([topic], for_ms=-1), close_codes.TOKEN),
        (payload[:-2] + "AA." + signature, close_codes.TOKEN),
        (good[:-1] + ("0" if good[-1] != "0" else "1"), close_codes.TOKEN),
        ("nothing", close_codes.TOKEN),
        ("龙", close_codes.TOKEN),
        (stage.token([other]), close_codes.NOT_ALLOWED),
    ]
    async with stage.gateway() as (gateway, url):
        for token, code in cases:
            client = Client(url, token, [topic])
            await client.open()
            await client.join()
            assert await closed_with(client) == code, token
            assert not client.frames
        await eventually(lambda: not gateway.hub.viewers)  # the last one's end is under way


async def test_own_topic_and_never_anothers(stage: Stage) -> None:
    room = await stage.room()
    mine, yours = "me:mbr_1", "me:mbr_2"
    async with stage.gateway() as (_, url):
        mine_token = stage.token([room, mine])
        async with watching(url, mine_token, [room, mine]) as one:
            await one.until("snapshot", 2)
            assert one.seen[mine].epoch == ""  # nothing happened there yet
            await stage.publish(yours, 2)
            await stage.publish(mine, 1)
            await one.until_at(mine, 1)
            told = one.of("snapshot")[-1]
            assert (told["topic"], told["epoch"] != "") == (mine, True)
            await stage.publish(mine, 1)
            await one.until_at(mine, 2)
            assert {frame["topic"] for frame in one.of("events")} == {mine}


async def test_a_silent_connection_is_closed(stage: Stage) -> None:
    async with stage.gateway(join_within_ms=500) as (_, url):
        client = Client(url, "", [])
        await client.open()
        assert await closed_with(client) == close_codes.TOKEN


async def test_an_expired_token_ends_the_viewing_unless_renewed(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway() as (_, url):
        short = stage.token([topic], for_ms=1_500)
        lapsing = Client(url, short, [topic])
        await lapsing.open()
        await lapsing.join()
        async with watching(url, short, [topic]) as renewing:
            await renewing.until("snapshot")
            await renewing.say("token", token=stage.token([topic]))
            assert await closed_with(lapsing) == close_codes.TOKEN
            await asyncio.sleep(0.6)
            last = await stage.publish(topic)
            await renewing.until_at(topic, last)


@pytest.mark.parametrize("foreign", ["subject", "topics", "expired"])
async def test_a_renewal_must_be_of_the_same_viewer(stage: Stage, foreign: str) -> None:
    topic, other = await stage.room(), await stage.room()
    tokens = {
        "subject": stage.token([topic], "mbr_2"),
        "topics": stage.token([other]),
        "expired": stage.token([topic], for_ms=-1),
    }
    async with stage.gateway() as (_, url):
        client = Client(url, stage.token([topic]), [topic])
        await client.open()
        await client.join()
        await client.say("token", token=tokens[foreign])
        code = close_codes.TOKEN if foreign == "expired" else close_codes.NOT_ALLOWED
        assert await closed_with(client) == code


@pytest.mark.parametrize(
    ("origin", "changes", "status"),
    [
        ("https://evil.example", {}, 403),
        ("http://localhost:5173", {}, 101),
        ("http://localhost.evil.example", {}, 403),
        ("http://localhost:5173", {"mode": "production"}, 403),
        (
            "https://shop.example",
            {"mode": "production", "public_url": "https://shop.example/"},
            101,
        ),
        ("https://a.example", {"mode": "production", "origins": "https://a.example,null"}, 101),
        ("https://a.example:444", {"mode": "production", "origins": "https://a.example"}, 403),
    ],
)
async def test_origins(stage: Stage, origin: str, changes: dict[str, Any], status: int) -> None:
    async with stage.gateway(**changes) as (_, url):
        client = Client(url, "", [])
        if status == 101:
            await client.open(origin=origin)
            await client.line.close()
            return
        with pytest.raises(InvalidStatus) as refused:
            await client.open(origin=origin)
        assert refused.value.response.status_code == status


async def test_too_many_viewers_are_told_when_to_come_back(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway(viewers_max=1) as (_, url):
        async with watching(url, stage.token([topic]), [topic]) as first:
            await first.until("snapshot")
            second = Client(url, stage.token([topic]), [topic])
            await second.open()
            assert await closed_with(second) == close_codes.BUSY
            assert second.of("bye")[0]["code"] == "busy"
            assert 0 <= second.of("bye")[0]["after_ms"] <= 100
        third = Client(url, stage.token([topic]), [topic])

        async def gets_in() -> bool:
            await third.open()
            await third.join()
            reading = asyncio.create_task(third.read())
            await asyncio.sleep(0.1)
            await third.line.close()
            await reading
            return bool(third.of("snapshot"))

        await eventually(gets_in)


async def test_a_flood_of_frames_is_closed(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway() as (_, url):
        client = Client(url, stage.token([topic]), [topic])
        await client.open()
        await client.join()
        for number in range(60):
            await client.say("ping", at_ms=number)
        assert await closed_with(client) == close_codes.TOO_MANY


async def test_a_frame_that_is_too_long(stage: Stage) -> None:
    async with stage.gateway() as (_, url):
        client = Client(url, "x" * 1_000, [])
        await client.open()
        await client.line.send(" " * 5_000)
        assert await closed_with(client) == 1009
