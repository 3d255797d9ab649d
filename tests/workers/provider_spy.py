"""A provider that counts calls and lets something happen after each; a look at transactions."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from sqlalchemy import text

from engine.db import Database


class Spy:
    """Passes everything on; `calls` counts `<method> <id>`, `after` runs once a call is done."""

    def __init__(
        self, provider: Any, *, after: Callable[[str], Awaitable[None]] | None = None
    ) -> None:
        self._provider, self._after = provider, after
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._provider, name)
        if name not in ("prepay", "query", "close", "refund"):
            return method

        async def call(subject: str, *args: Any) -> Any:
            self.calls[f"{name} {subject}"] += 1
            answer = await method(subject, *args)
            if self._after is not None:
                await self._after(name)
            return answer

        return call


class Seen(NamedTuple):
    """How often it was looked while leases were out, and how many open transactions were seen."""

    looks: int
    idle: int


async def idle_in_transaction(db: Database, task: asyncio.Task[Any], *, at_provider: str) -> Seen:
    """Look until `task` ends; counts only looks while rows of `at_provider` are leased."""
    looks = idle = 0
    leased = text(f"SELECT count(*) FROM {at_provider} WHERE lease_until_ms > 0 OR :sent")
    is_sent = at_provider == "payment_attempts"
    while not task.done():
        async with db.begin() as session:
            out = await session.scalar(leased, {"sent": is_sent})
            open_now = await session.scalar(_IDLE)
        looks += bool(out)
        idle += open_now or 0
        await asyncio.sleep(0.02)
    await task
    return Seen(looks, idle)


# `state_change` leaves out what was between two statements of a transaction just now.
_IDLE = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
    " AND state_change < clock_timestamp() - interval '100 ms'"
)
