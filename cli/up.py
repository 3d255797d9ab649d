"""`kaituan up`: start everything on this machine and serve until Ctrl-C."""

import asyncio
import sys
from pathlib import Path

import click

from cli.place import serving_place
from cli.services import start_all
from cli.supervisor import AlreadyRunning, Supervisor
from cli.words import no_way
from engine.errors import KaituanError
from engine.settings import Settings, load, to_environ


async def serve(settings: Settings) -> None:
    """Start, say where, and go on until a signal."""
    async with Supervisor(serving_place(Path(settings.data_dir)), say=click.echo) as supervisor:
        running = await start_all(supervisor, settings, click.echo)
        click.echo(f"Kaituan serves on {running.public_url} (Ctrl-C stops it).")
        if running.mode == "production":
            click.echo("HQ accounts: `kaituan staff add`. To try it out: KAITUAN_MODE=development.")
        await supervisor.serve(running.public_url, to_environ(running))


@click.command("up")
def up() -> None:
    """Start stores, API, settler, worker and the sandbox provider here; serve until Ctrl-C."""
    try:
        asyncio.run(serve(load()))
    except AlreadyRunning as running:
        click.echo(running.title)
    except KaituanError as error:
        click.echo(f"{error.title} {error.detail}".strip(), err=True)
        sys.exit(3)
    except OSError as error:
        click.echo(no_way(error), err=True)
        sys.exit(3)
