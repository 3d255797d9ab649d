"""Who watches what: topics, viewers, and the fan-out that everything here is built around.

`deliver` writes one prebuilt frame to each viewer's transport, a thousand at a time, so that
incoming frames are served in between. A viewer whose buffer is over its limit is closed there and
then: nothing is ever left out of its stream, and nobody waits for it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from websockets.protocol import OPEN

from engine.settings import Settings
from ws import close_codes
from ws.metrics import Metrics
from ws.topic import Topic
from ws.viewer import Viewer

_CHUNK: Final = 1_000  # viewers written to in one turn of the loop, some 5 ms


class Hub:
    """The gateway's memory; its parts change it, none of them keeps a copy."""

    def __init__(self, settings: Settings, metrics: Metrics, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.metrics = metrics
        self.clock = clock
        self.topics: dict[str, Topic] = {}
        self.viewers: set[Viewer] = set()
        self.lines = 0  # open connections, also those before their handshake
        # A tenth more than viewers, so that one too many is told so and not just cut.
        self.lines_max = settings.viewers_max + max(16, settings.viewers_max // 10)
        self.dirty: set[str] = set()  # topics to be read in the next tick
        self.bell = asyncio.Event()
        self.tick_ms = float(settings.tick_ms)
        self.answered_at = clock()  # when the hot store last answered a read
        self.draining = False

    def topic(self, name: str) -> Topic:
        """The topic of this name, empty at first."""
        found = self.topics.get(name)
        if found is None:
            found = self.topics[name] = Topic(
                name,
                ring_max=self.settings.ring_max if name.startswith("room:") else 0,
                comments_max=self.settings.room_comments_max,
                resume_bytes_max=self.settings.viewer_buffer_max // 2,
            )
        found.empty_since = self.clock()
        return found

    def ring(self, names: Sequence[str]) -> None:
        """Those of `names` that somebody watches have something new."""
        heard = [name for name in names if name in self.topics]
        if heard:
            self.dirty.update(heard)
            self.bell.set()

    def ring_all(self) -> None:
        """Hints may have been lost: look at everything."""
        self.ring(list(self.topics))

    def behind_ms(self) -> int:
        """For how long the hot store has not answered; 0 while it does."""
        silent_ms = int((self.clock() - self.answered_at) * 1000)
        return silent_ms if silent_ms > 2 * self.settings.live_every_ms else 0

    def enter(self, viewer: Viewer, topics: Sequence[Topic]) -> None:
        """From here on the viewer gets what these topics say."""
        viewer.topics = tuple(topics)
        for topic in topics:
            topic.viewers.add(viewer)

    def leave(self, viewer: Viewer) -> None:
        """The viewer gets nothing any more; a second call does nothing."""
        for topic in viewer.topics:
            topic.viewers.discard(viewer)
            topic.empty_since = self.clock()
        viewer.topics = ()

    async def deliver(self, topic: Topic, frame: bytes, events: int) -> None:
        """Write `frame`, which holds so many events, to all who watch the topic now.

        Who joins while this runs has them already: the topic was changed before.
        """
        viewers = tuple(topic.viewers)
        for start in range(0, len(viewers), _CHUNK):
            if start:
                await asyncio.sleep(0)
            written = self._write(viewers[start : start + _CHUNK], frame)
            self.metrics.frames += written
            self.metrics.deliveries += written * events

    def _write(self, viewers: Sequence[Viewer], frame: bytes) -> int:
        buffer_max = self.settings.viewer_buffer_max
        written = 0
        slow: list[Viewer] = []
        for viewer in viewers:  # the hottest loop of the gateway: no calls that can be spared
            if viewer.protocol.state is not OPEN:
                continue
            transport = viewer.transport
            if transport.get_write_buffer_size() > buffer_max:
                slow.append(viewer)
                continue
            transport.write(frame)
            written += 1
        for viewer in slow:
            viewer.close(close_codes.SLOW)
        return written
