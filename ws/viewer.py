"""One viewer: a connection, what its token allows, and the small counts that its limits need.

No task, timer or queue of its own: frames go straight to the transport, whose buffer is the only
one, and one sweep looks at all viewers. `Line` is the connection of the websockets server; it
counts every incoming frame, also pings, before anybody looks at it.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.protocol import OPEN, Event

from engine.room_tokens import RoomPass
from ws import close_codes

if TYPE_CHECKING:
    from ws.hub import Hub
    from ws.topic import Topic

_SPENT: Final = Request("", Headers())  # stands for every handshake request once it is over


class Line(ServerConnection):
    """A connection; `viewer` is there once the handshake is done."""

    def __init__(self, hub: "Hub", *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.viewer: Viewer | None = None
        self._hub = hub

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._hub.lines += 1
        if self._hub.lines > self._hub.lines_max:
            self.transport.abort()  # not even a handshake: this many at once is no audience

    def connection_lost(self, exc: Exception | None) -> None:
        self._hub.lines -= 1
        super().connection_lost(exc)

    def process_event(self, event: Event) -> None:
        if self.viewer is not None:
            self.viewer.heard()
        super().process_event(event)

    def forget_handshake(self) -> None:
        """Its headers are about 2 KiB that nobody reads again."""
        self.request, self.response = _SPENT, None


class Viewer:
    """What the gateway knows of one connection; `topics` is empty until it has joined."""

    __slots__ = (
        "_hub",
        "abort_at",
        "code",
        "expires_at_ms",
        "frames",
        "joined",
        "likes",
        "line",
        "nickname",
        "protocol",
        "second",
        "since",
        "stuck_since",
        "subject",
        "topics",
        "transport",
    )

    def __init__(self, hub: "Hub", line: Line, now: float) -> None:
        self._hub = hub
        self.line = line
        self.transport = line.transport
        self.protocol = line.protocol
        self.since = now
        self.joined = False
        self.subject = ""
        self.nickname = ""
        self.expires_at_ms = 0
        self.topics: tuple[Topic, ...] = ()
        self.second = 0
        self.frames = 0
        self.likes = 0
        self.stuck_since = 0.0  # since when its buffer was never seen empty
        self.abort_at = 0.0  # when a closing handshake that does not end is cut
        self.code = 0  # with which we closed

    @property
    def is_open(self) -> bool:
        """Neither side has begun to close."""
        return self.protocol.state is OPEN

    def accept(self, given: RoomPass) -> None:
        """Take over what a token says."""
        self.subject, self.nickname = given.subject, given.nickname
        self.expires_at_ms = given.expires_at_ms

    def send(self, frame: bytes) -> None:
        """Write a prebuilt frame; nothing once the connection is closing."""
        if self.protocol.state is OPEN:
            self.transport.write(frame)

    def heard(self) -> None:
        """Count one incoming frame; too many within a second close the connection."""
        self._turn_second()
        self.frames += 1
        if self.frames > self._hub.settings.viewer_frames_per_s_max:
            self.close(close_codes.TOO_MANY)

    def count_likes(self, count: int) -> int:
        """How many of `count` likes still count in this second."""
        self._turn_second()
        counted = min(count, self._hub.settings.viewer_likes_per_s_max - self.likes)
        self.likes += counted
        return counted

    def close(self, code: int, farewell: bytes = b"") -> None:
        """Leave all topics and close with a code of the table, after one last frame.

        Never waits: a peer that does not answer is cut by the sweep.
        """
        self._hub.leave(self)
        if self.protocol.state is not OPEN:
            return
        self.code = code
        self._hub.metrics.closes[code] += 1
        if farewell:
            self.transport.write(farewell)
        self.protocol.send_close(code, close_codes.TABLE[code].code_name)
        self.line.send_data()

    def _turn_second(self) -> None:
        second = int(self._hub.clock())
        if second != self.second:
            self.second, self.frames, self.likes = second, 0, 0
