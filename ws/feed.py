"""What the hot store's logs say, read once per gateway and written to all who watch.

One reader per topic at a time (the topic's lock): it reads behind the topic's offset, applies, and
has written the frame to everybody before the next may read. Anything that does not continue the
topic without a gap (another epoch, a trimmed log, a store that lost its end) is told as a
snapshot. While the store is away, nothing is told and nobody is sent away.
"""

import asyncio
import logging

from engine.errors import Unavailable
from engine.ids import now_ms
from engine.rooms import RoomLogs, Snapshot
from ws import close_codes
from ws.hub import Hub
from ws.topic import Topic, head_of

log = logging.getLogger("kaituan.gateway")


class Feed:
    """Keeps topics equal to their logs."""

    def __init__(self, hub: Hub, logs: RoomLogs) -> None:
        self._hub = hub
        self._logs = logs
        self._away = False
        self._far = hub.settings.ring_max

    async def ready(self, name: str) -> Topic:
        """The topic, read at least once; still unknown when the store is away or has no log."""
        topic = self._hub.topic(name)
        if not topic.known and not topic.read_at:
            await self.refresh(topic)
        return topic

    async def refresh(self, topic: Topic) -> bool:
        """Bring the topic up to date, unless somebody did since we asked; False: store is away."""
        asked_at = self._hub.clock()
        async with topic.lock:
            if topic.read_at > asked_at:
                return True
            try:
                await self._advance(topic)
            except Unavailable:
                self._note(is_away=True)
                return False
            topic.read_at = self._hub.answered_at = self._hub.clock()
            self._note(is_away=False)
            return True

    async def _advance(self, topic: Topic) -> None:
        hub, most = self._hub, self._hub.settings.tick_events_max
        while topic.epoch:
            asked_for = (topic.epoch, topic.offset)
            tail = await self._logs.read(topic.name, *asked_for, most)
            hub.metrics.reads += 1
            if not tail.epoch:
                await self._missing(topic)
                return
            topic.gone_since = 0.0
            offsets = [entry.offset for entry in tail.entries]
            follows = offsets == list(range(topic.offset + 1, topic.offset + 1 + len(offsets)))
            behind = tail.offset - topic.offset
            complete = len(offsets) == min(behind, most)
            if tail.epoch != topic.epoch or not follows or not complete or behind > self._far:
                break  # not its continuation, or so much that the whole state is shorter
            if offsets:
                await self._tell(topic, [(one.part, one.event.encode()) for one in tail.entries])
            if behind > most:
                hub.ring([topic.name])  # the rest in the next tick, when this has been taken
            return
        await self._begin(topic)

    async def _tell(self, topic: Topic, events: list[tuple[str, bytes]]) -> None:
        frame = topic.append(events)
        await self._hub.deliver(topic, frame, len(events))
        await asyncio.sleep(0)  # the loop writes at the end of its turn
        born_ms = head_of(events[-1][1]).at_ms
        self._hub.metrics.delay(max(0, now_ms() - born_ms) / 1000)

    async def _begin(self, topic: Topic) -> None:
        """Take a snapshot and tell it to all who watch."""
        found = await self._logs.snapshot(topic.name)
        self._hub.metrics.reads += 1
        if found is None:
            await self._missing(topic)
            return
        topic.gone_since = 0.0
        before = (topic.known, topic.epoch, topic.offset)
        ring = await self._recent(topic, found)
        parts = {part: event.encode() for part, event in found.parts.items()}
        topic.begin(
            found.epoch, found.offset, parts, [comment.encode() for comment in found.comments]
        )
        topic.remember(found.offset + 1 - len(ring), ring)
        if before != (True, found.epoch, found.offset):
            self._hub.metrics.snapshots += len(topic.viewers)
            await self._hub.deliver(topic, topic.snapshot(), 0)

    async def _recent(self, topic: Topic, found: Snapshot) -> list[bytes]:
        """The events up to the snapshot's offset that are still in the log, at most a ring of them.

        So a gateway that has just started can bring others' viewers back by events alone.
        """
        most = self._hub.settings.ring_max
        if not topic.is_room or not found.offset:
            return []
        tail = await self._logs.read(topic.name, found.epoch, max(0, found.offset - most), most)
        self._hub.metrics.reads += 1
        wanted = [one for one in tail.entries if one.offset <= found.offset]
        first = found.offset + 1 - len(wanted)
        if tail.epoch != found.epoch or any(
            one.offset != first + index for index, one in enumerate(wanted)
        ):
            return []
        return [one.event.encode() for one in wanted]

    async def _missing(self, topic: Topic) -> None:
        """The store has no such log: of a member, nothing has happened yet; of a room, wait.

        A room's log that is lost is made again by the broadcaster, as a new epoch. What was told
        stays on the screens until then.
        """
        now = self._hub.clock()
        if not topic.is_room:
            if not topic.known:
                topic.known = True
                await self._hub.deliver(topic, topic.snapshot(), 0)
            return
        topic.gone_since = topic.gone_since or now
        if (now - topic.gone_since) * 1000 > self._hub.settings.room_gone_after_ms:
            code = close_codes.ROOM_GONE if topic.known else close_codes.NO_ROOM
            for viewer in tuple(topic.viewers):
                viewer.close(code)

    def _note(self, *, is_away: bool) -> None:
        if is_away == self._away:
            return
        self._away = is_away
        if is_away:
            self._hub.metrics.outages += 1
            log.warning("the hot store is away; viewers stay, and are told what they missed later")
        else:
            log.info("the hot store answers again")
            self._hub.ring_all()
