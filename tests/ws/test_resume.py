"""Coming back: from every offset, by events or by a snapshot, to the same state."""

import asyncio
import copy

import msgspec
import pytest
from redis.asyncio import Redis

from engine import keys
from engine.rooms import Snapshot
from tests.waiting import eventually
from tests.ws.client import Client, Seen, watching
from tests.ws.stage import Stage, room_parts

EVENTS = 70  # more than the comments that a snapshot holds, some of them comments


def seen_of(found: Snapshot) -> Seen:
    """What a viewer has after this snapshot."""
    seen = Seen()
    seen.snapshot(
        {
            "epoch": found.epoch,
            "offset": found.offset,
            "parts": {part: msgspec.json.decode(one) for part, one in found.parts.items()},
            "comments": [msgspec.json.decode(one) for one in found.comments],
        }
    )
    return seen


async def written(stage: Stage, topic: str) -> list[Seen]:
    """A log with events and comments; what a viewer has at each of its offsets."""
    begun = await stage.logs.snapshot(topic)
    assert begun is not None
    states = [seen_of(begun)]
    for number in range(EVENTS):
        if number % 3:
            await stage.publish(topic)
        else:
            await stage.comment(topic, f"第 {number} 句")
    tail = await stage.logs.read(topic, begun.epoch, 0, EVENTS)
    assert len(tail.entries) == EVENTS
    for entry in tail.entries:
        after = copy.deepcopy(states[-1])
        event = msgspec.json.decode(entry.event)
        at = {"from": entry.offset, "to": entry.offset, "epoch": begun.epoch}
        after.events({**at, "events": [event]})
        states.append(after)
    return states


@pytest.mark.parametrize("ring_max", [2_000, 10])
async def test_every_offset_comes_to_the_same_state(stage: Stage, ring_max: int) -> None:
    topic = await stage.room()
    states = await written(stage, topic)
    wanted = await stage.hash(topic)
    assert states[-1].hash == wanted
    async with stage.gateway(ring_max=ring_max, live_every_ms=60_000) as (gateway, url):
        for state in states:
            client = Client(url, stage.token([topic]), [topic])
            client.seen[topic] = copy.deepcopy(state)
            await client.open()
            reading = asyncio.create_task(client.read())
            await client.join()
            await client.until("joined")
            await client.until_at(topic, EVENTS)
            await client.line.close()
            await reading
            assert client.seen[topic].hash == wanted, state.offset
            told = [frame["type"] for frame in client.frames if frame["type"] != "joined"]
            in_ring = EVENTS - state.offset <= ring_max
            if state.offset == EVENTS:
                assert told == []
            else:
                assert told == (["events"] if in_ring else ["snapshot"])
        assert gateway.metrics.reads < 10  # served from memory, however many come


async def test_a_foreign_epoch_gets_a_snapshot(stage: Stage) -> None:
    topic = await stage.room()
    last = await stage.publish(topic, 5)
    async with stage.gateway() as (_, url):
        for epoch, offset in (("other", 3), ("", 5), ("other", last)):
            client = Client(url, stage.token([topic]), [topic])
            client.seen[topic].epoch, client.seen[topic].offset = epoch, offset
            client.seen[topic].begun = True
            await client.open()
            reading = asyncio.create_task(client.read())
            await client.join()
            assert (await client.until("snapshot"))["offset"] == last
            await client.line.close()
            await reading


async def test_one_who_was_served_by_a_faster_gateway(stage: Stage) -> None:
    """A position ahead of this gateway's memory: it reads first, and tells no older snapshot."""
    topic = await stage.room()
    slow_tick = {"tick_ms": 60_000, "tick_cap_ms": 60_000, "live_every_ms": 60_000}
    async with stage.gateway() as (_, fast), stage.gateway(**slow_tick) as (_, behind):
        token = stage.token([topic])
        async with watching(behind, token, [topic]) as one, watching(fast, token, [topic]) as two:
            await one.until("snapshot")
            await two.until("snapshot")
            await two.until_at(topic, await stage.publish(topic))  # the slow one's tick is spent
            await two.until_at(topic, await stage.publish(topic))
            moved = Client(behind, token, [topic])
            moved.seen = copy.deepcopy(two.seen)
            await moved.open()
            reading = asyncio.create_task(moved.read())
            await moved.join()
            await moved.until("joined")
            last = await stage.publish(topic)
            await two.until_at(topic, last)
            async with watching(behind, token, [topic]) as third:  # without a position
                await third.until("snapshot")
            assert not moved.of("snapshot")
            await moved.line.close()
            await reading


