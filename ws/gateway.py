"""The gateway as one object: its parts wired, its socket served, its end in order.

`running` serves on a listening socket until the block ends; then it drains: each viewer gets `bye`
with its own moment to come back (spread, so that they do not come all at once) and is closed with
1012. What does not answer is cut after `gateway_drain_ms`.
"""

import asyncio
import functools
import logging
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from engine.ids import new_id
from engine.room_tokens import RoomTokens
from engine.rooms import RoomLogs
from engine.scripts import load_all
from engine.settings import Settings
from engine.wire import Wire
from ws import close_codes
from ws.door import Door
from ws.feed import Feed
from ws.hub import Hub
from ws.lanes import Lanes
from ws.metrics import Metrics
from ws.protocol import Bye, frame
from ws.pump import Pump
from ws.session import Session
from ws.sweep import EVERY_S, Sweep
from ws.viewer import Line, Viewer

log = logging.getLogger("kaituan.gateway")
# The library tells of each connection that opens and closes.
_LINES_LOG: Final = logging.getLogger("kaituan.gateway.lines")
_LINES_LOG.setLevel(logging.ERROR)

_FAREWELLS: Final = 500  # in one turn of the loop
_QUEUE: Final = (4, 1)  # frames of a viewer that wait for the one before; then it is not read


class Gateway:
    """One process's gateway; made by `running`."""

    def __init__(self, settings: Settings, wire: Wire, doorbell: Wire) -> None:
        self.settings = settings
        self._doorbell = doorbell
        self.metrics = Metrics()
        self.hub = Hub(settings, self.metrics, asyncio.get_running_loop().time)
        logs = RoomLogs(wire, settings=settings)
        self._feed = Feed(self.hub, logs)
        self._pump = Pump(self.hub, self._feed)
        self._lanes = Lanes(self.hub, logs, new_id("gtw"))
        self._sweep = Sweep(self.hub)
        self._session = Session(
            self.hub, self._feed, logs, RoomTokens.from_setting(settings.token_secret)
        )
        self._server: Server
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, sock: socket.socket) -> None:
        """Serve on a listening socket."""
        settings = self.settings
        set_socket_limits(sock, settings)
        make_line: Any = functools.partial(Line, self.hub)
        self._server = await serve(
            self._serve_viewer,
            sock=sock,
            backlog=settings.backlog_max,
            create_connection=make_line,
            process_request=Door(self.hub, settings).answer,
            compression=None,  # 64 KiB a viewer
            server_header=None,
            open_timeout=settings.join_within_ms / 1000,
            ping_interval=None,  # a task and a timer a viewer: see viewer_lost_ms
            close_timeout=settings.close_within_ms / 1000,
            max_size=settings.viewer_frame_bytes_max,
            max_queue=_QUEUE,
            write_limit=settings.viewer_buffer_max,
            logger=_LINES_LOG,
        )
        every_s = settings.live_every_ms / 1000
        self._tasks = [
            asyncio.create_task(self._pump.run(), name="pump"),
            asyncio.create_task(self._pump.listen(self._doorbell), name="doorbell"),
            asyncio.create_task(_each(every_s, self._each_second), name="lanes"),
            asyncio.create_task(_each(EVERY_S, self._sweep.turn), name="sweep"),
        ]

    def ended(self) -> asyncio.Future[Any]:
        """Done when one of the loops has ended, which is a bug: then the process should end."""
        return asyncio.ensure_future(asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED))

    async def drain(self) -> None:
        """Say bye to everybody, wait a while for them to go, cut the rest, stop."""
        self.hub.draining = True
        self._server.close(close_connections=False)
        viewers = list(self.hub.viewers)
        for start in range(0, len(viewers), _FAREWELLS):
            for viewer in viewers[start : start + _FAREWELLS]:
                self._send_away(viewer, close_codes.RESTART)
            await asyncio.sleep(0)
        until = self.hub.clock() + self.settings.gateway_drain_ms / 1000
        while self.hub.viewers and self.hub.clock() < until:
            await asyncio.sleep(0.02)
        for viewer in tuple(self.hub.viewers):
            viewer.transport.abort()
        await self._server.wait_closed()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._lanes.end()

    async def _each_second(self) -> None:
        self._pump.look()
        await self._lanes.turn()

    async def _serve_viewer(self, connection: ServerConnection) -> None:
        """A connection's life after its handshake; ends when it is closed."""
        assert isinstance(connection, Line)
        hub = self.hub
        viewer = connection.viewer = Viewer(hub, connection, hub.clock())
        connection.forget_handshake()
        hub.viewers.add(viewer)
        if hub.draining or len(hub.viewers) > self.settings.viewers_max:
            self._send_away(viewer, close_codes.RESTART if hub.draining else close_codes.BUSY)
        try:
            while True:
                await self._session.on_frame(viewer, await connection.recv())
        except ConnectionClosed:
            pass
        except Exception:
            log.exception("a viewer's connection failed")
            viewer.close(close_codes.BROKEN)
            await connection.wait_closed()
        finally:
            hub.leave(viewer)
            hub.viewers.discard(viewer)
            connection.viewer = None

    def _send_away(self, viewer: Viewer, code: int) -> None:
        entry = close_codes.TABLE[code]
        after_ms = random.randrange(self.settings.come_back_within_ms + 1)
        viewer.close(code, frame(Bye(entry.code_name, entry.says, after_ms)))


def set_socket_limits(sock: socket.socket, settings: Settings) -> None:
    """What accepted connections inherit: a bounded send buffer, and an end when a network dies."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, settings.viewer_socket_bytes_max)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, settings.viewer_lost_ms)


async def _each(every_s: float, turn: Callable[[], Awaitable[None]]) -> None:
    """Turn after turn, at most one every so many seconds; what a turn raises is logged."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await turn()
        except Exception:
            log.exception("a turn of the gateway failed")
        await asyncio.sleep(max(every_s / 4, began + every_s - loop.time()))


@asynccontextmanager
async def running(settings: Settings, sock: socket.socket) -> AsyncIterator[Gateway]:
    """A gateway on a listening socket; drained at the end of the block."""
    within_s = settings.start_wait_ms / 1000
    async with (
        _connected(Wire(settings.redis_url, load_all().values()), within_s) as wire,
        _connected(Wire(settings.redis_url, ()), within_s) as doorbell,
    ):
        gateway = Gateway(settings, wire, doorbell)
        await gateway.start(sock)
        try:
            yield gateway
        finally:
            await gateway.drain()


@asynccontextmanager
async def _connected(wire: Wire, within_s: float) -> AsyncIterator[Wire]:
    await wire.start(within_s=within_s)
    try:
        yield wire
    finally:
        await wire.close()
