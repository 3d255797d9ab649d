"""The API process: `python -m campaigns.main --fd N` (an inherited socket) or `--port N`.

The composition root: settings are read here and nowhere below. SIGTERM drains: no new
connections, requests under way are finished within `drain_ms`. Nothing is logged per request.
"""

import argparse
import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from campaigns.app import create_app
from campaigns.parts import open_parts
from engine import settings as reading
from engine.errors import KaituanError, RefusedStart
from engine.settings import Settings

log = logging.getLogger("kaituan.api")


def server_config(app: object, settings: Settings) -> uvicorn.Config:
    """uvicorn with every limit said; its defaults are endless in places."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # Front is an ASGI app whose __call__ is not a coroutine
        interface="asgi3",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=settings.backlog_max,
        limit_concurrency=settings.connections_max,
        timeout_keep_alive=-(-settings.keep_alive_ms // 1000),
        timeout_graceful_shutdown=-(-settings.drain_ms // 1000),
        h11_max_incomplete_event_size=settings.body_bytes_max,
    )


def listening(settings: Settings, *, fd: int | None, port: int | None) -> socket.socket:
    """The inherited socket, or a new one; RefusedStart when the port is taken."""
    if fd is not None:
        try:
            return socket.socket(fileno=fd)
        except OSError as error:
            raise RefusedStart("bad_socket", f"File descriptor {fd} is no socket.") from error
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    at = (settings.api_host, settings.api_port if port is None else port)
    try:
        sock.bind(at)
    except OSError as error:
        sock.close()
        raise RefusedStart("port_taken", f"{at[0]}:{at[1]} cannot be used: {error}.") from error
    sock.listen(settings.backlog_max)
    return sock


class _Server(uvicorn.Server):
    """uvicorn, but a signal that was obeyed is not raised again: the exit code is ours to say."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


async def serve(settings: Settings, sock: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    async with open_parts(settings) as parts:
        host, port = sock.getsockname()[:2]
        log.info("serving http://%s:%s", host, port)
        await _Server(server_config(create_app(parts), settings)).serve([sock])
    log.info("drained")


def main() -> int:
    """0 after a drained end, 3 with one sentence when the start is refused."""
    parser = argparse.ArgumentParser(prog="python -m campaigns.main", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--fd", type=int, help="an inherited listening socket")
    where.add_argument("--port", type=int, help="a port to listen on; 0 takes a free one")
    given = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log every address called
    try:
        settings = reading.load()
        sock = listening(settings, fd=given.fd, port=given.port)
        with sock:
            uvloop.run(serve(settings, sock))
    except KaituanError as error:
        print(f"api: {error.title} {error.detail}".strip(), file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
