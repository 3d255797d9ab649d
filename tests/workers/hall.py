"""Rooms on a worker stage: a store with a guide, rooms with shelves, a broadcaster, their logs."""

from collections import Counter
from dataclasses import dataclass

import msgspec
from sqlalchemy import text

from campaigns.offer.models import Offer
from campaigns.room.models import Room, RoomCommand
from campaigns.room.parts import open_room_log
from engine.ids import new_id, now_ms
from engine.room_events import decode, me_topic, part_of, room_topic, state_hash
from engine.rooms import RoomLogs, Snapshot
from tests.workers.stage import Stage
from workers.broadcast.archive import LogEntry, unpack
from workers.broadcast.loop import Broadcaster


@dataclass
class Hall:
    """A stage whose offers are shown in rooms."""

    stage: Stage
    logs: RoomLogs
    broadcaster: Broadcaster

    async def room(self, *offers: Offer, state: str = "live") -> str:
        """A room with these offers on its shelf; its id."""
        async with self.stage.db.begin() as session:
            room = Room(
                id=new_id("rm"),
                title="夜场",
                store_id="s1",
                host_guide_id="g1",
                state=state,
                starts_at_ms=now_ms(),
                went_live_at_ms=None,
                ended_at_ms=None,
                shelf=[offer.id for offer in offers],
                pin=None,
                created_by="hq",
                created_at_ms=now_ms(),
            )
            session.add(room)
        return room.id

    async def command(self, room_id: str, event: object, part: str, *, age_ms: int = 60_000) -> str:
        """A committed command that nobody has published; its id."""
        async with self.stage.db.begin() as session:
            command = RoomCommand(
                id=new_id("rcm"),
                room_id=room_id,
                kind=part,
                part=part,
                event=msgspec.to_builtins(event),
                actor="hq",
                created_at_ms=now_ms() - age_ms,
                published_at_ms=None,
            )
            session.add(command)
        return command.id

    async def quiet(self, broadcaster: Broadcaster | None = None) -> None:
        """Rounds until there is nothing more to tell, and all rooms were looked at."""
        teller = broadcaster or self.broadcaster
        silent = 0
        while silent < 3:
            teller._due.clear()  # everything is due: a test does not wait for timers
            silent = silent + 1 if await teller.round() == 0 else 0

    async def snapshot(self, topic: str) -> Snapshot:
        """Of a log that is there."""
        seen = await self.logs.snapshot(topic)
        assert seen is not None, topic
        return seen

    async def archived(self, topic: str, epoch: str) -> list[LogEntry]:
        """What the archive has of an epoch, in order."""
        async with self.stage.db.begin() as session:
            rows = await session.scalars(
                text(
                    "SELECT payload FROM room_log_batches WHERE topic = :topic AND epoch = :epoch"
                    " ORDER BY first_offset"
                ),
                {"topic": topic, "epoch": epoch},
            )
            return [entry for payload in rows for entry in unpack(payload)]

    async def whole_log(self, topic: str) -> list[LogEntry]:
        """The present epoch from offset 1: archive and log, which must agree where both are."""
        seen = await self.snapshot(topic)
        kept = {one[0]: one for one in await self.archived(topic, seen.epoch)}
        for one in await self.logs.entries(topic, 0, 100_000):
            assert kept.setdefault(one[0], one) == one
        return [kept[offset] for offset in sorted(kept)]

    async def check(self, *room_ids: str) -> None:
        """R1 of these rooms, their stock as it is, and what their events add up to."""
        for room_id in room_ids:
            topic = room_topic(room_id)
            entries = await self.whole_log(topic)
            assert [one[0] for one in entries] == list(range(1, len(entries) + 1))
            repeated = [one for one, n in Counter(one[1] for one in entries).items() if n > 1]
            assert repeated == []
            seen = await self.snapshot(topic)
            assert seen.offset == len(entries)
            for offset, _, part, event in entries:
                assert part_of(decode(event)) == part, offset
            await self._stock(room_id, seen)

    async def _stock(self, room_id: str, seen: Snapshot) -> None:
        async with self.stage.db.begin() as session:
            room = await session.get_one(Room, room_id)
            offers = [await session.get_one(Offer, one) for one in room.shelf]
        for offer in offers:
            hot = await self.stage.inventory.offer_state(offer.shard, offer.id)
            told = msgspec.json.decode(seen.parts[f"stock:{offer.id}"])
            names = ("available", "held", "sold", "total")
            assert {name: told[name] for name in names} == {name: int(hot[name]) for name in names}
            assert msgspec.json.decode(seen.parts[f"offer:{offer.id}"])["state"] == hot["state"]

    async def begun(self, room_id: str) -> Snapshot:
        """The snapshot with which the room's log begins, opened now."""
        log = await open_room_log(self.stage.db, self.stage.inventory, self.logs, room_id)
        assert log is not None
        assert log.offset == 0
        return await self.snapshot(room_topic(room_id))

    async def claims_of(self, buyer: str) -> list[tuple[str, str, int]]:
        """What a member was told: (state, why, units) in order."""
        seen = await self.logs.snapshot(me_topic(buyer))
        if seen is None:
            return []
        entries = (await self.logs.read(me_topic(buyer), seen.epoch, 0, 1_000)).entries
        told = [msgspec.json.decode(one.event) for one in entries]
        return [
            (one.get("state") or one["what"], one.get("why", ""), one.get("units", 0))
            for one in told
        ]


async def open_hall(stage: Stage) -> Hall:
    """A hall on a stage, with its people."""
    await stage.people()
    return hall_of(stage)


def hall_of(stage: Stage) -> Hall:
    """A hall on a stage whose people are there."""
    logs = RoomLogs(stage.wire, settings=stage.settings)
    return Hall(stage, logs, Broadcaster(stage.db, stage.inventory, logs, stage.settings))


def replay(start: Snapshot, entries: list[LogEntry]) -> str:
    """The hash of what the entries behind a snapshot make of it."""
    parts, comments = dict(start.parts), list(start.comments)
    for offset, _, part, event in entries:
        if offset <= start.offset:
            continue
        if part:
            parts[part] = event
        elif msgspec.json.decode(event)["kind"] == "comment":
            comments = [*comments, event][-50:]
    return state_hash(parts, comments)
