"""`kaituan reconcile PERIOD…`: record what a closed bill tells and no callback ever told.

A payment after its close whose callback was lost is known to nobody but the provider. Once it is
recorded from the bill it goes its ordinary way: late, and refunded or retaken. Running it again
changes nothing.
"""

import asyncio
from collections.abc import Sequence

import click

from campaigns.parts import PROVIDER_NAME
from campaigns.payment.provider import ProviderRefused
from campaigns.payment.sandbox_client import SandboxClient
from campaigns.payment.service import record_bill
from cli.imports import reachable_settings
from cli.words import in_words
from engine.db import Database
from engine.errors import Conflict, RefusedStart
from engine.settings import Settings


@click.command("reconcile")
@click.argument("periods", nargs=-1, required=True, metavar="PERIOD…")
def reconcile_command(periods: tuple[str, ...]) -> None:
    """Read the provider's bill of each closed PERIOD; record payments that nobody told of."""
    with in_words():
        found = asyncio.run(reconcile(reachable_settings(), periods))
    for period, payments in found.items():
        told = ": " + ", ".join(payments) if payments else ""
        click.echo(f"Bill {period}: {len(payments)} payments that nobody had told of{told}.")


async def reconcile(settings: Settings, periods: Sequence[str]) -> dict[str, list[str]]:
    """period → the payments recorded now; KaituanError says which bill there is not."""
    if not settings.provider_url:
        raise RefusedStart("no_provider", "There is no payment provider to ask for its bill.")
    db = Database(settings.database_url, pool_max=1)
    try:
        async with SandboxClient.from_settings(settings) as client:
            return {period: await _one(db, client, period) for period in dict.fromkeys(periods)}
    finally:
        await db.close()


async def _one(db: Database, client: SandboxClient, period: str) -> list[str]:
    try:
        return await record_bill(db, client, period, provider_name=PROVIDER_NAME)
    except ProviderRefused as error:
        raise Conflict(
            error.code, f"The provider has no bill {period} for us:", error.message
        ) from error
