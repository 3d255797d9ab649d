"""`python -m cli.sandbox --port N --data DIR [--fd N]`: the sandbox provider as a process.

The secret comes from the settings (`sandbox_secret`). Port 0 takes a free one; the line
`sandbox ready http://127.0.0.1:PORT` on stdout says that it listens. Loopback only: its
operator's and customer's addresses ask for no password.
"""

import logging
import socket
import sys
from pathlib import Path

import click
import uvicorn

from cli.sandbox.app import create_app
from cli.sandbox.limits import Limits
from engine.settings import load


def _listen(port: int, fd: int | None) -> socket.socket:
    if fd is not None:
        return socket.socket(fileno=fd)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(1024)
    return sock


class _Server(uvicorn.Server):
    """uvicorn, saying when it listens."""

    ready_line: str = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self.ready_line, flush=True)


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=0, help="0: any free port.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--fd", type=click.IntRange(3), default=None, help="An already listening socket.")
def main(port: int, data: Path, fd: int | None) -> None:
    """Run the sandbox payment provider until it is told to stop."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        sock = _listen(port, fd)
    except OSError as error:
        where = f"port {port}" if fd is None else f"the socket {fd} it was given"
        sys.exit(f"The sandbox cannot listen on {where}: {error.strerror}. Try another port.")
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    limits = Limits()
    try:
        app = create_app(data, load().sandbox_secret, url, limits)
    except BlockingIOError:
        sys.exit(f"Another sandbox provider already uses {data}. Stop it, or name another folder.")
    except ValueError as error:
        sys.exit(f"{error} Set KAITUAN_SANDBOX_SECRET.")
    config = uvicorn.Config(
        app,
        # Its own error lines would also name the answers that we cut on purpose.
        log_level="critical",
        access_log=False,
        lifespan="on",
        ws="none",
        limit_concurrency=limits.connections_max,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    server.ready_line = f"sandbox ready {url}"
    server.run(sockets=[sock])


if __name__ == "__main__":
    main()
