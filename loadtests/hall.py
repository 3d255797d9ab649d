"""What all viewers of one process share: the frames they heard, their log, and the tallies."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from engine.audit.viewer_log import ViewerLog
from loadtests.room_words import Frame, Frames

LAGS_MAX = 100_000
ODD_KEPT_MAX = 20


class RoomPass(NamedTuple):
    """What a viewer joins with: a token, the topics that it names, until when, and where."""

    token: str
    topics: tuple[str, ...]
    expires_at_ms: int
    url: str  # ws://host:port/path


class NoPass(Exception):
    """No token was given; the text says why."""


PassSource = Callable[[], Awaitable[RoomPass]]  # asked before each connection and renewal


class Tally(msgspec.Struct, kw_only=True):
    """What the viewers of a process have seen so far.

    `events` counts deliveries: each event once for each viewer that got it. `violations` must
    stay empty. `lags_ms`: per frame of events, from its newest event to its last hearer here.
    """

    viewers: int = 0  # joined now
    entered: int = 0  # viewers who have joined at least once
    joins: int = 0
    resumes: int = 0  # joins that went on without a snapshot
    snapshots: int = 0
    frames: int = 0
    events: int = 0
    comments_sent: int = 0
    comments_said: int = 0
    likes: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    closes: dict[str, int] = msgspec.field(default_factory=dict)
    violations: dict[str, int] = msgspec.field(default_factory=dict)
    odd: list[str] = msgspec.field(default_factory=list)  # the first of them, in words
    lags_ms: list[int] = msgspec.field(default_factory=list)
    seen_viewers: int = 0  # what the last `live` frame said
    behind: int = 0  # at the end, after a wait: viewers without an event that another one has
    hashes: dict[str, int] = msgspec.field(default_factory=dict)  # `topic epoch offset hash`
    cpu_s: float = 0.0
    done: bool = False


def count(into: dict[str, int], what: str) -> None:
    """One more of it."""
    into[what] = into.get(what, 0) + 1


class Hall:
    """Shared by the viewers of one process; `log` None: nothing is written down."""

    def __init__(self, log: ViewerLog | None = None, *, origin: str = "") -> None:
        self.log, self.origin = log, origin
        self.tally = Tally()
        self.frames = Frames(self._gone)

    def odd(self, viewer: str, topic: str, kind: str, what: str) -> None:
        """A violation: `kind` is counted, the first are kept in words, all are logged."""
        count(self.tally.violations, kind)
        if len(self.tally.odd) < ODD_KEPT_MAX:
            self.tally.odd.append(f"{viewer}, {topic}: {what}")
        if self.log is not None:
            self.log.odd(viewer, topic, what)

    def _gone(self, frame: Frame) -> None:
        born = frame.born_ms
        if born and len(self.tally.lags_ms) < LAGS_MAX:
            self.tally.lags_ms.append(max(0, round(frame.last_ms) - born))
