"""The lane that is not reliable: how many watch and like, each second, for each room.

It is the heartbeat, too: a client that hears nothing for a few of them may take the network for
lost. Who watches no room gets it for their own topic. While the hot store is away the last counts
are repeated, with `behind_ms` that says since when.
"""

import asyncio
from itertools import islice
from typing import Final

from engine.errors import Unavailable
from engine.ids import now_ms
from engine.rooms import RoomLogs
from ws.hub import Hub
from ws.protocol import Live, frame
from ws.topic import Topic

_AT_ONCE: Final = 256
_END_S: Final = 1.0


class Lanes:
    """`turn` counts and tells once."""

    def __init__(self, hub: Hub, logs: RoomLogs, gateway_id: str) -> None:
        self._hub = hub
        self._logs = logs
        self._gateway_id = gateway_id
        self._counting: asyncio.Task[None] | None = None
        self._present: set[str] = set()  # rooms in which we have said that we have viewers

    async def turn(self) -> None:
        """Count all rooms, then tell everybody.

        A store that takes long does not hold up the heartbeat: then the counts of the last turn
        are told, and the counting goes on meanwhile.
        """
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count_all(), name="counting")
        await asyncio.wait([self._counting], timeout=self._hub.settings.live_every_ms / 4_000)
        for topic in tuple(self._hub.topics.values()):
            if topic.is_room:
                await self._hub.deliver(topic, self._live(topic), 0)
            else:
                self._tell_roomless(topic)

    async def end(self) -> None:
        """Take our viewers out of the counts."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.gather(self._counting, return_exceptions=True)
        for name in tuple(self._present):
            try:
                async with asyncio.timeout(_END_S):
                    await self._logs.present(name, self._gateway_id, 0)
            except (Unavailable, TimeoutError):
                return  # they lapse by themselves

    async def _count_all(self) -> None:
        rooms = iter([topic for topic in self._hub.topics.values() if topic.is_room])
        while some := list(islice(rooms, _AT_ONCE)):
            await asyncio.gather(*(self._count(topic) for topic in some))

    async def _count(self, topic: Topic) -> None:
        count = len(topic.viewers)
        if not count and topic.name not in self._present and not topic.likes_waiting:
            return
        if self._hub.behind_ms():
            return
        likes, topic.likes_waiting = topic.likes_waiting, 0
        try:
            # A like whose fate is unknown is not repeated: rather one too few than one invented.
            topic.likes = await self._logs.like(topic.name, likes)
            topic.viewers_all = await self._logs.present(topic.name, self._gateway_id, count)
        except Unavailable:
            return
        if count:
            self._present.add(topic.name)
        else:
            self._present.discard(topic.name)

    def _live(self, topic: Topic) -> bytes:
        behind_ms = self._hub.behind_ms()
        return frame(
            Live(
                topic=topic.name,
                server_ms=now_ms(),
                viewers=max(topic.viewers_all, len(topic.viewers)),
                likes=topic.likes,
                behind_ms=behind_ms,
            )
        )

    def _tell_roomless(self, topic: Topic) -> None:
        alone = [
            viewer for viewer in topic.viewers if not any(other.is_room for other in viewer.topics)
        ]
        if alone:
            told = frame(
                Live(
                    topic=topic.name,
                    server_ms=now_ms(),
                    viewers=len(topic.viewers),
                    likes=0,
                    behind_ms=self._hub.behind_ms(),
                )
            )
            for viewer in alone:
                viewer.send(told)
