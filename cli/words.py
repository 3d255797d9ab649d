"""What a command says when it cannot do its work: one sentence, never a traceback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from campaigns.problems import is_store_trouble
from engine.errors import KaituanError


class _FileToWrite(click.Path):
    """A file that will be written at the end: whether it can be is said at the beginning."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            self.fail(f"There is no folder {path.parent} to write {path.name} into.", param, ctx)
        if not os.access(path if path.exists() else path.parent, os.W_OK):
            self.fail(f"{path} cannot be written by you.", param, ctx)
        return path


FILE_TO_WRITE = _FileToWrite(dir_okay=False)


def plain(console: Console, text: str) -> None:
    """Print as it is: brackets are no markup, addresses are not wrapped."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def no_way(error: OSError) -> str:
    """What the machine refused (no space, no rights), for a start that has just been drained."""
    what = f" ({error.filename})" if error.filename else ""
    return f"This machine does not let Kaituan go on: {error.strerror or error}{what}."


@contextmanager
def in_words() -> Iterator[None]:
    """Errors of ours, and a database that does not answer, as one sentence and exit code 1.

    Anything else is a bug and stays what it is.
    """
    try:
        yield
    except KaituanError as error:
        raise click.ClickException(f"{error.title} {error.detail}".strip()) from None
    except (SQLAlchemyError, OSError) as error:
        if isinstance(error, BrokenPipeError) or not is_store_trouble(error):
            raise
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise click.ClickException(
            f"The database does not answer ({said}). Is Kaituan running? Nothing was changed."
        ) from None
