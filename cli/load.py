"""`kaituan load`: a flash sale at peak against a fresh Kaituan, with Locust, and a verdict.

`--scenario room_crowd` fills a live room that shows the sale, with viewers who check every offset;
`team_rush` sends everybody after the last seats of few teams, `crowd_threshold` up a ladder.
Locust runs as a process of its own (it patches the standard library). Exit 0 only when no
answer was unexpected and the audit, run when everything is at rest, finds every law kept.
"""

import asyncio
import secrets
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cli.audit import audit_at_rest
from cli.cpu import CpuShares, cores
from cli.demo.staff import Refused
from cli.fresh import Fresh, fresh_kaituan
from cli.load_plan import WORDS, load_plan
from cli.load_room import Audience, with_room
from cli.supervisor_child import Service, tail
from engine.audit.report import Report
from engine.errors import KaituanError, RefusedStart
from engine.ids import now_ms
from engine.settings import inherited_environ
from loadtests.lean import Lost
from loadtests.plan import LoadPlan, LoadResult
from loadtests.room_result import room_lines
from loadtests.verdict import Verdict, judge, latency_lines, room_of, share_line

SCENARIOS = ("flash_sale", "room_crowd", "team_rush", "crowd_threshold")
OVERTIME_S = 90.0
REST_WITHIN_S = 120.0
DEFAULT_REPORT = Path("loadtests/report.html")


@click.command("load")
@click.option("--users", type=click.IntRange(5, 2_000), default=400, show_default=True)
@click.option("--seconds", type=click.IntRange(5, 900), default=60, show_default=True)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_REPORT,
    show_default=True,
    help="The HTML report; CSV files are written beside it.",
)
@click.option("--seed", type=int, default=None, help="The same seed plays the same habits.")
@click.option(
    "--scenario",
    type=click.Choice(SCENARIOS),
    default="flash_sale",
    show_default=True,
)
@click.option(
    "--viewers",
    type=click.IntRange(2, 20_000),
    default=500,
    show_default=True,
    help="Of room_crowd, in two client processes; some lose their network with --cuts.",
)
@click.option("--cuts", type=click.FloatRange(0, 100), default=0.0, help="Cut viewers per second.")
def load(
    users: int,
    seconds: int,
    report: Path,
    seed: int | None,
    scenario: str,
    viewers: int,
    cuts: float,
) -> None:
    """Play a sale at peak on fresh stores, with Locust, and audit what is left."""
    console = Console()
    try:
        if find_spec("locust") is None:
            raise RefusedStart(
                "no_locust",
                "Locust is not installed here.",
                "`make load` brings it; or install kaituan[dev].",
            )
        chosen = secrets.randbelow(10_000) if seed is None else seed
        audience = Audience(viewers, cuts) if scenario == "room_crowd" else None
        verdict = asyncio.run(
            _load(console, users, seconds, report.absolute(), chosen, scenario, audience)
        )
    except (Refused, Lost) as error:
        console.print(f"[red]The load could not be played to its end:[/] {escape(str(error))}")
        sys.exit(1)
    except KaituanError as error:
        console.print(f"{error.title} {error.detail}".strip(), markup=False)
        sys.exit(3)
    if verdict is None or not verdict.ok:
        sys.exit(1)


async def _load(
    console: Console,
    users: int,
    seconds: int,
    report: Path,
    seed: int,
    scenario: str,
    audience: Audience | None,
) -> Verdict | None:
    def say(text: str) -> None:
        console.print(text, highlight=False)

    verdict: Verdict | None = None
    say("Starting a fresh Kaituan in a temporary place …")
    async with fresh_kaituan(say) as fresh:
        plan = await load_plan(
            fresh, scenario, users, seconds, seed, audience.gather_ms if audience else 0
        )
        if audience is not None:
            plan = await with_room(fresh, plan, audience)
            say(f"{plan.viewers:,} viewers come into {plan.room_topic} first …")
        say(f"{users} customers, {seconds} s, {WORDS[scenario]} …")
        shares = await fresh.unless_stopped(_run_locust(fresh, plan, report))
        result = _read_result(plan)
        say("Waiting until every payment, close and refund is settled, then the audit …")
        laws = await fresh.unless_stopped(
            audit_at_rest(fresh.settings, history=Path(plan.history), within_s=REST_WITHIN_S)
        )
        verdict = judge(
            result, laws, scenario=scenario, cuts=audience is not None and audience.cuts_per_s > 0
        )
        _show(console, result, shares, laws, verdict, report, seed)
    return verdict


