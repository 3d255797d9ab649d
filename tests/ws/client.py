"""A viewer for tests: joins, keeps the state that it is told, and trusts nothing.

It fails on a gap, on a repeat, on an epoch that does not begin with a snapshot and on a topic that
it did not ask for; `hash` is the state hash of a topic (engine/room_events.py).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from engine.room_events import state_hash
from tests.waiting import eventually

COMMENTS_MAX = 50


def part_of(event: dict[str, Any]) -> str:
    """Which part an event replaces, by the table in docs/protocol.md."""
    match event["kind"]:
        case "room" | "shelf" | "pin" | "team" as part:
            return str(part)
        case "offer" | "stock" | "teams" as kind:
            return f"{kind}:{event['offer_id']}"
        case "claim" | "payment" as kind:
            return f"{kind}:{event['claim_id']}"
    return ""


class Seen:
    """A topic's state as a viewer has it."""

    def __init__(self) -> None:
        self.epoch, self.offset = "", 0
        self.parts: dict[str, Any] = {}
        self.comments: list[dict[str, Any]] = []
        self.begun = False

    def snapshot(self, frame: dict[str, Any]) -> None:
        self.epoch, self.offset = frame["epoch"], frame["offset"]
        self.parts, self.comments = dict(frame["parts"]), list(frame["comments"])
        self.begun = True

    def events(self, frame: dict[str, Any]) -> None:
        assert self.begun, "events before any snapshot"
        assert frame["epoch"] == self.epoch, "a new epoch begins with a snapshot"
        assert frame["from"] == self.offset + 1, f"{self.offset} was followed by {frame['from']}"
        assert frame["to"] - frame["from"] + 1 == len(frame["events"])
        for event in frame["events"]:
            part = part_of(event)
            if part:
                self.parts[part] = event
            elif event["kind"] == "comment":
                self.comments = [*self.comments, event][-COMMENTS_MAX:]
        self.offset = frame["to"]

    @property
    def hash(self) -> str:
        texts = {part: msgspec.json.encode(one).decode() for part, one in self.parts.items()}
        return state_hash(texts, [msgspec.json.encode(one).decode() for one in self.comments])


class Client:
    """One viewer; its state outlives its connections. `trouble` is the first law it saw broken."""

    def __init__(self, url: str, token: str, topics: Sequence[str]) -> None:
        self.url, self.token, self.topics = url, token, list(topics)
        self.seen = {topic: Seen() for topic in topics}
        self.frames: list[dict[str, Any]] = []  # all but live
        self.lives: list[dict[str, Any]] = []
        self.trouble = ""
        self.resumed = 0  # joins that were answered without a snapshot
        self.line: ClientConnection

    async def open(self, **options: Any) -> None:
        """A connection, without a join."""
        self.line = await connect(
            self.url,
            compression=None,
            proxy=None,
            open_timeout=20,
            close_timeout=2,
            ping_interval=None,
            **options,
        )

    async def say(self, type_: str, **fields: Any) -> None:
        await self.line.send(msgspec.json.encode({"type": type_, **fields}).decode())

    async def join(self) -> None:
        """The first frame, with the position of each topic."""
        topics = []
        for name, seen in self.seen.items():
            at = {"epoch": seen.epoch, "offset": seen.offset} if seen.begun else {}
            topics.append({"topic": name, **at})
        await self.say("join", token=self.token, topics=topics)

    async def read(self) -> int:
        """Take in what comes until the connection ends; the close code."""
        try:
            while True:
                self.take(msgspec.json.decode(await self.line.recv()))
        except ConnectionClosed:
            return self.line.close_code or 1006

    def take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "live":
            self.lives.append(frame)
            return
        self.frames.append(frame)
        if frame["type"] not in ("snapshot", "events"):
            return
        try:
            assert frame["topic"] in self.seen, f"a topic that was not asked for: {frame}"
            seen = self.seen[frame["topic"]]
            seen.snapshot(frame) if frame["type"] == "snapshot" else seen.events(frame)
        except AssertionError as error:
            self.trouble = self.trouble or str(error)
            raise

    def of(self, type_: str) -> list[dict[str, Any]]:
        """All frames of a type so far."""
        return [frame for frame in self.frames if frame["type"] == type_]

    async def until(self, type_: str, count: int = 1) -> dict[str, Any]:
        """The newest frame of a type, once there are so many; something must be reading."""
        await eventually(lambda: len(self.of(type_)) >= count or bool(self.trouble))
        assert not self.trouble, self.trouble
        return self.of(type_)[-1]

    async def until_at(self, topic: str, offset: int) -> Seen:
        """The state of a topic once it stands at this offset or later."""
        await eventually(lambda: self.seen[topic].offset >= offset or bool(self.trouble))
        assert not self.trouble, self.trouble
        return self.seen[topic]

    async def until_counted(self, viewers: int, likes: int) -> None:
        """Once the lane tells these counts."""
        await eventually(
            lambda: (
                bool(self.lives)
                and (self.lives[-1]["viewers"], self.lives[-1]["likes"]) == (viewers, likes)
            )
        )

    async def until_closed(self) -> int:
        """The code that the gateway closes with; something must be reading."""
        await eventually(lambda: self.line.close_code is not None)
        return self.line.close_code or 1006

    async def watch(self, stop: asyncio.Event) -> None:
        """Connect, and come back after every loss, until `stop`."""
        while not stop.is_set():
            try:
                await self.open()
                await self.join()
            except (OSError, ConnectionClosed, TimeoutError, EOFError):
                await asyncio.sleep(0.05)
                continue
            except Exception as error:  # the handshake was cut in its middle
                if "handshake" not in type(error).__name__.lower() and "HTTP" not in str(error):
                    self.trouble = repr(error)
                    return
                await asyncio.sleep(0.05)
                continue
            reading = asyncio.create_task(self.read())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not reading.done():
                await self.line.close()
            await asyncio.gather(reading, return_exceptions=True)
            if self.trouble:
                return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def watching(url: str, token: str, topics: Sequence[str]) -> AsyncIterator[Client]:
    """A joined viewer that reads in the background."""
    client = Client(url, token, topics)
    await client.open()
    reading = asyncio.create_task(client.read())
    try:
        await client.join()
        yield client
    finally:
        await client.line.close()
        with contextlib.suppress(AssertionError):
            await reading
    assert not client.trouble, client.trouble
