"""One transaction of a command line's decision, on whichever Kaituan can be reached."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from cli.imports import reachable_settings
from cli.words import in_words
from engine.db import Database

T = TypeVar("T")


def in_transaction(work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """What `work` gives, committed; a KaituanError becomes one sentence and exit code 1."""

    async def run() -> T:
        db = Database(reachable_settings().database_url, pool_max=1)
        try:
            async with db.begin() as session:
                return await work(session)
        finally:
            await db.close()

    with in_words():
        return asyncio.run(run())
