"""What a command says when it cannot do its work: one sentence, never a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.exc import SQLAlchemyError

from campaigns.problems import is_store_trouble
from engine.errors import KaituanError


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
