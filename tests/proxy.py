"""A TCP proxy on loopback that delays and tears what passes, for tests of connections.

Seeded: each piece waits up to `delay_max_s` and replies are passed on in pieces of random size.
It may also stop answering (`stall`) or cut everything (`cut`).
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    """One listening port in front of `host:port`."""

    def __init__(self, host: str, port: int, *, seed: int = 0, delay_max_s: float = 0.0) -> None:
        self.port = 0
        self.connections = 0
        self._target = (host, port)
        self._rng = random.Random(seed)
        self._delay_max_s = delay_max_s
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._server: asyncio.Server

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Drop every connection that is open now."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """Pass nothing on, without hanging up."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on again."""
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self._writers.add(writer)
        try:
            there, out = await asyncio.open_connection(*self._target)
            self._writers.add(out)
            try:
                await asyncio.wait(
                    [
                        asyncio.create_task(self._pass(reader, out)),
                        asyncio.create_task(self._pass(there, writer)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                self._drop(out)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._drop(writer)

    def _drop(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        self._writers.discard(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                while data:
                    size = self._rng.randint(1, len(data)) if self._delay_max_s else len(data)
                    if self._delay_max_s:
                        await asyncio.sleep(self._rng.random() * self._delay_max_s)
                    await self._flows.wait()
                    writer.write(data[:size])
                    await writer.drain()
                    data = data[size:]


@asynccontextmanager
async def proxy(
    host: str, port: int, *, seed: int = 0, delay_max_s: float = 0.0
) -> AsyncIterator[Proxy]:
    """A running proxy in front of `host:port`."""
    one = Proxy(host, port, seed=seed, delay_max_s=delay_max_s)
    await one.start()
    try:
        yield one
    finally:
        await one.close()
