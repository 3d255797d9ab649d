"""PostgreSQL: one engine per process, and the only place where transactions open.

`async with db.begin() as session:` is one transaction, committed at its end and rolled back on
any error. Nothing outside may be called while it is open. `Base` is the parent of all rows.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase

from engine.errors import RefusedStart

_DRIVERS = ("postgresql", "postgres", "postgresql+asyncpg")


class Base(DeclarativeBase):
    """Parent of all tables."""


class Database:
    """A pool of connections to one PostgreSQL."""

    def __init__(self, url: str, *, pool_max: int = 10) -> None:
        self.engine: AsyncEngine = create_async_engine(
            async_url(url), pool_size=pool_max, max_overflow=0, pool_pre_ping=True, pool_timeout=10
        )
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end, rolled back on any error."""
        async with self._sessions() as session, session.begin():
            yield session

    async def close(self) -> None:
        """Give all connections back and close them."""
        await self.engine.dispose()


def async_url(url: str) -> URL:
    """A `postgresql://` address for asyncpg; RefusedStart `bad_address` for any other.

    `sslmode=require`, as providers write it, is what asyncpg calls `ssl`.
    """
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        parts = None
    if parts is None or parts.drivername not in _DRIVERS or not parts.database:
        raise RefusedStart(  # its password is not repeated
            "bad_address",
            "The database's address is not one like postgresql://user:password@host:5432/name.",
            "Correct KAITUAN_DATABASE_URL or KAITUAN_DATABASE_OWNER_URL.",
        )
    query = {"ssl" if name == "sslmode" else name: value for name, value in parts.query.items()}
    return parts.set(drivername="postgresql+asyncpg", query=query)
