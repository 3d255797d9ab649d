"""What every room's log must say: it is there, and it says of each offer on its shelf what is so.

Compared are pairs of room and offer that this process has not looked at yet: after its start,
after a change of a shelf that it learned late, and of a whole shard when a stream was lost. A
difference is told only while the log still says what was compared, so a newer tick always wins.
"""

import asyncio
import logging
import secrets

import msgspec

from campaigns.room.parts import open_room_log, shelf_offers
from engine.db import Database
from engine.inventory import Inventory
from engine.room_events import AnyTopicEvent, TopicEvent, encode, part_of, room_topic
from engine.rooms import Log, RoomLogs
from workers.broadcast.shelves import Shelves

log = logging.getLogger(__name__)

AT_ONCE_MAX = 500  # logs looked at together
_KINDS = ("offer", "stock", "teams")  # parts that a room has of an offer


class RoomKeeper:
    """Keeps the logs of all rooms that are on."""

    def __init__(
        self, db: Database, inventory: Inventory, logs: RoomLogs, shelves: Shelves
    ) -> None:
        self._db, self._inventory = db, inventory
        self._logs, self._shelves = logs, shelves
        self._known: dict[str, tuple[str, set[str]]] = {}  # room → its log's epoch, offers seen

    async def look(self) -> int:
        """Open logs that are missing and compare new pairs; how many events were told."""
        told = 0
        for room_id, stand in (await self._stands()).items():
            offers = self._shelves.offers[room_id]
            if stand is None:
                if room_id in self._shelves.ended:
                    continue
                opened = await open_room_log(self._db, self._inventory, self._logs, room_id)
                if opened is None:
                    continue
                epoch = opened.epoch
            else:
                epoch = stand[0].epoch
            known_epoch, seen = self._known.get(room_id, ("", set[str]()))
            if known_epoch != epoch:
                seen = set()
            fresh = [one for one in offers if one not in seen]
            if fresh:
                told += await self._compare(room_id, fresh, seen)
            self._known[room_id] = (epoch, seen & set(offers))
        for gone in self._known.keys() - self._shelves.offers.keys():
            del self._known[gone]
        return told

    async def _stands(self) -> dict[str, tuple[Log, int] | None]:
        """Every room's log, or None where it is missing."""
        rooms, found = list(self._shelves.offers), list[tuple[Log, int] | None]()
        for start in range(0, len(rooms), AT_ONCE_MAX):
            some = rooms[start : start + AT_ONCE_MAX]
            found += await asyncio.gather(*(self._logs.stand(room_topic(one)) for one in some))
        return dict(zip(rooms, found, strict=True))

    def forget(self, offer_ids: set[str]) -> None:
        """Compare these offers anew in all their rooms."""
        for _, seen in self._known.values():
            seen.difference_update(offer_ids)

    async def _compare(self, room_id: str, offers: list[str], seen: set[str]) -> int:
        topic = room_topic(room_id)
        names = [f"{kind}:{offer_id}" for offer_id in offers for kind in _KINDS]
        said = await self._logs.parts(topic, names)  # before what is so, never after it
        async with self._db.begin() as session:
            found = await shelf_offers(session, self._inventory, offers)
        events: list[TopicEvent] = []
        for offer in found:
            for event in offer.events:
                was = said.get(part_of(event), "")
                if not same(was, event):
                    origin = f"look-{part_of(event)}-{secrets.token_hex(6)}"
                    events.append(TopicEvent(origin, part_of(event), encode(event), 0, was))
        if events:
            reply = await self._logs.publish(topic, events)
            if reply.what != "published":
                return 0  # somebody told something newer meanwhile: look again
            first, last = int(reply.details[1]), int(reply.details[2])
            if last - first + 1 < len(events):
                return last - first + 1
        seen.update(offers)
        return len(events)


def same(was: str, event: AnyTopicEvent) -> bool:
    """Whether a part says already what the event says, whenever that was."""
    if not was:
        return False
    old, new = msgspec.json.decode(was), msgspec.json.decode(encode(event))
    return {**old, "at_ms": 0} == {**new, "at_ms": 0}
