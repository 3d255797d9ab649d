"""`kaituan incidents list|resolve`: what must not pass unseen, and a person's word on it.

An open guard incident keeps law I3 red. Resolving one says that a person has looked into it; it
changes nothing else, and is one transaction with its row in the audit log. A gap is resolved by
`kaituan rebuild SHARD --past-gap`, not here.
"""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from cli.transaction import in_transaction
from engine.errors import Conflict, Missing
from engine.ids import now_ms
from engine.models import Incident


@click.group("incidents")
def incidents_group() -> None:
    """Open incidents: look at them, and say that one was looked into."""


@incidents_group.command("list")
def list_command() -> None:
    """All open incidents, oldest first."""
    incidents = in_transaction(open_incidents)
    if not incidents:
        click.echo("There are no open incidents.")
        return
    table = Table("cause", "kind", "since (UTC)", "detail")
    for one in incidents:
        since = datetime.fromtimestamp(one.created_at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        detail = ", ".join(f"{name} {value}" for name, value in one.detail.items())
        table.add_row(one.cause, one.kind, since, detail)
    Console(soft_wrap=True).print(table)


@incidents_group.command("resolve")
@click.argument("cause")
@click.option("--note", required=True, help="What was found and done; kept in the audit log.")
def resolve_command(cause: str, note: str) -> None:
    """Say that the incident of this CAUSE was looked into."""
    if not note.strip():
        raise click.BadParameter("Say what was found in a few words.", param_hint="--note")

    async def decide(session: AsyncSession) -> None:
        await resolve_incident(session, cause, note, actor=f"cli:uid-{os.getuid()}")

    in_transaction(decide)
    click.echo(f"Resolved: {cause}.")


async def open_incidents(session: AsyncSession) -> Sequence[Incident]:
    """Those that nobody has resolved."""
    query = select(Incident).where(Incident.resolved_at_ms.is_(None))
    return (await session.scalars(query.order_by(Incident.created_at_ms))).all()


async def resolve_incident(session: AsyncSession, cause: str, note: str, *, actor: str) -> None:
    """Missing when there is no open one of that cause, Conflict when it is a gap."""
    incident = await session.get(Incident, cause, with_for_update=True)
    if incident is None or incident.resolved_at_ms is not None:
        raise Missing("no_incident", f"There is no open incident {cause}.")
    if incident.kind == "gap":
        raise Conflict(
            "sealed_shard",
            f"Shard {incident.shard} is sealed.",
            f"Resolve it with `kaituan rebuild {incident.shard} --past-gap`.",
        )
    incident.resolved_at_ms = now_ms()
    record_change(session, actor, "incident.resolve", cause, note=note)