async def _run_locust(fresh: Fresh, plan: LoadPlan, report: Path) -> dict[str, float]:
    """Run it to its end; the product's CPU by process, in cores."""
    place = fresh.supervisor.place
    plan_file = place.own_folder("load") / "plan.json"
    plan_file.write_bytes(msgspec.json.encode(plan))
    report.parent.mkdir(parents=True, exist_ok=True)
    scenario = Path(__file__).parents[1] / "loadtests" / f"{plan.scenario}.py"
    service = Service(
        name="locust",
        argv=[
            *(sys.executable, "-m", "locust", "-f", str(scenario), "--headless"),
            *("--plan", str(plan_file), "--stop-timeout", "10", "--only-summary"),
            *("--html", str(report), "--csv", str(report.with_suffix(""))),
        ],
        env=inherited_environ(),
    )
    shares = CpuShares({name: child.pid for name, child in fresh.supervisor.children.items()})
    began, begins_ms = asyncio.get_running_loop().time(), now_ms()
    child = place.spawn(service)
    try:
        while child.exit_code() is None:
            spent = asyncio.get_running_loop().time() - began
            if spent > (plan.ends_at_ms - begins_ms) / 1000 + OVERTIME_S:
                raise RefusedStart("locust_hangs", "Locust does not end.", tail(child.log))
            await asyncio.sleep(0.1)
        spent = asyncio.get_running_loop().time() - began
    finally:
        child.kill()
        place.run.forget(service.name)
    # Locust's 1 means failures in its statistics; those are the verdict's to judge.
    if child.exit_code() not in (0, 1):
        raise RefusedStart("locust_failed", "Locust did not come to its end.", tail(child.log))
    return shares.since(spent)


def _read_result(plan: LoadPlan) -> LoadResult:
    return msgspec.json.decode(Path(plan.result).read_bytes(), type=LoadResult)


def _show(
    console: Console,
    result: LoadResult,
    shares: dict[str, float],
    laws: Report,
    verdict: Verdict,
    report: Path,
    seed: int,
) -> None:
    answers = Table(title="Answers to claims", title_justify="left")
    answers.add_column("answer", style="bold")
    answers.add_column("times", justify="right")
    for word, count in sorted(result.claim_answers.items(), key=lambda one: -one[1]):
        answers.add_row(word, f"{count:,}")
    latency = Table(title="Milliseconds from the intended start", title_justify="left")
    for column in ("what", "times", "p50", "p95", "p99", "max"):
        latency.add_column(column, justify="left" if column == "what" else "right")
    for row in latency_lines(result):
        latency.add_row(*row)
    console.print(answers)
    console.print(latency)
    rate = result.requests / result.seconds
    console.print(f"{result.requests:,} requests, {rate:,.0f}/s on average.", highlight=False)
    console.print(
        share_line(shares, result.generator_cpu_s / result.seconds, cores()), highlight=False
    )
    room = room_of(result)
    for line in room_lines(room, result.seconds) if room is not None else ():
        console.print(line, highlight=False)
    for line in laws.lines():
        console.print(line, highlight=False, markup=False)
    for complaint in verdict.complaints:
        console.print(f"[red]{escape(complaint)}[/]", highlight=False)
    console.print(f"Report: {report}", highlight=False)
    console.print(
        f"[bold green]Passed:[/] every answer was expected and every law holds. Seed {seed}."
        if verdict.ok
        else f"[bold red]Failed.[/] Seed {seed} plays the same habits again.",
        highlight=False,
    )
