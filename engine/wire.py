"""The hot path's connection: all commands of one turn of the loop travel in one write.

One socket, hiredis on both sides, replies in order. What a general client does per command
(pool, locks, retries) costs ten times the store's own work; this does none of it:
- `call` packs and queues, one `call_soon` later everything queued goes out in one write;
- nothing is ever sent twice. When the connection is lost, what was under way fails with
  Unavailable: its effect is unknown, and the caller's idempotency key settles it;
- scripts are loaded on each new connection, before any command; `run_id` names the server's
  life, and scripts refuse another one;
- at most `in_flight_max` commands wait; a server that answers nothing for `stall_ms` is hung up.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import unquote, urlsplit

import hiredis

from engine.errors import Unavailable
from engine.prepared import pack
from engine.scripts import Script

log = logging.getLogger(__name__)

Reply = Any  # bytes, int, None, list, or hiredis.ReplyError inside a list


def lost() -> Unavailable:
    """The answer while the hot store cannot be reached."""
    return Unavailable(
        "reopening",
        "Recovering; orders are safe",
        "The hot store cannot be reached. Try again with the same key.",
    )


class _Line(asyncio.Protocol):
    """One connection's life: replies matched to waiting futures in order."""

    def __init__(self, stall_ms: int) -> None:
        self.waiting: deque[tuple[float, asyncio.Future[Reply]]] = deque()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.writes = 0
        self._reader = hiredis.Reader()
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._stall_s = stall_ms / 1000
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it
        self._loop.call_later(self._stall_s, self._watch)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            _, future = self.waiting.popleft()
            if future.done():  # its caller was cancelled; the reply still takes its place
                continue
            if isinstance(reply, hiredis.ReplyError):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)
        while self.waiting:
            _, future = self.waiting.popleft()
            if not future.done():
                future.set_exception(lost())

    def send(self, packed: bytes) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = self._loop.create_future()
        if self.closed.done():
            future.set_exception(lost())
            return future
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(packed)
        self.waiting.append((self._loop.time(), future))
        return future

    def _flush(self) -> None:
        out, self._out = self._out, []
        self.writes += 1
        if not self.closed.done():
            self.transport.write(b"".join(out))

    def _watch(self) -> None:
        if self.closed.done():
            return
        if self.waiting and self._loop.time() - self.waiting[0][0] > self._stall_s:
            log.warning("hot store silent for %.1f s: hanging up", self._stall_s)
            self.transport.abort()
            return
        self._loop.call_later(self._stall_s / 4, self._watch)


class Wire:
    """A connection to the hot store that comes back by itself."""

    def __init__(
        self,
        url: str,
        scripts: Iterable[Script],
        *,
        in_flight_max: int = 4_096,
        stall_ms: int = 5_000,
        retry_s: float = 0.05,
    ) -> None:
        self.run_id = ""
        self._url = urlsplit(url)
        self._scripts = list(scripts)
        self._in_flight_max = in_flight_max
        self._stall_ms = stall_ms
        self._retry_s = retry_s
        self._line: _Line | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether commands can be sent right now."""
        return self._line is not None and not self._line.closed.done()

    @property
    def writes(self) -> int:
        """How many writes went out: what is queued while this number stands is not sent yet."""
        return self._line.writes if self._line is not None else 0

    async def start(self, *, within_s: float = 10.0) -> None:
        """Connect and keep connected; Unavailable when the first connection takes too long."""
        first = asyncio.Event()
        self._keeper = asyncio.create_task(self._keep(first), name="wire")
        try:
            await asyncio.wait_for(first.wait(), within_s)
        except TimeoutError:
            await self.close()
            raise lost() from None

    async def close(self) -> None:
        """Hang up for good."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        if self._line is not None:
            self._line.transport.close()
            await self._line.closed
            self._line = None

    def hang_up(self) -> None:
        """Drop the connection; the next one loads all scripts again."""
        if self._line is not None:
            self._line.transport.abort()

    def call(self, *command: str | bytes | int) -> asyncio.Future[Reply]:
        """Queue one command for this turn's write; the future brings its reply."""
        return self.send(pack(command))

    def send(self, packed: bytes) -> asyncio.Future[Reply]:
        """Queue a command that is packed already (engine/prepared.py)."""
        line = self._line
        if line is None:
            raise lost()
        if len(line.waiting) >= self._in_flight_max:
            raise Unavailable("busy", "Too many requests at once; try again in a moment")
        return line.send(packed)

    async def _keep(self, first: asyncio.Event) -> None:
        pause = self._retry_s
        while True:
            try:
                line = await self._connect()
            except (OSError, Unavailable, hiredis.HiredisError) as error:
                log.info("hot store not reached (%s); next try in %.2f s", error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
                continue
            pause = self._retry_s
            self._line = line
            first.set()
            await asyncio.shield(line.closed)
            self._line = None

    async def _connect(self) -> _Line:
        url, loop = self._url, asyncio.get_running_loop()
        line = _Line(self._stall_ms)
        # Not wait_for: before Python 3.12 it swallows a cancel in the turn of its success.
        async with asyncio.timeout(5):
            await loop.create_connection(
                lambda: line, url.hostname or "127.0.0.1", url.port or 6379
            )
        try:
            async with asyncio.timeout(5):
                await self._greet(line)
        except BaseException:
            line.transport.abort()
            raise
        return line

    async def _greet(self, line: _Line) -> None:
        def ask(*command: str | int) -> asyncio.Future[Reply]:
            return line.send(pack(command))

        if self._url.password:
            user = unquote(self._url.username or "default")
            await ask("AUTH", user, unquote(self._url.password))
        await ask("SELECT", int(self._url.path.strip("/") or "0"))
        loaded = [ask("SCRIPT", "LOAD", script.source) for script in self._scripts]
        for sha, script in zip(await asyncio.gather(*loaded), self._scripts, strict=True):
            assert sha.decode() == script.sha
        info: bytes = await ask("INFO", "server")
        fields = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        self.run_id = fields["run_id"]
