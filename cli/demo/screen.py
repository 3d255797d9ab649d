"""The terminal's picture of the evening: progress, claims/s, stock, orders, paid, ledger."""

from collections import deque
from types import TracebackType
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.demo.audience import Seen
from cli.demo.plan import Tally
from engine.money import yuan

_BARS = "▁▂▃▄▅▆▇█"


class Scene(msgspec.Struct):
    """What the picture shows."""

    headline: str = ""
    customers: int = 0
    tally: Tally = msgspec.field(default_factory=Tally)
    rates: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=40))
    stock: dict[str, dict[str, Any]] = {}
    balances: dict[str, int] = {}
    group_offers: tuple[str, ...] = ()  # those that are bought in teams
    room: Seen | None = None
    news: deque[str] = msgspec.field(default_factory=lambda: deque(maxlen=6))


class Screen:
    """Draws a scene in place on a terminal; on a pipe it prints each news line once."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.scene = Scene()
        self.kept: Panel | None = None  # the picture from the middle of an evening
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> "Screen":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def tell(self, news: str) -> None:
        """A new line of the story."""
        self.scene.news.append(news)
        if self.console.is_terminal:
            self.draw()
        else:
            self.console.print(f"  {news}", highlight=False)

    def keep(self) -> None:
        """Keep the picture as it is now, for `--svg`; the first one kept stays."""
        self.kept = self.kept or picture(self.scene)

    def draw(self) -> None:
        """Show the scene as it is now."""
        if self.console.is_terminal:
            self._live.update(picture(self.scene))


def spark(values: deque[float]) -> str:
    """A row of bars, the highest one full."""
    top = max(values, default=0.0) or 1.0
    return "".join(_BARS[min(7, int(value / top * 7.99))] for value in values)


def _bar(done: int, total: int, width: int = 34) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=min(done, total), width=width)


def picture(scene: Scene) -> Panel:
    """The scene as one panel."""
    tally, grid = scene.tally, Table.grid(padding=(0, 2))
    grid.add_column(justify="right", style="bold")
    grid.add_column()
    grid.add_column()
    if tally.finished or tally.held:
        grid.add_row(
            "customers",
            _bar(tally.finished, scene.customers),
            f"{tally.finished} of {scene.customers} done",
        )
    else:
        grid.add_row(
            "signing in",
            _bar(tally.signed_in, scene.customers),
            f"{tally.signed_in} of {scene.customers}",
        )
    rate = scene.rates[-1] if scene.rates else 0.0
    grid.add_row("requests/s", Text(spark(scene.rates), style="cyan"), f"{rate:,.0f}")
    for name, stock in scene.stock.items():
        gone = stock["total"] - stock["available"]
        words = (
            f"{stock['available']} left · {stock['held']} held · {stock['sold']} sold"
            f" of {stock['total']}"
        )
        grid.add_row(name, _bar(gone, stock["total"]), words)
    grid.add_row(
        "orders",
        Text(f"{tally.held} held, {tally.paid} paid, {tally.lapsed} lapsed, {tally.late} late"),
        f"{tally.refunds} refunds asked · {tally.sold_out:,} × sold out",
    )
    if scene.group_offers:
        grid.add_row(
            "teams",
            Text(f"{tally.opened} opened, {tally.joined} joined, {tally.crowded} in the crowd"),
            f"{tally.full} × full · {tally.late_seats} late and seated",
        )
    if scene.room is not None:
        room = scene.room
        grid.add_row(
            "room",
            Text(f"{room.viewers} viewers · {room.comments:,} comments · {room.likes:,} likes"),
            f"{room.events:,} events · {room.cuts} cut, {room.resumes} resumed",
        )
    if scene.balances:
        words = " · ".join(
            f"{name} {yuan(scene.balances[name])}"
            for name in ("escrow", "hq", "stores", "promoters")
            if name in scene.balances
        )
        grid.add_row("ledger", Text(words), "")
    story = Text("\n".join(f"· {line}" for line in scene.news), style="dim")
    return Panel(
        Group(grid, Text(), story),
        title=f"[bold]Kaituan 开团[/] · {scene.headline}",
        border_style="rgb(228,80,46)",
        padding=(1, 2),
    )
