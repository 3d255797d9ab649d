"""Whatever is published, by whom and how often: a snapshot is what the log adds up to.

Random batches of two shards (overlapping, repeated, of older epochs), commands in and out of
order, comments and conditional events, against a log of the real hot store.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ids import new_id
from engine.room_events import Pin, TopicEvent, encode, room_topic, state_hash
from engine.rooms import RoomLogs, Snapshot
from engine.scripts import load_all
from engine.settings import Settings
from engine.wire import Wire

T = TypeVar("T")

LIVE = '{"kind":"room","at_ms":1,"state":"live"}'
NAMES = st.sampled_from(("stock:a", "stock:b", "offer:a", ""))
seqs = st.integers(1, 12)
BATCH = st.tuples(
    st.just("batch"),
    st.integers(0, 1),
    st.integers(1, 2),
    seqs,
    st.lists(st.tuples(seqs, NAMES), max_size=5),
)
COMMAND = st.tuples(
    st.just("command"), st.integers(1, 6), st.sampled_from(("pin", "shelf", "room2"))
)
SAY = st.tuples(st.just("say"), st.integers(0, 3), st.integers(0, 2), st.text(max_size=5))
CONDITION = st.tuples(st.just("condition"), st.sampled_from(("stock:a", "pin")), st.booleans())
ACTS = st.lists(st.one_of(BATCH, BATCH, COMMAND, SAY, CONDITION), max_size=25)
REDIS_KEEPS = 3


class World:
    """One loop and one wire for all examples; each has a room of its own."""

    def __init__(self, url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.wire = Wire(url, load_all().values())
        self.run(self.wire.start())
        settings = Settings(room_comments_max=REDIS_KEEPS, comment_every_ms=1)
        self.logs = RoomLogs(self.wire, settings=settings)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        self.run(self.wire.close())
        self.loop.close()


@pytest.fixture
def world(hot: object, valkey_url: str) -> Iterator[World]:
    one = World(valkey_url)
    yield one
    one.close()


class Model:
    """A topic as a page of rules: marks, commands, conditions."""

    def __init__(self) -> None:
        self.marks: dict[int, tuple[int, int]] = {}
        self.parts: dict[str, str] = {"room": LIVE}
        self.commands: dict[str, str] = {}
        self.origins: list[str] = []

    def append(self, one: TopicEvent) -> None:
        self.origins.append(one.origin)
        if one.part:
            self.parts[one.part] = one.event

    def batch(self, shard: int, mark: tuple[int, int], events: list[TopicEvent]) -> None:
        at = self.marks.get(shard, (0, 0))
        if mark <= at:
            return
        self.marks[shard] = mark
        for one in events:
            if one.seq > (at[1] if at[0] == mark[0] else 0):
                self.append(one)

    def command(self, command_id: str, one: TopicEvent) -> None:
        if command_id not in self.origins and command_id > self.commands.get(one.part, ""):
            self.commands[one.part] = command_id
            self.append(one)


def text_of(number: int) -> str:
    return encode(Pin(at_ms=number, offer_id=f"ofr_{number}"))


async def act(logs: RoomLogs, topic: str, model: Model, number: int, one: tuple[Any, ...]) -> None:
    """One act on the log and on the model."""
    match one:
        case ("batch", shard, epoch, last, chosen):
            events = [
                TopicEvent(f"s{shard}-e{epoch}-{seq}-{n}", part, text_of(number), seq)
                for n, (seq, part) in enumerate(sorted(chosen))
                if seq <= last
            ]
            await logs.publish(topic, events, shard=shard, mark=(epoch, last))
            model.batch(shard, (epoch, last), events)
        case ("command", rank, part):
            event = TopicEvent(f"rcm_{rank}", part, text_of(number))
            await logs.publish(topic, [event], command_id=f"rcm_{rank}")
            model.command(f"rcm_{rank}", event)
        case ("say", member, client, text):
            reply = await logs.say(topic, f"m{member}", "熊", f"c{client}", text)
            if reply.what == "said":
                model.origins.append(f"say-m{member}-c{client}")
        case ("condition", part, right):
            was = model.parts.get(part, "") if right else "something else"
            event = TopicEvent(f"if-{number}", part, text_of(number), 0, was)
            await logs.publish(topic, [event])
            if right:
                model.append(event)


def state_after(start: Snapshot, entries: list[tuple[int, str, str, str]]) -> str:
    """Applying events in order, as a page does."""
    parts, comments = dict(start.parts), list(start.comments)
    for offset, _, part, event in entries:
        if offset <= start.offset:
            continue
        if part:
            parts[part] = event
        elif msgspec.json.decode(event)["kind"] == "comment":
            comments = [*comments, event][-REDIS_KEEPS:]
    return state_hash(parts, comments)


async def evening(logs: RoomLogs, acts: list[tuple[Any, ...]]) -> None:
    topic, model = room_topic(new_id("rm")), Model()
    await logs.open(topic, {"room": LIVE})
    seen: list[Snapshot] = []
    for number, one in enumerate(acts):
        snapshot = await logs.snapshot(topic)
        assert snapshot is not None
        seen.append(snapshot)
        await act(logs, topic, model, number, one)
    last = await logs.snapshot(topic)
    assert last is not None
    entries = await logs.entries(topic, 0, 10_000)
    assert [entry[0] for entry in entries] == list(range(1, last.offset + 1))
    assert [entry[1] for entry in entries] == model.origins
    assert last.parts == model.parts
    for start in (*seen, last):
        assert state_after(start, entries) == state_hash(last.parts, last.comments)


def test_a_snapshot_is_what_the_log_adds_up_to(world: World) -> None:
    @given(ACTS)
    def run(acts: list[tuple[Any, ...]]) -> None:
        world.run(evening(world.logs, acts))

    run()
