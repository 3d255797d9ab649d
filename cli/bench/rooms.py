"""The rooms' group of `kaituan bench`: events delivered per second of one server core.

A closed loop: the next frame is published when every viewer has the one before, so nobody is ever
slow, and deliveries are divided by the server's own processor time. What else the machine does
then hardly matters; the clients, which need as much as the server, do not count.
"""

import asyncio
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
from rich.console import Console
from rich.table import Table

from cli.bench.room_drain import Drained, DrainPlan
from cli.bench.room_targets import Target, broadcast, has_nchan, nchan, ours, plain
from cli.cpu import cores, cpu_seconds
from cli.place import Place, temporary_place
from engine.errors import RefusedStart

TICK_EVENTS = 50  # events of one tick in the batched part
WARM_FRAMES = 5
HEAR_WITHIN_S = 30.0
JOIN_WITHIN_S = 90.0
Say = Callable[[str], None]
OpenTarget = Callable[[Place], AbstractAsyncContextManager[Target]]


@dataclass(frozen=True)
class Part:
    """What is measured: a server, and how many events share a frame."""

    words: str
    open: OpenTarget
    events: int


PARTS = {
    "ours_ticks": Part(f"ours, {TICK_EVENTS} events a tick", ours, TICK_EVENTS),
    "ours": Part("ours, one event a frame", ours, 1),
    "broadcast": Part("websockets.broadcast()", broadcast, 1),
    "plain": Part("websockets, send() to each", plain, 1),
    "nchan": Part("nchan, one event a frame", nchan, 1),
}
RATIOS = {
    "ours in ticks ÷ nchan": ("ours_ticks", "nchan"),
    "ours ÷ nchan": ("ours", "nchan"),
    "ours in ticks ÷ broadcast()": ("ours_ticks", "broadcast"),
    "ours ÷ broadcast()": ("ours", "broadcast"),
    "ours ÷ send() to each": ("ours", "plain"),
}


class RoomFigure(msgspec.Struct, kw_only=True):
    """One part with so many viewers. `per_core`: deliveries per second of server processor time."""

    per_core: float
    per_s: float
    frames: int
    events: int
    octets_per_event: float
    runs: list[float] = []


class RoomResults(msgspec.Struct, kw_only=True):
    """As `bench/results.json` holds it below `rooms`; by part and viewers."""

    at: str
    command: str
    machine: dict[str, str | int]
    load_average: dict[str, list[float]]
    parts: dict[str, dict[str, RoomFigure]]
    ratios: dict[str, dict[str, float]]


class Drain:
    """The counting viewers of one measurement."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._changed = asyncio.Event()
        self.now = Drained()
        self._hearing = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.now = msgspec.json.decode(line, type=Drained)
            self._changed.set()
        self._changed.set()

    async def until(self, check: Callable[[Drained], bool], within_s: float) -> None:
        """Wait for it; RefusedStart when a viewer is lost or it takes too long."""
        until = time.monotonic() + within_s
        while not check(self.now):
            ended = self._hearing.done()
            if self.now.lost or ended or time.monotonic() > until:
                raise RefusedStart("bench_failed", f"The viewers do not hear it all: {self.now}.")
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), 1)
            except TimeoutError:
                continue

    async def close(self) -> None:
        """They go."""
        self._hearing.cancel()
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def _drain(target: Target, viewers: int) -> Drain:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.bench.room_drain"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    plan = DrainPlan(
        port=target.port, path=target.path, viewers=viewers, join=target.join, spans=target.spans
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(plan) + b"\n")
    return Drain(process)


async def measure(part: Part, viewers: int, seconds: float) -> RoomFigure:
    """One run of one part."""
    with temporary_place() as place:
        async with part.open(place) as target:
            drain = await _drain(target, viewers)
            try:
                await drain.until(lambda now: now.joined == viewers, JOIN_WITHIN_S)
                return await _frames(part, target, drain, viewers, seconds)
            finally:
                await drain.close()


async def _frames(
    part: Part, target: Target, drain: Drain, viewers: int, seconds: float
) -> RoomFigure:
    sent = 0

    async def one() -> None:
        nonlocal sent
        await target.publish(part.events)
        sent += part.events
        await drain.until(lambda now: now.events >= sent * viewers, HEAR_WITHIN_S)

    for _ in range(WARM_FRAMES):
        await one()
    before, cpu, began = drain.now, cpu_seconds(target.pid), time.perf_counter()
    while time.perf_counter() - began < seconds:
        await one()
    spent, used, after = time.perf_counter() - began, cpu_seconds(target.pid) - cpu, drain.now
    events = after.events - before.events
    return RoomFigure(
        per_core=events / max(used, 0.01),
        per_s=events / spent,
        frames=after.frames - before.frames,
        events=events,
        octets_per_event=(after.octets - before.octets) / max(1, events),
    )


async def bench_rooms(
    say: Say, viewers: tuple[int, ...], rounds: int, seconds: float
) -> dict[tuple[str, int], list[RoomFigure]]:
    """All parts in turns; what is not installed is left out and said."""
    names = [name for name in PARTS if name != "nchan" or has_nchan()]
    if "nchan" not in names:
        say("nchan is not installed here (Debian: libnginx-mod-nchan); it is left out.")
    made: dict[tuple[str, int], list[RoomFigure]] = {}
    for number in range(rounds):
        for count in viewers:
            for name in names[number % len(names) :] + names[: number % len(names)]:
                figure = await measure(PARTS[name], count, seconds)
                made.setdefault((name, count), []).append(figure)
                say(f"{PARTS[name].words}, {count:,} viewers: {figure.per_core:,.0f} per core")
    return made


def summarise(
    figures: dict[tuple[str, int], list[RoomFigure]], command: str, load: dict[str, list[float]]
) -> RoomResults:
    """Medians, and the ratios of what was measured with as many viewers."""
    parts: dict[str, dict[str, RoomFigure]] = {}
    for (name, count), runs in figures.items():
        middle = sorted(runs, key=lambda one: one.per_core)[len(runs) // 2]
        median = statistics.median(one.per_core for one in runs)
        parts.setdefault(name, {})[str(count)] = msgspec.structs.replace(
            middle, per_core=round(median), runs=[round(one.per_core) for one in runs]
        )
    ratios = {
        words: {
            count: round(one.per_core / parts[below][count].per_core, 2)
            for count, one in parts.get(above, {}).items()
            if count in parts.get(below, {})
        }
        for words, (above, below) in RATIOS.items()
    }
    return RoomResults(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        machine={
            "cores": cores(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        load_average=load,
        parts=parts,
        ratios=ratios,
    )


def show(console: Console, results: RoomResults) -> None:
    """A table of deliveries per core, and one of ratios."""
    counts = sorted({int(count) for one in results.parts.values() for count in one})
    table = Table(title="Events delivered per second of one server core", title_justify="left")
    table.add_column("what")
    for count in counts:
        table.add_column(f"{count:,} viewers", justify="right")
    for name, part in PARTS.items():
        found = results.parts.get(name, {})
        cells = [f"{found[str(n)].per_core:,.0f}" if str(n) in found else "" for n in counts]
        if found:
            table.add_row(part.words, *cells)
    for words, by_count in results.ratios.items():
        if by_count:
            table.add_row(words, *(f"{by_count.get(str(n), 0):.2f}" for n in counts))
    console.print(table)
