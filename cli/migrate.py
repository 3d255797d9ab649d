"""Bring a database to the newest schema, as its owner; the app's role gets its grants."""

import asyncio
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from engine.db import Database
from engine.errors import RefusedStart

_FOLDER = Path(__file__).resolve().parent.parent / "migrations"


def _upgrade(connection: Connection, app_role: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = connection
    config.attributes["app_role"] = app_role
    command.upgrade(config, "head")


async def migrate_async(owner_url: str, app_role: str = "kaituan_app") -> None:
    """Run all missing migrations on `owner_url`; a second run changes nothing.

    RefusedStart when the database cannot be reached or does not let this role do it.
    """
    database = Database(owner_url, pool_max=1)
    try:
        async with database.engine.begin() as connection:
            await connection.run_sync(_upgrade, app_role)
    except (DBAPIError, OSError, TypeError) as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise RefusedStart(
            "cannot_migrate", f"The database cannot be migrated: {said}.", "Nothing was changed."
        ) from error
    finally:
        await database.close()


def migrate(owner_url: str, app_role: str = "kaituan_app") -> None:
    """`migrate_async` for callers without an event loop."""
    asyncio.run(migrate_async(owner_url, app_role))


def role_of(app_url: str) -> str:
    """The role name in the app's database address."""
    return (make_url(app_url).username if app_url else None) or "kaituan_app"
