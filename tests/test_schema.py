"""The migrations are the schema: what they make is what the models say, twice over."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from campaigns.models import metadata
from cli.migrate import migrate_async
from engine.db import Database
from tests.conftest import DbUrls


def _differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    return list(compare_metadata(context, metadata))


async def test_migrations_make_what_the_models_say(owner_db: Database) -> None:
    async with owner_db.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


async def test_migrating_twice_changes_nothing(db_urls: DbUrls, owner_db: Database) -> None:
    count = text("SELECT count(*) FROM information_schema.role_table_grants")
    async with owner_db.begin() as session:
        before = await session.scalar(count)
    await migrate_async(db_urls.owner)
    async with owner_db.begin() as session:
        assert await session.scalar(count) == before


async def test_check_constraints_are_those_of_the_models(owner_db: Database) -> None:
    """Autogenerate does not compare them, and the guard of oversale is one."""
    wanted = {
        constraint.name
        for table in metadata.tables.values()
        for constraint in table.constraints
        if type(constraint).__name__ == "CheckConstraint"
    }
    async with owner_db.begin() as session:
        found = await session.scalars(text("SELECT conname FROM pg_constraint WHERE contype = 'c'"))
        assert wanted <= set(found)
