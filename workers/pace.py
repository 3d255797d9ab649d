"""How fast the provider may be asked, shared by all workers through one row per operation.

A provider bounds calls a second and, much lower, error answers a second. Nobody knows beforehand
which answer will be an error, so each call reserves one; a good answer gives it back, and an error
counts from when it came. Both bounds are kept as the time until which they are used up (GCRA, by
PostgreSQL's clock): half of a bound may come at once and half of it a second after, so no second
sees more than the bound leave. Give less than the provider allows: calls take their time to
arrive. What a worker that died had reserved comes back by itself within a second or two.
"""

from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_LOCK = text(
    "SELECT calls_until_us, errors_until_us,"
    " CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) AS now_us"
    " FROM provider_pace WHERE operation = :operation FOR UPDATE"
)
_RESERVE = text(
    "UPDATE provider_pace SET calls_until_us = :calls, errors_until_us = :errors"
    " WHERE operation = :operation"
)
_ANSWERED = text(
    "UPDATE provider_pace SET errors_until_us = greatest(errors_until_us - :well_us,"
    " CASE WHEN :wrong_us > 0 THEN"
    " CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint) + :wrong_us ELSE 0 END)"
    " WHERE operation = :operation"
)


class Bound(NamedTuple):
    """At most `per_s` in any second."""

    per_s: int

    @property
    def burst(self) -> int:
        return max(1, self.per_s // 2)

    @property
    def each_us(self) -> int:
        return 1_000_000 // max(1, self.per_s - self.burst)

    def free(self, until_us: int, now_us: int) -> int:
        """How many may come now."""
        used_us = max(0, until_us - now_us)
        return max(0, self.burst - -(-used_us // self.each_us))

    def after(self, until_us: int, now_us: int, count: int) -> int:
        """Until when it is used up once `count` more have come."""
        return max(until_us, now_us) + count * self.each_us


class Pace:
    """The two bounds of an operation, and what of them is free in a transaction."""

    def __init__(self, operation: str, calls: Bound, errors: Bound) -> None:
        self._operation, self._calls, self._errors = operation, calls, errors
        self._calls_us = self._errors_us = self._now_us = 0

    async def free(self, session: AsyncSession) -> int:
        """How many calls may be made now; the row stays locked until the transaction ends."""
        row = (await session.execute(_LOCK, {"operation": self._operation})).one()
        self._calls_us, self._errors_us, self._now_us = row
        return min(
            self._calls.free(self._calls_us, self._now_us),
            self._errors.free(self._errors_us, self._now_us),
        )

    async def reserve(self, session: AsyncSession, count: int) -> None:
        """These calls will be made, and may all be answered with an error."""
        given = {
            "operation": self._operation,
            "calls": self._calls.after(self._calls_us, self._now_us, count),
            "errors": self._errors.after(self._errors_us, self._now_us, count),
        }
        await session.execute(_RESERVE, given)

    async def answered(self, session: AsyncSession, well: int, wrong: int) -> None:
        """So many were answered well, and so many with an error or not at all."""
        each_us = self._errors.each_us
        given = {
            "operation": self._operation,
            "well_us": well * each_us,
            "wrong_us": wrong * each_us,
        }
        await session.execute(_ANSWERED, given)
