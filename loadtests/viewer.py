"""One viewer of live rooms: joins, follows, checks every offset, and comes back when cut.

It keeps a position and a state per topic, resumes from them, and notes a gap, a repeat, an epoch
without a snapshot, or anything outside the protocol as a violation: it never repairs what it was
told. Lean enough for thousands per process: frames are decoded once for all (`room_words.py`).
"""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

from engine.audit.room_facts import DIGEST_MASK
from loadtests.hall import Hall, NoPass, PassSource, RoomPass, count
from loadtests.room_words import (
    Bye,
    Events,
    Frame,
    Joined,
    Live,
    Refused,
    Said,
    Snapshot,
    State,
    to_send,
)
from loadtests.ws_line import NoHandshake, WsLine

RENEW_BEFORE_MS = 60_000
CONNECT_WITHIN_S = 60.0
JOIN_WITHIN_S = 30.0
SILENT_HEARTBEATS = 10  # then the network is taken for lost; generous, for loads on a laptop
WAIT_FIRST_S, WAIT_MOST_S = 0.2, 5.0
PENDING_MAX = 16
FINAL_CODES = frozenset({4400})  # coming back would change nothing


class Followed:
    """How far a viewer is in one topic, and the range that is not yet in its log."""

    __slots__ = ("digest", "epoch", "first", "offset", "state")

    def __init__(self, epoch: str, offset: int, state: State) -> None:
        self.epoch, self.offset, self.state = epoch, offset, state
        self.first, self.digest = offset + 1, 0


