"""Comments and likes: who may, how often, and what is said to whom."""

import asyncio

import pytest

from engine.audit.room_facts import personal
from tests.waiting import eventually
from tests.ws.client import watching
from tests.ws.stage import Stage, room_parts


async def test_a_comment_is_said_once_and_seen_by_all(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway() as (_, url), stage.gateway() as (_, other):
        token, guest = stage.token([topic]), stage.token([topic], "")
        async with watching(url, token, [topic]) as one, watching(other, guest, [topic]) as two:
            await one.until("snapshot")
            await two.until("snapshot")
            await one.say("comment", topic=topic, id="c1", text="  多少钱？\n ")
            said = await one.until("said")
            await one.say("comment", topic=topic, id="c1", text="多少钱？")
            again = await one.until("said", 2)
            assert said == again == {"type": "said", "id": "c1", "offset": 1}
            for viewer in (one, two):
                seen = await viewer.until_at(topic, 1)
                assert [(c["nickname"], c["text"]) for c in seen.comments] == [
                    ("人mbr_1", "多少钱？")
                ]
                assert "mbr_1" not in str(seen.comments[0]["id"])


@pytest.mark.parametrize(
    ("subject", "topic_name", "text", "code"),
    [
        ("", None, "hello", "sign_in_first"),
        ("mbr_1", "room:other", "hello", "not_joined"),
        ("mbr_1", "me:mbr_1", "hello", "not_joined"),
        ("mbr_1", None, " \n\t ", "empty"),
        ("mbr_1", None, "好" * 201, "too_long"),
    ],
)
async def test_what_is_not_said(
    stage: Stage, subject: str, topic_name: str | None, text: str, code: str
) -> None:
    topic = await stage.room()
    topics = [topic, "me:mbr_1"] if subject else [topic]
    async with (
        stage.gateway() as (_, url),
        watching(url, stage.token(topics, subject), topics) as one,
    ):
        await one.until("snapshot", len(topics))
        await one.say("comment", topic=topic_name or topic, id="c1", text=text)
        refused = await one.until("refused")
        assert (refused["code"], refused["id"]) == (code, "c1")
        assert await stage.offset(topic) == 0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("加我 13812341234 谢谢", "加我 138****1234 谢谢"),
        ("138 1234 1234", "138****1234"),
        ("+86138-1234-1234!", "+86138****1234!"),
        ("１３８１２３４１２３４", "138****1234"),
        ("13812341234，13912341235", "138****1234，139****1235"),
        ("订单 1381234123456 和 12812341234", "订单 1381234123456 和 12812341234"),
        ("0086 13812341234 8613812341234", "0086 138****1234 86138****1234"),
        ("我的 openid 是 oABCDEFGHIJ_klmnopqrst-12345", "我的 openid 是 o****"),
        ("138\u200b1234\u200d1234", "138****1234"),
        ("好\u202e看 \u200f👨\u200d👩\u200d👧 \x07!", "好看 👨\u200d👩\u200d👧 !"),
        ("¥138.00，12 件，2026-11-22", "¥138.00，12 件，2026-11-22"),
        ("券码 1234 138-0013-8000", "券码 1234 138****8000"),
        ("2026 1122 138 0013 8000", "2026 1122 138****8000"),
        ("２13800138000", "２138****8000"),
        ("13800138000２", "138****8000２"),
    ],
)
async def test_nobodys_number_is_shown(stage: Stage, text: str, shown: str) -> None:
    topic = await stage.room()
    async with (
        stage.gateway() as (_, url),
        watching(url, stage.token([topic]), [topic]) as one,
    ):
        await one.until("snapshot")
        await one.say("comment", topic=topic, id="c1", text=text)
        seen = await one.until_at(topic, 1)
        assert [comment["text"] for comment in seen.comments] == [shown]
        assert all(personal(comment["text"]) is None for comment in seen.comments)


async def test_the_rate_of_a_member(stage: Stage) -> None:
    topic = await stage.room()
    slow = {"comment_every_ms": 60_000, "comment_burst_max": 2}
    async with (
        stage.gateway(**slow) as (_, url),
        watching(url, stage.token([topic]), [topic]) as one,
    ):
        await one.until("snapshot")
        for number in range(3):
            await one.say("comment", topic=topic, id=f"c{number}", text="好")
        refused = await one.until("refused")
        assert refused["code"] == "too_fast"
        assert 0 < refused["retry_ms"] <= 60_000
        assert len(one.of("said")) == 2


async def test_a_room_that_is_not_live(stage: Stage) -> None:
    await stage.logs.open("room:rm_later", room_parts("rm_later", "scheduled"))
    topic = "room:rm_later"
    async with stage.gateway() as (_, url), watching(url, stage.token([topic]), [topic]) as one:
        await one.until("snapshot")
        await one.say("comment", topic=topic, id="c", text="好")
        assert (await one.until("refused"))["code"] == "not_live"


async def test_likes_and_viewers_of_all_gateways(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway() as (_, url), stage.gateway() as (_, other):
        token = stage.token([topic])
        async with watching(url, token, [topic]) as one:
            async with watching(other, token, [topic]) as two:
                await one.say("like", topic=topic, n=30)
                await two.say("like", topic=topic, n=12)
                for viewer in (one, two):
                    await viewer.until_counted(2, 42)
                # Only a hundred in a second count, the thirty among them.
                await asyncio.gather(*(one.say("like", topic=topic, n=100) for _ in range(5)))
            await eventually(lambda: one.lives[-1]["viewers"] == 1)
            assert 70 <= one.lives[-1]["likes"] - 42 <= 200
            assert one.lives[-1]["behind_ms"] == 0


async def test_pings(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway() as (_, url), watching(url, stage.token([topic]), [topic]) as one:
        await one.until("snapshot")
        await one.say("ping", at_ms=7)
        pong = await one.until("pong")
        assert pong["at_ms"] == 7
        assert pong["server_ms"] > 1_000_000_000_000