async def test_a_lost_log_is_a_new_epoch(stage: Stage, redis: Redis) -> None:
    """Everybody keeps what they saw until the new epoch tells itself, as a snapshot."""
    topic = await stage.room()
    await stage.publish(topic, 5)
    async with (
        stage.gateway() as (gateway, url),
        watching(url, stage.token([topic]), [topic]) as one,
    ):
        first = (await one.until("snapshot"))["epoch"]
        await redis.flushdb()
        await asyncio.sleep(0.5)  # looked at, and there is no log
        assert len(one.of("snapshot")) == 1
        assert gateway.hub.viewers
        stage.wire.hang_up()  # scripts are gone with the flush: load them
        await asyncio.sleep(0.5)
        await stage.logs.open(topic, room_parts(topic.removeprefix("room:"), "paused"))
        told = await one.until("snapshot", 2)
        assert told["epoch"] != first
        assert told["offset"] == 0
        await one.until_at(topic, await stage.publish(topic, 3))
        assert one.seen[topic].hash == await stage.hash(topic)


async def test_much_at_once_and_a_trimmed_log(stage: Stage, redis: Redis) -> None:
    topic = await stage.room()
    await stage.publish(topic, 2)
    async with stage.gateway(tick_events_max=50, ring_max=200) as (_, url):
        async with watching(url, stage.token([topic]), [topic]) as one:
            await one.until("snapshot")
            last = await stage.publish(topic, 120)  # more than a frame holds
            await one.until_at(topic, last)
            assert one.seen[topic].hash == await stage.hash(topic)
            assert [len(frame["events"]) for frame in one.of("events")] == [50, 50, 20]
            last = await stage.publish(topic, 300)  # more than is kept for anybody
            await one.until_at(topic, last)
            assert one.seen[topic].hash == await stage.hash(topic)
            assert len(one.of("snapshot")) == 2
        await redis.xtrim(keys.log(topic), maxlen=3)
    async with stage.gateway() as (_, url), watching(url, stage.token([topic]), [topic]) as two:
        await two.until_at(topic, last)
        assert two.seen[topic].hash == await stage.hash(topic)


async def test_a_new_epoch_at_the_same_offset(stage: Stage, redis: Redis) -> None:
    topic = await stage.room()
    async with (
        stage.gateway() as (_, url),
        watching(url, stage.token([topic]), [topic]) as one,
    ):
        first = await one.until("snapshot")
        await redis.delete(
            keys.log(topic), keys.log_meta(topic), keys.log_parts(topic), keys.log_comments(topic)
        )
        await stage.logs.open(topic, room_parts(topic.removeprefix("room:"), "paused"))
        told = await one.until("snapshot", 2)
        assert told["offset"] == first["offset"] == 0
        assert told["epoch"] != first["epoch"]
        assert one.seen[topic].hash == await stage.hash(topic)


async def test_a_log_trimmed_before_it_was_read(stage: Stage, redis: Redis) -> None:
    """What is left has as many events as a frame holds, but not the next ones."""
    topic = await stage.room()
    async with (
        stage.gateway(tick_events_max=50) as (gateway, url),
        watching(url, stage.token([topic]), [topic]) as one,
    ):
        await one.until("snapshot")
        async with gateway.hub.topics[topic].lock:  # no read meanwhile
            last = await stage.publish(topic, 120)
            await redis.xtrim(keys.log(topic), maxlen=60, approximate=False)
        await one.until_at(topic, last)
        assert one.seen[topic].hash == await stage.hash(topic)
        assert len(one.of("snapshot")) == 2


async def test_a_topic_without_viewers_is_forgotten(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway(topic_keep_ms=100) as (gateway, url):
        async with watching(url, stage.token([topic]), [topic]) as one:
            await one.until("snapshot")
            await asyncio.sleep(1.2)
            assert gateway.hub.topics
        await eventually(lambda: not gateway.hub.topics)
