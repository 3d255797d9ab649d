"""The evening's room: a log that was archived and trimmed, lost, and begun anew; two who watched.

Played with the product's own logs and archive; what the viewers write down is made here from
reading those logs, event by event.
"""

from pathlib import Path
from typing import Any

import msgspec

from campaigns.room.models import Room
from engine import keys
from engine.audit.room_facts import range_digest, state_hash
from engine.audit.viewer_log import ViewerLog
from engine.ids import new_id, now_ms
from engine.room_events import (
    Host,
    MyClaim,
    Pin,
    Recovered,
    RoomNow,
    RoomStore,
    Stock,
    encode,
    topic_event,
)
from engine.rooms import RoomLogs
from tests.workers.stage import Stage
from workers.broadcast.archive import archive_topic

LOG_MAX = 4


class Watcher:
    """One viewer of one log; follows it by reading, and writes down what it read."""

    def __init__(self, logs: RoomLogs, log: ViewerLog, name: str, names: tuple[str, ...]) -> None:
        self._logs, self._log, self.name, self._names = logs, log, name, names
        self._at: dict[str, tuple[str, int]] = {}
        self._parts: dict[str, dict[str, Any]] = {}
        self._comments: dict[str, list[Any]] = {}

    def join(self) -> None:
        self._log.join(self.name, self._names, {one: self._at.get(one) for one in self._names})

    async def snapshot(self, topic: str) -> None:
        found = await self._logs.snapshot(topic)
        assert found is not None
        self._at[topic] = (found.epoch, found.offset)
        self._parts[topic] = {
            part: msgspec.json.decode(event) for part, event in found.parts.items()
        }
        self._comments[topic] = [msgspec.json.decode(one) for one in found.comments]
        hashed = state_hash(self._parts[topic], self._comments[topic])
        self._log.snapshot(self.name, topic, found.epoch, found.offset, hashed)

    async def follow(self, topic: str) -> None:
        epoch, after = self._at[topic]
        tail = await self._logs.read(topic, epoch, after, 1_000)
        events = [msgspec.json.decode(entry.event) for entry in tail.entries]
        for entry, event in zip(tail.entries, events, strict=True):
            if entry.part:
                self._parts[topic][entry.part] = event
            elif event["kind"] == "comment":
                self._comments[topic].append(event)
        digest = range_digest(after + 1, events)
        self._log.events(self.name, topic, epoch, (after + 1, tail.offset), digest)
        self._at[topic] = (epoch, tail.offset)

    def said(self, topic: str, client_id: str) -> None:
        epoch, offset = self._at[topic]
        self._log.said(self.name, topic, epoch, offset, f"-{client_id}")

    def close(self) -> None:
        self._log.closed(self.name, 1006)

    def end(self) -> None:
        for topic, (epoch, offset) in self._at.items():
            hashed = state_hash(self._parts[topic], self._comments[topic])
            self._log.end(self.name, topic, epoch, offset, hashed)


async def play_room(stage: Stage, history: Path) -> str:
    """The room's topic; its log is in its second epoch, the first is archived."""
    settings = msgspec.structs.replace(stage.settings, room_log_max=LOG_MAX)
    logs = RoomLogs(stage.wire, settings=settings)
    room_id = new_id("rm")
    topic, mine = f"room:{room_id}", "me:m1"
    row = {"title": "夜场", "store_id": "s1", "host_guide_id": "g1", "state": "live"}
    when = {"starts_at_ms": now_ms(), "created_at_ms": now_ms()}
    async with stage.db.begin() as session:
        session.add(Room(id=room_id, shelf=[], created_by="hq", **row, **when))
    log = ViewerLog(history, "v1")
    first = Watcher(logs, log, "v1-0", (topic, mine))
    second = Watcher(logs, log, "v1-1", (topic,))
    await logs.open(topic, _parts(room_id))
    first.join()
    await first.snapshot(topic)
    await _stock(logs, topic, 1)
    await logs.publish(
        topic, [topic_event("rcm_1", Pin(at_ms=2, offer_id="o"))], command_id="rcm_1"
    )
    await logs.publish(mine, [_claim("held", 5)], shard=0, mark=(1, 5))
    await first.snapshot(mine)
    await logs.say(topic, "m1", "某", "c-1", "多少钱")
    await first.follow(topic)
    first.said(topic, "c-1")
    first.close()
    for seq in range(2, 9):
        await _stock(logs, topic, seq)
    second.join()
    await second.snapshot(topic)
    first.join()
    await first.follow(topic)
    await archive_topic(stage.db, logs, topic)
    assert len(await logs.entries(topic, 0, 100)) == LOG_MAX
    await stage.wire.call("DEL", keys.log(topic), keys.log_meta(topic), keys.log_parts(topic))
    await logs.open(topic, _parts(room_id))
    await first.snapshot(topic)
    recovered = topic_event("recovered-s0-e2-0", Recovered(at_ms=9, shard=0))
    await logs.publish(topic, [recovered], shard=0, mark=(2, 0))
    await logs.publish(mine, [_claim("paid", 6)], shard=0, mark=(1, 6))
    await first.follow(topic)
    await first.follow(mine)
    second.close()
    second.join()
    await second.snapshot(topic)
    for one in (first, second):
        one.end()
    log.close()
    return topic


def _parts(room_id: str) -> dict[str, str]:
    room = RoomNow(
        at_ms=1,
        room_id=room_id,
        title="夜场",
        state="live",
        host=Host("g1", "甲"),
        store=RoomStore("s1", "店"),
        starts_at_ms=1,
    )
    return {"room": encode(room)}


async def _stock(logs: RoomLogs, topic: str, seq: int) -> None:
    stock = Stock(at_ms=seq, offer_id="o", available=10 - seq, held=seq, sold=0, total=10)
    event = topic_event(f"tick-s0-e1-{seq}-o", stock)
    await logs.publish(topic, [event], shard=0, mark=(1, seq))


def _claim(state: Any, seq: int) -> Any:
    claim = MyClaim(at_ms=seq, claim_id="clm-s0-e1-1-0", offer_id="o", state=state, units=1)
    return topic_event(f"s0-e1-{seq}", claim, seq=seq)
