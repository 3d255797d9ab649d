"""`kaituan`: the command line, one command a file."""

import io
import sys

import click

from cli.audit import audit_command
from cli.bench.command import bench
from cli.clean import clean
from cli.dead_letters import dead_letters_group
from cli.demo.command import demo
from cli.imports import export_command, import_command
from cli.incidents import incidents_group
from cli.load import load as load_command
from cli.migrate import migrate, role_of
from cli.rebuild import rebuild_command
from cli.reconcile import reconcile_command
from cli.schemas import schemas
from cli.staff import staff_group
from cli.tokens import tokens
from cli.up import up
from cli.words import in_words
from engine.settings import load


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Kaituan 开团: live rooms, flash sales and group buys with atomic stock and exact splits."""
    # A terminal that cannot show 团 or ¥ (ASCII, GBK) gets a `?`, not a command that fails.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@main.command("migrate")
def migrate_command() -> None:
    """Bring KAITUAN_DATABASE_OWNER_URL to the newest schema; a second run changes nothing."""
    with in_words():
        settings = load()
        if not settings.database_owner_url:
            raise click.ClickException("Set KAITUAN_DATABASE_OWNER_URL to the owner's address.")
        migrate(settings.database_owner_url, role_of(settings.database_url))
    click.echo("The database is at the newest schema.")


COMMANDS = (
    up,
    demo,
    audit_command,
    rebuild_command,
    dead_letters_group,
    incidents_group,
    reconcile_command,
    staff_group,
    import_command,
    export_command,
    tokens,
    load_command,
    bench,
    schemas,
    clean,
)
for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    sys.exit(main())
