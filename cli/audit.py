"""`kaituan audit`: every law against the stores, and, where given, clients' history and the bill.

Exit 0 when no law is broken, 1 when one is, 3 when a store could not be asked. It only reads;
the one thing it may cause elsewhere is that the sandbox provider closes its billing period, so
that its bill is complete.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec
from sqlalchemy.exc import SQLAlchemyError

from campaigns.payment.provider import BillRow, ProviderError
from campaigns.payment.sandbox_client import SandboxClient
from cli.imports import reachable_settings
from engine.audit.report import Report
from engine.audit.rest import await_rest
from engine.audit.run import STALE_MS, run_audit
from engine.audit.sources import ProviderBill
from engine.db import Database
from engine.errors import KaituanError, RefusedStart, Unavailable
from engine.settings import Settings
from engine.wire import Wire


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option(
    "--history",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Directory of client histories (docs/history.md), for I6, I7, I9 and T8.",
)
@click.option("--bill", is_flag=True, help="Ask the payment provider for its bill, too.")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    help="Wait up to so many seconds until nothing is under way, then check as at rest.",
)
@click.option("--stale-ms", default=STALE_MS, show_default=True, help="Lag of a running system.")
def audit_command(
    as_json: bool, history: Path | None, bill: bool, wait_s: float | None, stale_ms: int
) -> None:
    """Check every law; beside a running sale only what is older than the lag, unless --wait."""
    try:
        settings = reachable_settings()
        report = asyncio.run(
            _audit(settings, history=history, bill=bill, wait_s=wait_s, stale_ms=stale_ms)
        )
    except (KaituanError, SQLAlchemyError, OSError) as error:
        words = f"{error.title} {error.detail}" if isinstance(error, KaituanError) else str(error)
        click.echo(f"The audit could not be run, so nothing is known: {words.strip()}", err=True)
        sys.exit(3)
    if as_json:
        click.echo(msgspec.json.encode(report.to_json()).decode())
    else:
        for line in report.lines():
            click.echo(line)
        broken = ", ".join(report.broken)
        click.echo(f"Broken: {broken}." if broken else "No law is broken.")
    sys.exit(0 if report.ok else 1)


async def audit_at_rest(settings: Settings, *, history: Path | None, within_s: float) -> Report:
    """Wait until nothing is under way, at most `within_s`, then check all laws as at rest.

    With the provider's bill when there is a provider. What is still under way then breaks S1.
    Unavailable, or what the database raises, when a store cannot be asked.
    """
    return await _audit(
        settings,
        history=history,
        bill=bool(settings.provider_url),
        wait_s=within_s,
        stale_ms=STALE_MS,
    )


async def _audit(
    settings: Settings,
    *,
    history: Path | None,
    bill: bool,
    wait_s: float | None,
    stale_ms: int,
) -> Report:
    async with _stores(settings) as (db, wire):
        if wait_s is not None:
            await await_rest(db, wire, wait_s)
        return await run_audit(
            db,
            wire,
            history=history,
            bill=await sandbox_bill(settings, complete=wait_s is not None) if bill else None,
            at_rest=wait_s is not None,
            stale_ms=stale_ms,
        )


@asynccontextmanager
async def _stores(settings: Settings) -> AsyncIterator[tuple[Database, Wire]]:
    if not settings.redis_url:
        raise RefusedStart(
            "no_hot_store", "There is no hot store to talk to.", "Set KAITUAN_REDIS_URL."
        )
    db, wire = Database(settings.database_url, pool_max=2), Wire(settings.redis_url, ())
    try:
        await wire.start()
        yield db, wire
    finally:
        await wire.close()
        await db.close()


async def sandbox_bill(settings: Settings, *, complete: bool) -> ProviderBill:
    """All closed periods of the sandbox's bill; `complete` closes the open one first."""
    if not settings.provider_url:
        raise RefusedStart("no_provider", "There is no payment provider to ask for its bill.")
    rows: list[BillRow] = []
    try:
        async with SandboxClient.from_settings(settings) as client:
            period = await client.open_period()
            if complete:
                period = await client.close_period(period)
            for number in range(1, int(period)):
                rows += (await client.bill(str(number))).rows
    except ProviderError as error:
        raise Unavailable(error.code, error.title, error.detail) from error
    return ProviderBill(rows, complete=complete)
