"""`kaituan bench`: rounds of all parts, interleaved, medians and ratios to bench/results.json.

Two groups: claims (and their settlement), and rooms. A run of one group keeps the other's figures
in the file, with the date and machine they were made on.
"""

import asyncio
import os
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.markup import escape

from cli.bench import parts, rooms
from cli.bench.arena import Arena, open_arena
from cli.bench.copying import copy_ceiling
from cli.bench.parts import Figure, Numbers
from cli.bench.report import Name, Results, show, summarise
from cli.demo.staff import Refused
from engine.errors import KaituanError
from loadtests.lean import Lost

RESULTS = Path("bench/results.json")
CONNECTIONS = (64, 256)
QUICK_VIEWERS = 100
Work = Callable[[], Awaitable[Figure]]


@click.command("bench")
@click.option("--quick", is_flag=True, help="One round of a second per part, to see that it runs.")
@click.option("--repeats", type=click.IntRange(1, 50), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.5, 60), default=2.5, show_default=True)
@click.option("--generators", type=click.IntRange(1, 8), default=1, show_default=True)
@click.option("--group", type=click.Choice(["all", "claims", "rooms"]), default="all")
@click.option(
    "--viewers",
    type=click.IntRange(10, 19_000),
    multiple=True,
    default=(1_000, 5_000),
    show_default=True,
    help="Of the rooms; may be given several times.",
)
@click.option(
    "--results",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=RESULTS,
    show_default=True,
)
def bench(
    quick: bool,
    repeats: int,
    seconds: float,
    generators: int,
    group: str,
    viewers: tuple[int, ...],
    file: Path,
) -> None:
    """Measure the yardsticks and ours side by side on this machine."""
    console = Console()
    rounds, length = (1, 1.0) if quick else (repeats, seconds)
    told: dict[str, Any] = msgspec.json.decode(file.read_bytes()) if file.exists() else {}
    try:
        if group != "rooms":
            results = asyncio.run(_bench(console, rounds, length, generators))
            if results is None:
                sys.exit(1)
            told = {**msgspec.to_builtins(results), "rooms": told.get("rooms")}
        if group != "claims":
            counts = (QUICK_VIEWERS,) if quick else viewers
            told["rooms"] = msgspec.to_builtins(_rooms(console, counts, rounds, length))
    except (Refused, Lost) as error:
        console.print(f"[red]The benchmark could not be run:[/] {escape(str(error))}")
        sys.exit(1)
    except KaituanError as error:
        console.print(f"{error.title} {error.detail}".strip(), markup=False)
        sys.exit(3)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
    console.print(f"Written to {file}", highlight=False)


def _rooms(
    console: Console, viewers: tuple[int, ...], rounds: int, seconds: float
) -> rooms.RoomResults:
    def say(text: str) -> None:
        console.print(text, highlight=False)

    before = list(os.getloadavg())
    figures = asyncio.run(rooms.bench_rooms(say, viewers, rounds, seconds))
    asked = " ".join(f"--viewers {count}" for count in viewers)
    command = f"kaituan bench --group rooms {asked} --repeats {rounds} --seconds {seconds:g}"
    load = {"before": before, "after": list(os.getloadavg())}
    results = rooms.summarise(figures, command, load)
    rooms.show(console, results)
    return results


async def _bench(console: Console, rounds: int, seconds: float, generators: int) -> Results | None:
    """None when a signal ended it before there was a result."""

    def say(text: str) -> None:
        console.print(text, highlight=False)

    figures: defaultdict[Name, list[Figure]] = defaultdict(list)
    results: Results | None = None
    before = list(os.getloadavg())
    async with open_arena(say) as arena:
        measure = _Rounds(arena, seconds, generators)
        for number in range(rounds):
            for name, figure in await arena.fresh.unless_stopped(measure.one(number)):
                figures[name].append(figure)
            rates = ", ".join(
                f"{part}@{connections or '-'} {runs[-1].per_s:,.0f}"
                for (part, connections), runs in figures.items()
            )
            say(f"round {number + 1} of {rounds}, per s: {rates}")
        command = f"kaituan bench --repeats {rounds} --seconds {seconds:g}"
        if generators > 1:
            command += f" --generators {generators}"
        after = list(os.getloadavg())
        results = summarise(figures, command, {"before": before, "after": after})
        show(console, results)
    return results


class _Rounds:
    """Each round measures every part once; another part begins each round."""

    def __init__(self, arena: Arena, seconds: float, generators: int) -> None:
        self._arena, self._seconds, self._generators = arena, seconds, generators
        self._numbers = Numbers()

    async def one(self, number: int) -> list[tuple[Name, Figure]]:
        """All parts, in another order than the round before."""
        steps = [
            *(step for connections in CONNECTIONS for step in self._http(connections)),
            *((("store", connections), self._store(connections, 1)) for connections in CONNECTIONS),
            (("store_16", CONNECTIONS[0]), self._store(CONNECTIONS[0], 16)),
            (("copy", 0), self._copy),
        ]
        first = number % len(steps)
        made: list[tuple[Name, Figure]] = []
        for name, work in steps[first:] + steps[:first]:
            made.append((name, await work()))
            settled = await parts.settle_backlog(self._arena)
            if name[0] == "ours":
                made.append((("settle", 0), settled))
            await self._arena.forget_lone_claims()
        return made

    def _http(self, connections: int) -> list[tuple[Name, Work]]:
        def against(target: str, *, gone: bool = False) -> Work:
            async def work() -> Figure:
                return await parts.claims_over_http(
                    self._arena,
                    target,
                    self._numbers,
                    connections=connections,
                    seconds=self._seconds,
                    generators=self._generators,
                    gone=gone,
                )

            return work

        async def with_settler() -> Figure:
            self._arena.resume("settle")
            try:
                return await against("api-1")()
            finally:
                self._arena.pause("settle")

        return [
            (("echo", connections), against("echo")),
            (("plain", connections), against("plain")),
            (("ours+settler", connections), with_settler),
            (("ours", connections), against("api-1")),
            (("sold_out", connections), against("api-1", gone=True)),
        ]

    def _store(self, connections: int, depth: int) -> Work:
        async def work() -> Figure:
            return await parts.claims_in_the_store(
                self._arena,
                self._numbers,
                connections=connections,
                depth=depth,
                seconds=self._seconds,
                generators=self._generators,
            )

        return work

    async def _copy(self) -> Figure:
        batch = self._arena.settings.settle_batch_max
        batches = max(4, round(self._seconds * 20))
        owner_url = self._arena.settings.database_owner_url
        return Figure(per_s=await copy_ceiling(owner_url, batch=batch, batches=batches))
