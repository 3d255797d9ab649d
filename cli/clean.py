"""`kaituan clean`: remove the serving data of this checkout; refused while it is served from."""

from pathlib import Path

import click

from cli.place import remove_serving_place
from cli.words import in_words
from engine.settings import load


@click.command("clean")
def clean() -> None:
    """Remove the serving data (orders included) of this checkout."""
    with in_words():
        data_dir = Path(load().data_dir)
        if not data_dir.exists() and not data_dir.is_symlink():
            click.echo("There is no serving data here.")
            return
        try:
            remove_serving_place(data_dir)
        except OSError as error:
            raise click.ClickException(
                f"{data_dir} cannot be removed: {error.strerror}. "
                "Clean as the user who started Kaituan."
            ) from None
    click.echo(f"Removed the serving data of {data_dir}.")
