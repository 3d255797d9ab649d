"""A topic as this gateway holds it: its parts, last comments and recent events, ready to send.

Joining and coming back are served from here, so that a herd costs the hot store one read. Frames
are built once per offset: the snapshot, and what is missing from each offset that was asked for.
Everything changes only through `begin` and `append`, which keep state and offset together.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from ws.protocol import events_frame, snapshot_frame

if TYPE_CHECKING:
    from ws.viewer import Viewer

ROOM: Final = "room:"
_RESUMES_MAX: Final = 64  # frames kept for those who come back; they are many, at few offsets


class Head(msgspec.Struct, gc=False):
    """What the gateway itself wants to know of an event."""

    kind: str
    at_ms: int = 0


head_of = msgspec.json.Decoder(Head).decode


class Topic:
    """State and viewers of one topic. `epoch` is empty while the topic has no log."""

    __slots__ = (
        "_comments",
        "_first",
        "_parts",
        "_resume_bytes_max",
        "_resumes",
        "_ring",
        "_ring_max",
        "_snapshot",
        "empty_since",
        "epoch",
        "gone_since",
        "known",
        "likes",
        "likes_waiting",
        "lock",
        "name",
        "offset",
        "read_at",
        "viewers",
        "viewers_all",
    )

    def __init__(
        self, name: str, *, ring_max: int, comments_max: int, resume_bytes_max: int
    ) -> None:
        self.name = name
        self.known = False  # until then nothing is told: an empty room would be a lie
        self.epoch = ""
        self.offset = 0
        self.viewers: set[Viewer] = set()
        self.lock = asyncio.Lock()  # one reader at a time, until what it read is written out
        self.read_at = 0.0
        self.empty_since = 0.0
        self.gone_since = 0.0  # since when the store says that there is no log
        self.likes_waiting = 0
        self.likes = 0
        self.viewers_all = 0
        self._parts: dict[str, bytes] = {}
        self._comments: deque[bytes] = deque(maxlen=comments_max)
        self._ring: list[bytes] = []
        self._ring_max = ring_max
        self._resume_bytes_max = resume_bytes_max
        self._first = 1  # offset of the ring's first event
        self._snapshot = b""
        self._resumes: dict[int, bytes] = {}

    @property
    def is_room(self) -> bool:
        """Whether the lane with viewers and likes runs for it."""
        return self.name.startswith(ROOM)

    def begin(
        self, epoch: str, offset: int, parts: Mapping[str, bytes], comments: Sequence[bytes]
    ) -> None:
        """Take over a snapshot of the log; comments oldest first. What was known before is gone."""
        self.epoch, self.offset, self.known = epoch, offset, True
        self._parts = dict(parts)
        self._comments.clear()
        self._comments.extend(comments)
        self._ring, self._first = [], offset + 1
        self._forget_frames()

    def remember(self, first: int, events: Sequence[bytes]) -> None:
        """Events up to the present offset, for those who come back; `first` is their offset."""
        if first + len(events) - 1 == self.offset and not self._ring:
            self._ring, self._first = list(events), first
            self._cut()

    def append(self, events: Sequence[tuple[str, bytes]]) -> bytes:
        """Apply (part, event) in order from offset + 1 on; the frame that says so to viewers."""
        first = self.offset + 1
        for part, event in events:
            if part:
                self._parts[part] = event
            elif head_of(event).kind == "comment":
                self._comments.append(event)
            self._ring.append(event)
        self.offset += len(events)
        self._forget_frames()
        self._cut()
        return events_frame(self.name, self.epoch, first, (event for _, event in events))

    def snapshot(self) -> bytes:
        """The frame with the whole state, built once per offset."""
        if not self._snapshot:
            self._snapshot = snapshot_frame(
                self.name, self.epoch, self.offset, self._parts, self._comments
            )
        return self._snapshot

    def has_after(self, epoch: str, offset: int) -> bool:
        """Whether one who stopped at `offset` of `epoch` can be brought here by events alone."""
        return epoch == self.epoch and epoch != "" and self._first - 1 <= offset <= self.offset

    def resume(self, epoch: str, offset: int) -> bytes:
        """What one who stopped there needs: the missing events, else a snapshot; b"" if nothing.

        More events than half a buffer holds are told as a snapshot, too: it is shorter.
        """
        if not self.known or (self.has_after(epoch, offset) and offset == self.offset):
            return b""
        if not self.has_after(epoch, offset):
            return self.snapshot()
        found = self._resumes.get(offset)
        if found is None:
            found = events_frame(
                self.name, self.epoch, offset + 1, self._ring[offset + 1 - self._first :]
            )
            if len(found) > self._resume_bytes_max:
                found = self.snapshot()
            if len(self._resumes) < _RESUMES_MAX:
                self._resumes[offset] = found
        return found

    def _forget_frames(self) -> None:
        self._snapshot = b""
        if self._resumes:
            self._resumes = {}

    def _cut(self) -> None:
        # In leaps, so that it is not done for each event.
        if len(self._ring) > 2 * self._ring_max:
            cut = len(self._ring) - self._ring_max
            del self._ring[:cut]
            self._first += cut
