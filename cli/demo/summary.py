"""What the evening came to: figures from the product's interface, and the laws."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.audit import audit_at_rest
from cli.demo.audience import Seen
from cli.demo.groups import GroupFigures, group_figures, group_lines
from cli.demo.headquarters import Headquarters
from cli.demo.plan import Tally
from engine.audit.report import Report
from engine.money import yuan
from engine.settings import Settings

REST_WITHIN_S = 90.0


class Summary(msgspec.Struct, kw_only=True):
    """As `--json` writes it."""

    ok: bool
    seed: int
    customers: dict[str, Any]
    room: Seen | None = None
    groups: GroupFigures | None = None
    balances_fen: dict[str, int]
    laws: Any
    seconds: float


async def summarise(
    settings: Settings,
    history: Path,
    tally: Tally,
    seed: int,
    hq: Headquarters,
    room: Seen | None = None,
    group_offers: Sequence[str] = (),
) -> Summary:
    """Wait until nothing is under way, then audit with the clients' history and the bill."""
    began = time.monotonic()
    report: Report = await audit_at_rest(settings, history=history, within_s=REST_WITHIN_S)
    customers = msgspec.to_builtins(tally)
    groups = await group_figures(settings, group_offers) if group_offers else None
    return Summary(
        ok=report.ok
        and bool(report.laws)
        and all(law.checked for law in report.laws)
        and not tally.errors
        and (groups is None or groups.ended)
        and (room is None or (not room.violations and room.states == 1)),
        seed=seed,
        customers=customers,
        room=room,
        groups=groups,
        balances_fen=await hq.balances(),
        laws=report.to_json()["laws"],
        seconds=round(time.monotonic() - began, 1),
    )


def show(console: Console, summary: Summary) -> None:
    """The summary as two tables."""
    seen = summary.customers
    table = Table(title="The evening", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for words, name in (
        ("customers signed in", "signed_in"),
        ("requests", "requests"),
        ("claims held", "held"),
        ("answers “sold out”", "sold_out"),
        ("repeated keys answered alike", "replayed"),
        ("repeated keys with another body refused", "key_reused"),
        ("paid", "paid"),
        ("holds that lapsed", "lapsed"),
        ("payments after their close", "late"),
        ("refunds asked", "refunds"),
        ("tries again after 503", "retried"),
    ):
        table.add_row(words, f"{seen[name]:,}")
    if summary.room is not None:
        for words, count in _room_lines(summary.room):
            table.add_row(words, f"{count:,}")
    if summary.groups is not None:
        for words, figure in group_lines(summary.groups):
            table.add_row(words, figure)
    for account, fen in sorted(summary.balances_fen.items()):
        table.add_row(f"ledger: {account}", yuan(fen))
    console.print(table)
    laws = Table(title="The laws", title_justify="left")
    laws.add_column("law", style="bold")
    laws.add_column("")
    laws.add_column("facts", justify="right")
    laws.add_column("says")
    for name, law in summary.laws.items():
        word = {True: "[green]holds[/]", False: "[red]BROKEN[/]", None: "[yellow]not checked[/]"}
        laws.add_row(name, word[law["ok"]], f"{law['checked']:,}", law["sentence"])
        for problem in law["problems"]:
            laws.add_row("", "", "", f"[red]{escape(problem)}[/]")
    console.print(laws)
    for odd in summary.room.odd if summary.room else ():
        console.print(f"[red]viewer:[/] {escape(odd)}")
    for error in seen["errors"]:
        console.print(f"[red]client:[/] {escape(error)}")
    console.print(
        f"[bold green]All laws hold.[/] Seed {summary.seed}."
        if summary.ok
        else f"[bold red]Something is broken.[/] Seed {summary.seed} plays the same habits again."
    )


def _room_lines(room: Seen) -> list[tuple[str, int]]:
    return [
        ("room: viewers", room.watched),
        ("room: events delivered", room.events),
        ("room: comments", room.comments),
        ("room: likes", room.likes),
        ("room: connections cut", room.cuts),
        ("room: went on where they had been", room.resumes),
        ("room: different last states (one is right)", room.states),
    ]
