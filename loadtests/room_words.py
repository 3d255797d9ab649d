"""The room protocol as a viewer hears it, and the state that it makes of it.

Thousands of viewers in one process hear the same frames, so each distinct frame is decoded,
searched for personal data and digested once, and `State` is immutable: applying a frame to a
state is remembered. What differs between viewers, their offsets, each of them checks by itself.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Union

import msgspec

from engine.audit.room_facts import COMMENTS_MAX, part_of, personal, range_digest, state_hash

FRAMES_MAX = 512  # distinct frames kept; a tick's frame is heard by all within a second or so


class _Heard(msgspec.Struct, tag_field="type", tag=str.lower):
    """A frame of the server; the tag is the class's name."""


class Joined(_Heard):
    """The join was accepted."""

    server_ms: int
    heartbeat_ms: int
    tick_ms: int
    topics: list[Any]


class Snapshot(_Heard):
    """A topic's state, with the offset up to which it holds."""

    topic: str
    epoch: str
    offset: int
    parts: dict[str, dict[str, Any]]
    comments: list[dict[str, Any]]


class Events(_Heard, rename={"first": "from", "last": "to"}):
    """Events with the offsets `first` to `last`."""

    topic: str
    epoch: str
    first: int
    last: int
    events: list[dict[str, Any]]


class Live(_Heard):
    """Each second, not reliable."""

    topic: str
    server_ms: int
    viewers: int = 0
    likes: int = 0


class Said(_Heard):
    """Our comment is in the log."""

    id: str
    offset: int


class Refused(_Heard):
    """Something of ours was refused."""

    code: str
    says: str
    id: str | None = None
    retry_ms: int | None = None


class Pong(_Heard):
    """The answer to a ping."""

    at_ms: int
    server_ms: int


class Bye(_Heard):
    """The server is going; come back after so many ms."""

    code: int | str
    says: str
    after_ms: int


Word = Union[Joined, Snapshot, Events, Live, Said, Refused, Pong, Bye]  # noqa: UP007
_decoder = msgspec.json.Decoder(Word)
_encoder = msgspec.json.Encoder()


def to_send(type_: str, **fields: Any) -> bytes:
    """A frame of the client."""
    return _encoder.encode({"type": type_, **fields})


class State:
    """A topic's state at an offset: parts and last comments. Never changed, only followed."""

    __slots__ = ("_hash", "comments", "parts")

    def __init__(self, parts: Mapping[str, Any], comments: tuple[Any, ...]) -> None:
        self.parts, self.comments = parts, comments[-COMMENTS_MAX:]
        self._hash = ""

    def after(self, events: list[dict[str, Any]]) -> "State":
        """The state when these events, in order, have happened."""
        parts, comments = dict(self.parts), list(self.comments)
        for event in events:
            part = part_of(event)
            if part:
                parts[part] = event
            elif event.get("kind") == "comment":
                comments.append(event)
        return State(parts, tuple(comments))

    @property
    def hash(self) -> str:
        """The same for every viewer with this state."""
        if not self._hash:
            self._hash = state_hash(self.parts, self.comments)
        return self._hash


class Frame:
    """One distinct frame: what it says, what is odd about it, its digest, when it was heard."""

    __slots__ = ("_next", "digest", "heard", "last_ms", "odd", "snapshot", "word")

    def __init__(self, raw: bytes) -> None:
        self.last_ms = time.time() * 1000  # when somebody who was in the room heard it
        self.heard, self.digest, self.odd = 0, 0, ""
        self.word: Word | None = None
        self.snapshot: State | None = None
        self._next: dict[State, State] = {}
        try:
            self.word = _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.odd = f"a frame outside the protocol: {error}"
            return
        found = personal(raw.decode())
        if found:
            self.odd = f"personal data in a frame: {found}"
        if isinstance(self.word, Events):
            self._look_at_events(self.word)
        elif isinstance(self.word, Snapshot):
            self.snapshot = State(self.word.parts, tuple(self.word.comments))

    def _look_at_events(self, word: Events) -> None:
        if len(word.events) != word.last - word.first + 1:
            self.odd = f"{len(word.events)} events say to be {word.first} to {word.last}"
        unknown = [one.get("kind") for one in word.events if part_of(one) is None]
        if unknown:
            self.odd = f"an event of no known kind: {unknown[0]}"
        self.digest = range_digest(word.first, word.events)

    def after(self, state: State) -> State:
        """The state that this frame's events make of `state`."""
        found = self._next.get(state)
        if found is None:
            assert isinstance(self.word, Events)
            found = self._next[state] = state.after(self.word.events)
        return found

    @property
    def born_ms(self) -> int:
        """When the newest event in it happened, wall clock; 0 for frames without events."""
        if not isinstance(self.word, Events) or not self.word.events:
            return 0
        return int(max(one.get("at_ms", 0) for one in self.word.events))


class Frames:
    """The distinct frames heard lately, and the states that are worth sharing.

    `on_gone` is told each frame once, when nobody is expected to hear it any more.
    """

    def __init__(self, on_gone: Callable[[Frame], None]) -> None:
        self._on_gone = on_gone
        self._frames: dict[bytes, Frame] = {}
        self._states: dict[tuple[str, str, int], State] = {}

    def hear(self, raw: bytes) -> Frame:
        """The frame of these bytes, decoded at its first time."""
        frame = self._frames.get(raw)
        if frame is None:
            if len(self._frames) >= FRAMES_MAX:
                self._on_gone(self._frames.pop(next(iter(self._frames))))
            frame = self._frames[raw] = Frame(raw)
        frame.heard += 1
        return frame

    def forget(self) -> None:
        """The end: every frame is gone."""
        while self._frames:
            self._on_gone(self._frames.popitem()[1])

    def shared(self, topic: str, epoch: str, offset: int, state: State) -> State:
        """An equal state of another viewer at this offset, or `state`, from now on shared.

        Only equal ones are shared: a state that differs stays, and its hash will show it.
        """
        at = (topic, epoch, offset)
        known = self._states.get(at)
        if known is None:
            if len(self._states) >= FRAMES_MAX:
                del self._states[next(iter(self._states))]
            self._states[at] = state
            return state
        same = known.parts == state.parts and known.comments == state.comments
        return known if same else state
