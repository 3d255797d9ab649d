"""The gateway's process: `python -m ws.main --fd N` (an inherited socket) or `--port N`.

The composition root: settings are read here and nowhere below. SIGTERM drains: viewers are told
when to come back. Nothing is logged per viewer, and no token ever.
"""

import argparse
import asyncio
import gc
import logging
import signal
import socket
import sys
from typing import Final

import uvloop

from engine import settings as reading
from engine.errors import KaituanError, RefusedStart
from engine.settings import Settings
from engine.store import check_hot_store, connect
from ws.gateway import running

log = logging.getLogger("kaituan.gateway")

_RETRY_S: Final = 0.25
# Each connection is some sixty objects that live as long as it does; looking through all of them
# every 700 births, as Python does by default, halts a gateway of 19,000 viewers for 0.3 s.
_GC_YOUNG: Final = 50_000


def listening(settings: Settings, *, fd: int | None, port: int | None) -> socket.socket:
    """The inherited socket, or a new one; RefusedStart when the port is taken."""
    if fd is not None:
        try:
            return socket.socket(fileno=fd)
        except OSError as error:
            raise RefusedStart("bad_socket", f"File descriptor {fd} is no socket.") from error
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    at = (settings.gateway_host, settings.gateway_port if port is None else port)
    try:
        sock.bind(at)
    except OSError as error:
        sock.close()
        raise RefusedStart("port_taken", f"{at[0]}:{at[1]} cannot be used: {error}.") from error
    sock.listen(settings.backlog_max)
    return sock


async def _trusted(settings: Settings) -> None:
    """Wait for the hot store as long as a start may wait; RefusedStart when it is not fit."""
    until = asyncio.get_running_loop().time() + settings.start_wait_ms / 1000
    while True:
        client = connect(settings.redis_url, pool_max=1)
        try:
            await check_hot_store(client, unsafe=settings.unsafe_store)
            return
        except RefusedStart as error:
            away = error.code == "store_unreachable"
            if not away or asyncio.get_running_loop().time() > until:
                raise
        finally:
            await client.aclose()
        await asyncio.sleep(_RETRY_S)


async def serve(settings: Settings, sock: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await _trusted(settings)
    async with running(settings, sock) as gateway:
        host, port = sock.getsockname()[:2]
        log.info("serving ws://%s:%s/v1/live", host, port)
        stopped = asyncio.ensure_future(stop.wait())
        ended = gateway.ended()
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        failed = not stop.is_set()
        for waiting in (stopped, ended):
            waiting.cancel()
    if failed:
        raise RuntimeError("a loop of the gateway ended by itself")
    log.info("drained")


def main() -> int:
    """0 after a drained end, 3 with one sentence when the start is refused."""
    parser = argparse.ArgumentParser(prog="python -m ws.main", description=__doc__)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--fd", type=int, help="an inherited listening socket")
    where.add_argument("--port", type=int, help="a port to listen on; 0 takes a free one")
    given = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    gc.set_threshold(_GC_YOUNG, 20, 50)
    try:
        settings = reading.load()
        sock = listening(settings, fd=given.fd, port=given.port)
        with sock:
            uvloop.run(serve(settings, sock))
    except KaituanError as error:
        print(f"gateway: {error.title} {error.detail}".strip(), file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
