"""`python -m cli.bench.room_yardsticks KIND --port N`: what one would write with `websockets`.

`broadcast` calls the library's `broadcast()` for each event, `plain` awaits `send` for each
viewer. Each event comes in over a connection to `/pub` and goes out to all others as one frame.
"""

import argparse

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve


async def _serve(kind: str, port: int) -> None:
    viewers: set[ServerConnection] = set()

    async def handle(line: ServerConnection) -> None:
        assert line.request is not None
        if line.request.path == "/pub":
            async for text in line:
                if kind == "broadcast":
                    broadcast(viewers, text)
                else:
                    for viewer in viewers:
                        await viewer.send(text)
            return
        viewers.add(line)
        try:
            await line.wait_closed()
        finally:
            viewers.discard(line)

    async with serve(
        handle, "127.0.0.1", port, compression=None, ping_interval=None, backlog=2_048
    ) as server:
        await server.serve_forever()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["broadcast", "plain"])
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    uvloop.run(_serve(given.kind, given.port))


if __name__ == "__main__":
    main()
