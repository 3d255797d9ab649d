"""`kaituan import FILE…` and `kaituan export KIND`: a retailer's CSV in and out."""

import asyncio
import os
import sys
from pathlib import Path
from typing import cast

import click

from campaigns.people.exports import EXPORTS, export_csv
from campaigns.people.imports.service import ImportFile, ImportSummary, import_files
from campaigns.people.phones import PhoneKeys
from cli.supervisor_state import read_state
from cli.words import in_words
from engine.db import Database
from engine.errors import BadInput, RefusedStart
from engine.settings import Settings, load


@click.command("import")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def import_command(files: tuple[Path, ...]) -> None:
    """Import CSV files of stores, guides, members, SKUs and stock: all of them or nothing.

    The kind of each file is told by its first line. The order does not matter, and importing the
    same files again changes nothing.
    """
    with in_words():
        settings = reachable_settings()
        summary = _import_or_say(settings, read_files(files, settings))
    for kind, counts in summary.kinds.items():
        click.echo(
            f"{kind:8} {counts.created:>7,} created {counts.changed:>7,} changed "
            f"{counts.unchanged:>7,} unchanged"
        )


def _import_or_say(settings: Settings, files: list[ImportFile]) -> ImportSummary:
    """The import; what is wrong in the files goes line by line to the terminal."""
    try:
        return asyncio.run(_import(settings, files))
    except BadInput as error:
        sentences = cast(list[str], error.extra.get("problems", []))
        for sentence in sentences:
            click.echo(sentence, err=True)
        total = cast(int, error.extra.get("total", len(sentences)))
        if total > len(sentences):
            click.echo(f"… and {total - len(sentences)} more", err=True)
        raise


@click.command("export")
@click.argument("kind", type=click.Choice(EXPORTS))
def export_command(kind: str) -> None:
    """Write one kind as CSV to standard output, phones masked; `import` takes it back."""
    with in_words():
        asyncio.run(_export(reachable_settings(), kind))


def reachable_settings() -> Settings:
    """The environment's settings, or those of the Kaituan that serves from this folder."""
    settings = load()
    if settings.database_url:
        return settings
    state = read_state(Path(settings.data_dir))
    if state is not None:
        settings = load(state.environ)
    if not settings.database_url:
        raise RefusedStart(
            "no_database",
            "There is no database to talk to.",
            "Start Kaituan here first (`kaituan up`), or set KAITUAN_DATABASE_URL.",
        )
    return settings


def read_files(files: tuple[Path, ...], settings: Settings) -> list[ImportFile]:
    """The files' bytes, each cut off one byte above the limit so that the import can refuse it."""
    given = []
    for path in files:
        with path.open("rb") as file:
            given.append(ImportFile(path.name, file.read(settings.import_bytes_max + 1)))
    return given


async def _import(settings: Settings, files: list[ImportFile]) -> ImportSummary:
    db = Database(settings.database_url, pool_max=1)
    try:
        phones = PhoneKeys(settings.phone_secret)
        return await import_files(db, settings, phones, files, actor=f"cli:uid-{os.getuid()}")
    finally:
        await db.close()


async def _export(settings: Settings, kind: str) -> None:
    db = Database(settings.database_url, pool_max=1)
    try:
        async with db.begin() as session:
            async for piece in export_csv(session, kind):
                sys.stdout.buffer.write(piece.encode())
        sys.stdout.buffer.flush()
    finally:
        await db.close()
