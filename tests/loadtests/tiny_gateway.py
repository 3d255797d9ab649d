"""A tiny server that speaks the room protocol, for the viewer's own tests: it says what it is told.

It is no stand-in for the gateway: tests of the product watch the real one.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from loadtests.hall import PassSource, RoomPass

TOPIC = "room:rm_1"


def comment(number: int, text: str = "来了") -> dict[str, Any]:
    return {"kind": "comment", "id": f"c{number}", "nickname": "a", "text": text, "at_ms": number}


def stock(number: int) -> dict[str, Any]:
    counts = {"available": 100 - number, "held": number, "sold": 0, "total": 100}
    return {"kind": "stock", "offer_id": "ofr_1", "at_ms": number, **counts}


class TinyGateway:
    """One topic with one log, told to everybody who joins."""

    def __init__(self) -> None:
        self.url = ""
        self.epoch = "e1"
        self.log: list[dict[str, Any]] = []
        self.lines: list[ServerConnection] = []
        self.asked: list[dict[str, Any]] = []
        self._one = asyncio.Lock()

    @property
    def pass_source(self) -> PassSource:
        async def source() -> RoomPass:
            return RoomPass("token", (TOPIC,), 10**15, self.url)

        return source

    def state(self) -> dict[str, Any]:
        parts = {f"stock:{one['offer_id']}": one for one in self.log if one["kind"] == "stock"}
        comments = [one for one in self.log if one["kind"] == "comment"][-50:]
        return {"parts": parts, "comments": comments}

    async def handle(self, line: ServerConnection) -> None:
        try:
            join = json.loads(await line.recv())
            self.asked.append(join)
            await _send(line, type="joined", server_ms=1, heartbeat_ms=1000, tick_ms=50, topics=[])
            asked = join["topics"][0]
            async with self._one:  # nothing may happen between the state and what follows it
                if asked.get("epoch") == self.epoch:
                    await self._events(line, asked["offset"] + 1)
                else:
                    await self.snapshot(line)
                self.lines.append(line)
            async for raw in line:
                await self._heard(line, json.loads(raw))
        except ConnectionClosed:
            pass
        finally:
            if line in self.lines:
                self.lines.remove(line)

    async def _heard(self, line: ServerConnection, word: dict[str, Any]) -> None:
        if word["type"] == "comment":
            now_ms = round(time.time() * 1000)
            await self.append({**comment(now_ms, word["text"]), "id": word["id"]})
            offset = 1 + [one.get("id") for one in self.log].index(word["id"])
            await _send(line, type="said", id=word["id"], offset=offset)

    async def snapshot(self, line: ServerConnection) -> None:
        at = {"topic": TOPIC, "epoch": self.epoch, "offset": len(self.log)}
        await _send(line, type="snapshot", **at, **self.state())

    async def _events(self, line: ServerConnection, first: int) -> None:
        if first <= len(self.log):
            await self.send_range(line, first, self.log[first - 1 :])

    async def send_range(
        self, line: ServerConnection, first: int, events: list[dict[str, Any]]
    ) -> None:
        span = {"from": first, "to": first + len(events) - 1}
        at = {"topic": TOPIC, "epoch": self.epoch}
        await _send(line, type="events", **at, **span, events=events)

    async def append(self, *events: dict[str, Any]) -> None:
        async with self._one:
            first = len(self.log) + 1
            self.log.extend(events)
            for line in list(self.lines):
                with suppress(ConnectionClosed):
                    await self.send_range(line, first, list(events))


async def _send(line: ServerConnection, **word: Any) -> None:
    await line.send(json.dumps(word, ensure_ascii=False))


@asynccontextmanager
async def tiny_gateway() -> AsyncIterator[TinyGateway]:
    gateway = TinyGateway()
    async with serve(gateway.handle, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        gateway.url = f"ws://127.0.0.1:{port}/v1/live"
        yield gateway
        await asyncio.sleep(0)
