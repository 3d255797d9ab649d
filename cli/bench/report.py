"""Medians and ratios of a run: a JSON file for machines and two tables for people."""

import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from cli.bench.parts import Figure
from cli.cpu import cores

Name = tuple[str, int]  # part and connections (0: does not apply)

PARTS = {
    "echo": "bare ASGI echo",
    "plain": "Litestar + redis-py",
    "ours+settler": "ours, settler running",
    "ours": "ours, settler stopped",
    "sold_out": "ours, sold out",
    "store": "Valkey alone, 1 deep",
    "store_16": "Valkey alone, 16 deep",
    "copy": "COPY of order rows",
    "settle": "our settler",
}
# Whose CPU per answer is told.
SERVER = {
    "echo": "echo",
    "plain": "plain",
    "ours+settler": "api-1",
    "ours": "api-1",
    "sold_out": "api-1",
    "store": "valkey",
    "store_16": "valkey",
    "settle": "settle",
}
# ratio → (numerator, denominator, goal)
RATIOS: Mapping[str, tuple[str, str, str]] = {
    "ours ÷ echo": ("ours", "echo", "≥ 0.50"),
    "ours with settler ÷ echo": ("ours+settler", "echo", "≥ 0.50"),
    "ours ÷ plain": ("ours", "plain", "≥ 4.0"),
    "ours with settler ÷ plain": ("ours+settler", "plain", "≥ 4.0"),
    "sold out ÷ echo": ("sold_out", "echo", "≥ 0.80"),
    "settler ÷ COPY": ("settle", "copy", "≥ 0.50"),
}


class Median(msgspec.Struct, kw_only=True):
    """One part: medians over its runs, and each run's rate."""

    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    cpu_us: float  # CPU of the measured process per answer
    cores: dict[str, float]
    backlog: int
    words: dict[str, int]
    runs: list[float]


class Results(msgspec.Struct, kw_only=True):
    """As `bench/results.json` holds it; `parts` by part and connections ("-" when none)."""

    at: str
    command: str
    machine: dict[str, Any]
    load_average: dict[str, list[float]]  # of the last minute, before and after
    parts: dict[str, dict[str, Median]]
    ratios: dict[str, dict[str, float]]


def median(figures: Sequence[Figure], server: str = "") -> Median:
    """The median of each figure by itself."""

    def of(name: str) -> float:
        values: list[float] = [getattr(one, name) for one in figures]
        return round(statistics.median(values), 3)

    words: dict[str, int] = {}
    for one in figures:
        for word, count in one.words.items():
            words[word] = words.get(word, 0) + count
    names = {name for one in figures for name in one.cores}
    return Median(
        per_s=round(of("per_s"), 1),
        p50_ms=of("p50_ms"),
        p95_ms=of("p95_ms"),
        p99_ms=of("p99_ms"),
        cpu_us=round(
            statistics.median(
                one.cores.get(server, 0.0) / one.per_s * 1e6 if one.per_s else 0.0
                for one in figures
            ),
            1,
        ),
        cores={
            name: round(statistics.median(one.cores.get(name, 0.0) for one in figures), 3)
            for name in sorted(names)
        },
        backlog=round(of("backlog")),
        words=words,
        runs=[round(one.per_s, 1) for one in figures],
    )


def summarise(
    figures: Mapping[Name, Sequence[Figure]], command: str, load_average: dict[str, list[float]]
) -> Results:
    """All medians, and the ratios of what was measured with as many connections."""
    parts: dict[str, dict[str, Median]] = {}
    for (part, connections), runs in figures.items():
        parts.setdefault(part, {})[str(connections or "-")] = median(runs, SERVER.get(part, ""))
    ratios = {
        words: {
            connections: round(one.per_s / parts[below][connections].per_s, 3)
            for connections, one in parts.get(above, {}).items()
            if parts.get(below, {}).get(connections)
        }
        for words, (above, below, _) in RATIOS.items()
    }
    return Results(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        machine={
            "cores": cores(),
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        load_average=load_average,
        parts=parts,
        ratios=ratios,
    )


def show(console: Console, results: Results) -> None:
    """Three tables: what was measured, who used the cores, and the ratios beside their goals."""
    console.print(_rates(results))
    console.print(_cores(results))
    console.print(_ratios(results))
    before, after = results.load_average["before"][0], results.load_average["after"][0]
    console.print(
        f"{results.machine['cores']} cores shared by generator and servers; load average "
        f"{before:.1f} before and {after:.1f} after. Only ratios of one run mean anything.",
        highlight=False,
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("what", "cores") else "right")
    return table


def _each(results: Results) -> Iterator[tuple[str, str, Median]]:
    for part, words in PARTS.items():
        for connections, one in results.parts.get(part, {}).items():
            yield words, connections, one


def _rates(results: Results) -> Table:
    table = _table(
        "Medians, and the server's CPU per answer",
        *("what", "conn.", "per s", "p50 ms", "p95", "p99", "µs CPU"),
    )
    for words, connections, one in _each(results):
        times = (one.p50_ms, one.p95_ms, one.p99_ms)
        shown = (f"{ms:,.1f}" if ms else "" for ms in times)
        cpu = f"{one.cpu_us:,.0f}" if one.cpu_us else ""
        table.add_row(words, connections, f"{one.per_s:,.0f}", *shown, cpu)
    return table


def _cores(results: Results) -> Table:
    table = _table("Each process's share of the cores (1.0: one core)", "what", "conn.", "cores")
    for words, connections, one in _each(results):
        used = sorted(one.cores.items(), key=lambda each: -each[1])
        said = ", ".join(f"{name} {share:.2f}" for name, share in used if share >= 0.03)
        if said:
            table.add_row(words, connections, said)
    return table


def _ratios(results: Results) -> Table:
    table = _table("Ratios in this run", "what", "conn.", "is", "goal")
    for words, by_connections in results.ratios.items():
        for connections, value in by_connections.items():
            table.add_row(words, connections, f"{value:.2f}", RATIOS[words][2])
    return table
