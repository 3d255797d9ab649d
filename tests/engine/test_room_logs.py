"""Logs of topics on the real hot store: numbered without a gap, each cause once."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine import keys
from engine.room_events import (
    Host,
    Pin,
    Recovered,
    RoomNow,
    RoomStore,
    TopicEvent,
    decode,
    encode,
    part_of,
    topic_event,
)
from engine.rooms import RoomLogs
from engine.scripts import load_all
from engine.settings import Settings
from engine.wire import Wire

ROOM, ME = "room:rm_1", "me:m1"
LIVE = RoomNow(
    at_ms=1,
    room_id="rm_1",
    title="夜场",
    state="live",
    host=Host("g1", "甲"),
    store=RoomStore("s1", "店"),
    starts_at_ms=1,
)


def pin(number: int, *, seq: int = 0, was: str | None = None) -> TopicEvent:
    event = Pin(at_ms=number, offer_id=f"ofr_{number}")
    return topic_event(f"s1-e1-{number}", event, seq=seq, was=was)


@pytest_asyncio.fixture
async def logs(hot: Redis, valkey_url: str) -> AsyncIterator[RoomLogs]:
    wire = Wire(valkey_url, load_all().values())
    await wire.start()
    yield RoomLogs(wire, settings=Settings(me_log_max=5))
    await wire.close()


async def opened(logs: RoomLogs) -> str:
    return (await logs.open(ROOM, {"room": encode(LIVE)})).epoch


async def offsets(logs: RoomLogs, topic: str) -> list[int]:
    seen = await logs.snapshot(topic)
    assert seen is not None
    return [entry.offset for entry in (await logs.read(topic, seen.epoch, 0, 10_000)).entries]


async def test_a_room_without_a_log_says_so_and_an_opened_one_begins_with_its_parts(
    logs: RoomLogs,
) -> None:
    assert (await logs.publish(ROOM, [pin(1)])).what == "no_log"
    assert await logs.snapshot(ROOM) is None
    assert await logs.read(ROOM, "x", 0, 10) == ("", 0, [])
    epoch = await opened(logs)
    assert (await logs.open(ROOM, {})).epoch == epoch  # there: left alone
    seen = await logs.snapshot(ROOM)
    assert seen is not None
    assert (seen.epoch, seen.offset, seen.parts) == (epoch, 0, {"room": encode(LIVE)})


async def test_repeats_at_or_below_the_mark_are_ignored_and_an_overlap_is_cut(
    logs: RoomLogs,
) -> None:
    epoch = await opened(logs)
    first = [pin(n, seq=n) for n in (3, 5)]
    assert (await logs.publish(ROOM, first, shard=1, mark=(1, 5))).details == (epoch, "1", "2")
    assert (await logs.publish(ROOM, first, shard=1, mark=(1, 5))).what == "ignored"
    assert (await logs.publish(ROOM, first[:1], shard=1, mark=(1, 4))).what == "ignored"
    longer = [*first, pin(7, seq=7), topic_event("tick-9", Recovered(at_ms=1, shard=1))]
    reply = await logs.publish(ROOM, longer, shard=1, mark=(1, 9))
    assert reply.details == (epoch, "3", "4")
    assert (await logs.publish(ROOM, [pin(8, seq=2)], shard=1, mark=(2, 2))).what == "published"
    assert (await logs.publish(ROOM, [pin(9, seq=99)], shard=1, mark=(1, 99))).what == "ignored"
    other = await logs.publish(ROOM, [pin(10, seq=1)], shard=2, mark=(1, 1))
    assert other.what == "published"  # shards have marks of their own
    assert await offsets(logs, ROOM) == [1, 2, 3, 4, 5, 6]


async def test_a_batch_that_adds_nothing_still_moves_the_mark(logs: RoomLogs) -> None:
    await opened(logs)
    assert (await logs.publish(ROOM, [], shard=1, mark=(1, 9))).what == "ignored"
    assert (await logs.publish(ROOM, [pin(3, seq=3)], shard=1, mark=(1, 8))).what == "ignored"
    assert await offsets(logs, ROOM) == []


async def test_a_command_is_published_once_and_never_behind_a_newer_one(logs: RoomLogs) -> None:
    await opened(logs)
    assert (await logs.publish(ROOM, [pin(1)], command_id="rcm_2")).what == "published"
    assert (await logs.publish(ROOM, [pin(1)], command_id="rcm_2")).what == "ignored"
    assert (await logs.publish(ROOM, [pin(2)], command_id="rcm_1")).what == "ignored"
    assert (await logs.publish(ROOM, [pin(3)], command_id="rcm_3")).what == "published"
    seen = await logs.snapshot(ROOM)
    assert seen is not None
    assert seen.parts["pin"] == encode(Pin(at_ms=3, offer_id="ofr_3"))


async def test_commands_that_the_opening_parts_contain_are_ignored(logs: RoomLogs) -> None:
    await logs.open(ROOM, {"room": encode(LIVE)}, floor="rcm_5")
    assert (await logs.publish(ROOM, [pin(1)], command_id="rcm_5")).what == "ignored"
    assert (await logs.publish(ROOM, [pin(1)], command_id="rcm_6")).what == "published"


async def test_an_event_may_depend_on_what_its_part_was(logs: RoomLogs) -> None:
    await opened(logs)
    assert (await logs.publish(ROOM, [pin(1, was="")])).what == "published"
    assert (await logs.publish(ROOM, [pin(2, was="")])).what == "ignored"
    assert (await logs.publish(ROOM, [pin(2, was=pin(1).event)])).what == "published"


async def test_a_members_log_is_made_at_once_stays_short_and_begins_anew_when_full(
    logs: RoomLogs, redis: Redis
) -> None:
    for number in range(1, 9):
        event = topic_event(f"x{number}", Recovered(at_ms=number, shard=1))
        assert (await logs.publish(ME, [event])).what == "published"
    assert await offsets(logs, ME) == [4, 5, 6, 7, 8]
    assert 0 < await redis.pttl(keys.log(ME)) <= Settings().me_keep_ms
    first = await logs.snapshot(ME)
    for number in range(6):
        await logs.publish(ME, [TopicEvent(f"c{number}", f"claim:{number}", "{}")])
    last = await logs.snapshot(ME)
    assert first is not None
    assert last is not None
    assert last.epoch != first.epoch
    assert list(last.parts) == ["claim:5"]
    assert last.offset == 1


async def test_comments_have_a_rate_are_said_once_and_only_while_it_is_on(logs: RoomLogs) -> None:
    assert (await logs.say(ROOM, "member-1", "小熊", "c1", "好")).what == "no_log"
    epoch = await opened(logs)
    said = [await logs.say(ROOM, "member-1", "小熊", f"c{n}", '"好"/\n') for n in range(5)]
    assert [reply.what for reply in said] == ["said", "said", "said", "too_fast", "too_fast"]
    assert 0 < int(said[3].details[0]) <= Settings().comment_every_ms
    assert (await logs.say(ROOM, "member-1", "小熊", "c0", "again")).details == ("1",)
    assert (await logs.say(ROOM, "m2", "月亮", "c0", "嗨")).details == ("4",)
    seen = await logs.snapshot(ROOM)
    assert seen is not None
    first = decode(seen.comments[0])
    assert (part_of(first), getattr(first, "text", "")) == ("", '"好"/\n')
    assert getattr(first, "id", "") == f"{epoch}-1"
    assert "member-1" not in seen.comments[0]
    tail = await logs.read(ROOM, epoch, 0, 10)
    assert tuple(entry.event for entry in tail.entries) == seen.comments
    ended = RoomNow(
        **{name: getattr(LIVE, name) for name in LIVE.__struct_fields__} | {"state": "ended"}
    )
    await logs.publish(ROOM, [topic_event("end", ended)])
    assert (await logs.say(ROOM, "m3", "星", "c9", "晚安")).what == "not_live"


async def test_the_rate_is_given_back_with_time(hot: Redis, valkey_url: str) -> None:
    wire = Wire(valkey_url, load_all().values())
    await wire.start()
    logs = RoomLogs(wire, settings=Settings(comment_every_ms=30, comment_burst_max=1))
    await opened(logs)
    assert (await logs.say(ROOM, "m1", "熊", "a", "1")).what == "said"
    refused = await logs.say(ROOM, "m1", "熊", "b", "2")
    if refused.what == "too_fast":  # else 30 ms have gone by already
        await asyncio.sleep((int(refused.details[0]) + 5) / 1000)
        assert (await logs.say(ROOM, "m1", "熊", "b", "2")).what == "said"
    await wire.close()


async def test_what_is_not_archived_is_not_trimmed(hot: Redis, valkey_url: str) -> None:
    wire = Wire(valkey_url, load_all().values())
    await wire.start()
    logs = RoomLogs(wire, settings=Settings(room_log_max=2))
    epoch = await opened(logs)
    for number in range(5):
        await logs.say(ROOM, f"m{number}", "熊", "a", str(number))
    await logs.archived(ROOM, epoch, 1)
    assert [one[0] for one in await logs.entries(ROOM, 0, 10)] == [2, 3, 4, 5]
    await logs.archived(ROOM, epoch, 5)
    assert [one[0] for one in await logs.entries(ROOM, 0, 10)] == [4, 5]
    await wire.close()


async def test_only_the_last_comments_are_kept_for_a_snapshot(hot: Redis, valkey_url: str) -> None:
    wire = Wire(valkey_url, load_all().values())
    await wire.start()
    logs = RoomLogs(wire, settings=Settings(room_comments_max=3))
    await opened(logs)
    for number in range(5):
        await logs.say(ROOM, f"m{number}", "熊", "a", str(number))
    seen = await logs.snapshot(ROOM)
    assert seen is not None
    assert [getattr(decode(text), "text", "") for text in seen.comments] == ["2", "3", "4"]
    await wire.close()


async def test_a_refused_publish_and_a_refused_comment_leave_no_trace(
    logs: RoomLogs, redis: Redis
) -> None:
    async def all_keys() -> set[bytes]:
        return {key async for key in redis.scan_iter() if key != keys.hints().encode()}

    await logs.publish(ROOM, [pin(1, seq=1)], shard=1, mark=(1, 1), command_id="")
    await logs.publish(ROOM, [pin(1)], command_id="rcm_1")
    await logs.say(ROOM, "m1", "熊", "a", "1")
    assert await all_keys() == set()
    await opened(logs)
    await logs.publish(ROOM, [pin(4, seq=4)], shard=1, mark=(1, 4))
    before = {key: await redis.dump(key) for key in await all_keys()}
    await logs.publish(ROOM, [pin(3, seq=3)], shard=1, mark=(1, 3))
    await logs.publish(ROOM, [pin(3, was="other")])
    assert {key: await redis.dump(key) for key in await all_keys()} == before


async def test_likes_and_viewers_are_counted_over_all_gateways(logs: RoomLogs) -> None:
    assert await logs.like(ROOM, 3) == 3
    assert await logs.like(ROOM, 2) == 5
    assert await logs.present(ROOM, "gw1", 7) == 7
    assert await logs.present(ROOM, "gw2", 5) == 12
    await logs.wire.call("HSET", keys.presence(ROOM), "gw1", "7:1000")
    assert await logs.present(ROOM, "gw2", 6) == 6
    assert await logs.wire.call("HLEN", keys.presence(ROOM)) == 1  # forgotten at last


async def test_publishing_rings_the_doorbell(logs: RoomLogs, redis: Redis) -> None:
    await opened(logs)
    await logs.publish(ROOM, [pin(1)])
    await logs.publish(ME, [pin(1)])
    rung = [fields[b"t"] for _, fields in await redis.xrange(keys.hints())]
    assert rung == [ROOM.encode(), ROOM.encode(), ME.encode()]


@pytest.mark.parametrize(("shard", "mark"), [(1, None), (None, (1, 1))])
async def test_a_mark_belongs_to_a_shard(
    logs: RoomLogs, shard: int | None, mark: tuple[int, int] | None
) -> None:
    with pytest.raises(ValueError, match="mark"):
        await logs.publish(ROOM, [pin(1)], shard=shard, mark=mark)


async def test_two_publishers_at_once_number_without_a_gap(logs: RoomLogs, valkey_url: str) -> None:
    await opened(logs)
    wire = Wire(valkey_url, load_all().values())
    await wire.start()
    rival = RoomLogs(wire, settings=Settings())
    batches = [(n, [pin(k, seq=k) for k in range(n, n + 3)]) for n in range(1, 60, 2)]
    for start, events in batches:  # overlapping batches, by both, at once
        await asyncio.gather(
            *(who.publish(ROOM, events, shard=1, mark=(1, start + 2)) for who in (logs, rival))
        )
    await wire.close()
    assert await offsets(logs, ROOM) == list(range(1, 62))
