"""`python -m cli.bench.room_drain`: many WebSocket viewers in one process who only count.

Its plan is a line on stdin; each line on stdout says how many are in and what they have heard. It
ends with stdin. Nothing is checked here: that is the load test's to do (loadtests/viewer.py).
"""

import asyncio
import re
import sys
from collections.abc import Callable

import msgspec
import uvloop

from loadtests.ws_line import WsLine

TELL_EVERY_S = 0.01
_SPAN = re.compile(rb'"from":(\d+),"to":(\d+)')


class DrainPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How many connect where. `join` is sent first; `spans`: a frame says which events it holds,
    else each text frame is one event."""

    port: int
    path: str
    viewers: int
    join: str
    spans: bool
    joins_per_s: float = 1_500.0


class Drained(msgspec.Struct, kw_only=True):
    """What has been heard so far; `lost` connections are a failed measurement."""

    joined: int = 0
    lost: int = 0
    frames: int = 0
    events: int = 0
    octets: int = 0


async def drain(plan: DrainPlan, drained: Drained) -> None:
    """Connect all, then count until cancelled."""
    loop = asyncio.get_running_loop()
    hear = _spans(drained) if plan.spans else _frames(drained)
    began = loop.time()
    for number in range(plan.viewers):
        _, line = await loop.create_connection(
            lambda: WsLine(f"127.0.0.1:{plan.port}", plan.path, "", hear), "127.0.0.1", plan.port
        )
        await line.opened
        line.closed.add_done_callback(lambda _: _lose(drained))
        if plan.join:
            line.send(plan.join.encode())
        else:
            drained.joined += 1
        ahead_s = began + number / plan.joins_per_s - loop.time()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
    await asyncio.Event().wait()


def _lose(drained: Drained) -> None:
    drained.lost += 1


def _frames(drained: Drained) -> Callable[[bytes], None]:
    def hear(text: bytes) -> None:
        drained.frames += 1
        drained.events += 1
        drained.octets += len(text)

    return hear


def _spans(drained: Drained) -> Callable[[bytes], None]:
    def hear(text: bytes) -> None:
        if text.startswith(b'{"type":"events"'):
            found = _SPAN.search(text, 0, 300)
            assert found is not None
            drained.frames += 1
            drained.events += int(found[2]) - int(found[1]) + 1
            drained.octets += len(text)
        elif text.startswith(b'{"type":"joined"'):
            drained.joined += 1

    return hear


async def _main() -> None:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    plan = msgspec.json.decode(await stdin.readline(), type=DrainPlan)
    drained = Drained()
    draining = asyncio.create_task(drain(plan, drained))
    ended = asyncio.create_task(stdin.read())
    said = b""
    while not ended.done() and not draining.done():
        line = msgspec.json.encode(drained)
        if line != said:
            said = line
            sys.stdout.buffer.write(line + b"\n")
            sys.stdout.buffer.flush()
        await asyncio.sleep(TELL_EVERY_S)
    if draining.done():
        draining.result()
    draining.cancel()


if __name__ == "__main__":
    uvloop.run(_main())
