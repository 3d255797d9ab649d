"""One look at all viewers, twice a second, instead of timers for each of them.

Closes who did not join in time, whose token has expired and whose connection does not take what it
is sent; cuts closing handshakes that do not end; forgets topics that nobody watches.
"""

import asyncio
from typing import Final

from engine.ids import now_ms
from ws import close_codes
from ws.hub import Hub
from ws.viewer import Viewer

EVERY_S: Final = 0.5
_CHUNK: Final = 2_000


class Sweep:
    """`turn` looks once."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def turn(self) -> None:
        """All viewers, some thousand in one turn of the loop, then the topics."""
        viewers = tuple(self._hub.viewers)
        for start in range(0, len(viewers), _CHUNK):
            if start:
                await asyncio.sleep(0)
            now, wall_ms = self._hub.clock(), now_ms()
            for viewer in viewers[start : start + _CHUNK]:
                self._look_at(viewer, now, wall_ms)
        self._forget_topics()

    def _look_at(self, viewer: Viewer, now: float, wall_ms: int) -> None:
        settings = self._hub.settings
        if not viewer.is_open:
            self._cut(viewer, now)
        elif not viewer.expires_at_ms:
            # A join that waits for the hot store is not the viewer's fault.
            if not viewer.joined and (now - viewer.since) * 1000 > settings.join_within_ms:
                viewer.close(close_codes.TOKEN)
        elif viewer.expires_at_ms <= wall_ms:
            viewer.close(close_codes.TOKEN)
        elif not viewer.transport.get_write_buffer_size():
            viewer.stuck_since = 0.0
        elif not viewer.stuck_since:
            viewer.stuck_since = now
        elif (now - viewer.stuck_since) * 1000 > settings.slow_after_ms:
            viewer.close(close_codes.SLOW)

    def _cut(self, viewer: Viewer, now: float) -> None:
        self._hub.leave(viewer)  # it may have been the other side that closed
        if not viewer.abort_at:
            viewer.abort_at = now + self._hub.settings.close_within_ms / 1000
        elif now > viewer.abort_at:
            viewer.transport.abort()

    def _forget_topics(self) -> None:
        now, keep_s = self._hub.clock(), self._hub.settings.topic_keep_ms / 1000
        idle = [
            topic
            for topic in self._hub.topics.values()
            if not topic.viewers
            and not topic.likes_waiting
            and not topic.lock.locked()
            and now - topic.empty_since > keep_s
        ]
        for topic in idle:
            del self._hub.topics[topic.name]