class Viewer:
    """`watch()` runs until `leave()`, or until the server closes for good.

    `topics` None: all that its token names. `topic` is the first of them, once joined.
    """

    def __init__(
        self, name: str, hall: Hall, passes: PassSource, topics: Sequence[str] | None = None
    ) -> None:
        self.name, self._hall, self._passes, self._wanted = name, hall, passes, topics
        self.followed: dict[str, Followed] = {}
        self.joined = asyncio.Event()  # set while joined
        self.topic = ""
        self.said: dict[str, int] = {}  # comment id → its offset
        self.last_code = 0
        self._pending: dict[str, tuple[str, str]] = {}  # comment id → topic, text
        self._line: WsLine | None = None
        self._leaving = asyncio.Event()
        self._bye_ms: int | None = None
        self._heartbeat_s, self._heard_s = 1.0, 0.0
        self._fresh = True  # no snapshot since the join: it was a resume
        self._entered = False

    # -- what a test or a crowd asks of it

    async def watch(self) -> None:
        """Connect, and come back after every loss, until told to leave."""
        wait_s = WAIT_FIRST_S
        try:
            while not self._leaving.is_set():
                began = time.monotonic()
                code = await self._one_connection()
                self._drop(code)
                if code in FINAL_CODES:
                    break
                wait_s = WAIT_FIRST_S if time.monotonic() - began > WAIT_MOST_S else wait_s * 2
                pause_s = min(WAIT_MOST_S, wait_s) * random.random()
                if self._bye_ms is not None:
                    pause_s, self._bye_ms = self._bye_ms / 1000, None
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._leaving.wait(), pause_s)
        finally:
            self._end()

    def comment(self, text: str, comment_id: str = "") -> str:
        """Say something in the first topic; the id, which `said` gets when it is in the log.

        One without an answer is said again, with its id, after the next join.
        """
        chosen = comment_id or secrets.token_hex(6)
        if len(self._pending) < PENDING_MAX:
            self._pending[chosen] = (self.topic, text)
        self._hall.tally.comments_sent += 1
        self.send("comment", topic=self.topic, id=chosen, text=text)
        return chosen

    def like(self, count: int = 1) -> None:
        """Like so many times."""
        self._hall.tally.likes += count
        self.send("like", topic=self.topic, n=count)

    def send(self, type_: str, **fields: object) -> None:
        """Any frame; lost when there is no connection."""
        if self._line is not None:
            self._line.send(to_send(type_, **fields))

    def cut(self) -> None:
        """Lose the network."""
        if self._line is not None:
            self._line.cut()

    def stall(self) -> None:
        """Stop reading."""
        if self._line is not None:
            self._line.stall()

    def go_on(self) -> None:
        """Read again."""
        if self._line is not None:
            self._line.go_on()

    def leave(self) -> None:
        """Say goodbye and do not come back."""
        self._leaving.set()
        if self._line is not None:
            self._line.close()

    def hash_of(self, topic: str = "") -> str:
        """The state hash of a topic, '' before its first snapshot."""
        found = self.followed.get(topic or self.topic)
        return found.state.hash if found else ""

    def offset_of(self, topic: str = "") -> int:
        """The last offset seen of a topic, -1 before its first snapshot."""
        found = self.followed.get(topic or self.topic)
        return found.offset if found else -1

    def is_at(self, epoch: str, offset: int) -> bool:
        """Whether this event of the first topic, or a later epoch's, has come."""
        at = self.followed.get(self.topic)
        return at is not None and (at.epoch, at.offset) >= (epoch, offset)

    # -- one connection

    async def _one_connection(self) -> int:
        """From the token to the close code; 0 when no connection came about."""
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                given = await self._passes()
                line = await self._connect(given)
        except (OSError, TimeoutError, NoHandshake, NoPass) as error:
            count(self._hall.tally.closes, f"no connection: {type(error).__name__}")
            return 0
        self._line, self._heard_s, self._heartbeat_s = line, time.monotonic(), JOIN_WITHIN_S
        self._fresh = True
        self._join(given)
        if self._leaving.is_set():
            line.close()
        return await self._until_closed(line, given)

    async def _connect(self, given: RoomPass) -> WsLine:
        to = urlsplit(given.url)
        host, port = to.hostname or "127.0.0.1", to.port or 80
        loop = asyncio.get_running_loop()
        path = to.path or "/"
        _, line = await loop.create_connection(
            lambda: WsLine(f"{host}:{port}", path, self._hall.origin, self._on_text), host, port
        )
        try:
            await line.opened
        except BaseException:
            line.cut()
            raise
        return line

    def _join(self, given: RoomPass) -> None:
        topics = tuple(self._wanted or given.topics)
        self.topic = topics[0]
        ask: dict[str, tuple[str, int] | None] = {}
        frames = []
        for topic in topics:
            at = self.followed.get(topic)
            ask[topic] = (at.epoch, at.offset) if at else None
            known = {"epoch": at.epoch, "offset": at.offset} if at else {}
            frames.append({"topic": topic, **known})
        if self._hall.log is not None:
            self._hall.log.join(self.name, given.topics, ask)
        self.send("join", token=given.token, topics=frames)

    async def _until_closed(self, line: WsLine, given: RoomPass) -> int:
        renew_ms = given.expires_at_ms - RENEW_BEFORE_MS
        while not line.closed.done():
            left_s = max(0.05, renew_ms / 1000 - time.time())
            await asyncio.wait([line.closed], timeout=min(left_s, 5.0))
            if time.monotonic() - self._heard_s > self._heartbeat_s * SILENT_HEARTBEATS:
                line.cut()
            elif not line.closed.done() and time.time() * 1000 >= renew_ms:
                renew_ms = await self._renew()
        return line.closed.result()

    async def _renew(self) -> int:
        """Send a fresh token; when to do it again (ms). Without one, tried again soon."""
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                given = await self._passes()
        except (OSError, TimeoutError, NoPass):
            return round(time.time() * 1000) + 2_000
        self.send("token", token=given.token)
        return max(round(time.time() * 1000) + 1_000, given.expires_at_ms - RENEW_BEFORE_MS)

    def _drop(self, code: int) -> None:
        if self.joined.is_set():
            self._hall.tally.viewers -= 1
            self.joined.clear()
        self._line, self.last_code = None, code
        self._write_ranges()
        if code:
            count(self._hall.tally.closes, str(code))
            if self._hall.log is not None:
                self._hall.log.closed(self.name, code)

    def _end(self) -> None:
        if self._line is not None:  # cancelled
            self._line.cut()
            self._drop(1006)
        for topic, at in self.followed.items():
            count(self._hall.tally.hashes, f"{topic} {at.epoch} {at.offset} {at.state.hash}")
            if self._hall.log is not None:
                self._hall.log.end(self.name, topic, at.epoch, at.offset, at.state.hash)

    # -- what it hears

    def _on_text(self, raw: bytes) -> None:
        hall = self._hall
        frame = hall.frames.hear(raw)
        hall.tally.frames += 1
        self._heard_s = time.monotonic()
        if frame.odd:
            hall.odd(self.name, self.topic, frame.odd.split(":")[0], frame.odd)
        word = frame.word
        if isinstance(word, Events):
            self._on_events(word, frame)
        elif isinstance(word, Snapshot):
            self._on_snapshot(word, frame)
        elif isinstance(word, Live):
            hall.tally.seen_viewers = word.viewers
        elif isinstance(word, Joined):
            self._heartbeat_s = max(0.1, word.heartbeat_ms / 1000)
            self._on_joined()
        elif isinstance(word, Said):
            self._on_said(word)
        elif isinstance(word, Refused):
            count(hall.tally.refused, word.code)
            self._pending.pop(word.id or "", None)
        elif isinstance(word, Bye):
            self._bye_ms = word.after_ms

    def _on_joined(self) -> None:
        if self.joined.is_set():
            self._hall.odd(self.name, self.topic, "joined twice", "joined again")
            return
        self.joined.set()
        self._hall.tally.entered += not self._entered
        self._entered = True
        self._hall.tally.viewers += 1
        self._hall.tally.joins += 1
        for comment_id, (topic, text) in self._pending.items():
            self.send("comment", topic=topic, id=comment_id, text=text)

    def _on_events(self, word: Events, frame: Frame) -> None:
        at = self.followed.get(word.topic)
        self._hall.tally.events += len(word.events)
        if at is not None and at.epoch == word.epoch and at.offset + 1 == word.first:
            if self._fresh:
                self._fresh = False
                self._hall.tally.resumes += 1
            else:
                frame.last_ms = time.time() * 1000  # who comes back hears what is long past
            at.offset = word.last
            at.digest += frame.digest
            at.state = frame.after(at.state)
            return
        if at is None:
            kind, what = "events before a snapshot", f"events from {word.first} on"
            at = self.followed[word.topic] = Followed(word.epoch, 0, State({}, ()))
        elif at.epoch != word.epoch:
            kind, what = "an epoch without a snapshot", f"{word.epoch} follows {at.epoch}"
        else:
            kind = "a gap" if word.first > at.offset else "a repeat"
            what = f"{word.first} to {word.last} after {at.offset}"
        self._hall.odd(self.name, word.topic, kind, f"{kind}: {what}")
        # As it was told, so that the audit sees it too.
        self._write_range(word.topic, at)
        at.epoch, at.first, at.offset, at.digest = word.epoch, word.first, word.last, frame.digest
        at.state = frame.after(at.state)

    def _on_snapshot(self, word: Snapshot, frame: Frame) -> None:
        at = self.followed.get(word.topic)
        if at is not None:
            if at.epoch == word.epoch and word.offset < at.offset:
                what = f"a snapshot of {word.offset} after {at.offset}"
                self._hall.odd(self.name, word.topic, "a snapshot backwards", what)
            self._write_range(word.topic, at)
        assert frame.snapshot is not None
        state = self._hall.frames.shared(word.topic, word.epoch, word.offset, frame.snapshot)
        self.followed[word.topic] = Followed(word.epoch, word.offset, state)
        self._hall.tally.snapshots += 1
        self._fresh = False
        if self._hall.log is not None:
            self._hall.log.snapshot(self.name, word.topic, word.epoch, word.offset, state.hash)

    def _on_said(self, word: Said) -> None:
        topic, _ = self._pending.pop(word.id, ("", ""))
        if not topic:
            self._hall.odd(self.name, self.topic, "said twice", f"unasked said of {word.id}")
            return
        self.said[word.id] = word.offset
        self._hall.tally.comments_said += 1
        at = self.followed.get(topic)
        if at is not None and self._hall.log is not None:
            self._hall.log.said(self.name, topic, at.epoch, word.offset, f"-{word.id}")

    def _write_ranges(self) -> None:
        for topic, at in self.followed.items():
            self._write_range(topic, at)

    def _write_range(self, topic: str, at: Followed) -> None:
        if at.offset >= at.first and self._hall.log is not None:
            span, digest = (at.first, at.offset), at.digest & DIGEST_MASK
            self._hall.log.events(self.name, topic, at.epoch, span, digest)
        at.first, at.digest = at.offset + 1, 0
