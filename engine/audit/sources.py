"""What the laws look at: the hot store, PostgreSQL, the clients' history, the provider's bill.

Everything is only read. Rows are read in snapshots of one instant and in pages, so that an
audit of a large evening needs no more memory than one of a small one; what must be remembered
across pages goes to a scratch file.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.db import Database
from engine.ids import now_ms
from engine.wire import Wire

PAGE_ROWS_MAX = 1_000
GRACE_MS = 5_000  # what a deadline may be overstepped by before it counts
ASIDE_MAX = 1_000  # claims with dead letters that are told apart; more are an outage by themselves

_READ_ONLY = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
_POSITIONS = text("SELECT shard, epoch, seq, run_id, state FROM shard_position ORDER BY shard")
_ASIDE = text(
    "SELECT DISTINCT claim_id FROM dead_letters WHERE state IN ('open', 'discarded')"
    " AND claim_id IS NOT NULL ORDER BY claim_id LIMIT :limit"
)


class BillLine(Protocol):
    """One movement on the provider's bill: a payment in, or (with its `refund_no`) a refund out."""

    @property
    def kind(self) -> str: ...
    @property
    def attempt_id(self) -> str: ...
    @property
    def transaction_id(self) -> str: ...
    @property
    def amount_fen(self) -> int: ...
    @property
    def currency(self) -> str: ...
    @property
    def at_ms(self) -> int: ...
    @property
    def refund_no(self) -> str | None: ...


@dataclass(frozen=True)
class ProviderBill:
    """The bill's rows, oldest first. `complete`: nothing has moved since, so what is not on it

    did not happen; otherwise only what is older than its newest row must be on it.
    """

    rows: Iterable[BillLine]
    complete: bool = False


@dataclass(frozen=True)
class ShardNow:
    """A shard's position in PostgreSQL."""

    shard: int
    epoch: int
    seq: int
    run_id: str
    state: str


@dataclass
class Given:
    """The sources of one audit and how it looks at them.

    `at_rest`: the caller says that everything is settled and nothing is under way; otherwise
    facts younger than `stale_ms` are left alone where a law needs rest. `scratch` holds what
    the laws note down, `history` and `bill` say whether those were spooled into it. `viewers` is
    the history's directory when viewers wrote logs into it. Rooms that ended before
    `rooms_since_ms` are left out.
    """

    db: Database
    wire: Wire
    at_rest: bool
    stale_ms: int
    scratch: sqlite3.Connection
    rooms_since_ms: int = 0
    history: bool = False
    viewers: Path | None = None
    bill: bool = False
    bill_complete: bool = False
    bill_until_ms: int = 0
    hot_now_ms: int = 0
    wall_now_ms: int = 0
    shards: list[ShardNow] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def lag_ms(self) -> int:
        """How old a fact must be before rest is asked of it."""
        return 0 if self.at_rest else self.stale_ms

    async def look_around(self) -> None:
        """Both clocks, and the shards with their positions."""
        seconds, micros = await self.wire.call("TIME")
        self.hot_now_ms = int(seconds) * 1000 + int(micros) // 1000
        self.wall_now_ms = now_ms()
        async with snapshot(self.db) as session:
            self.shards = await read_positions(session)


@asynccontextmanager
async def snapshot(db: Database) -> AsyncIterator[AsyncSession]:
    """A session that sees one instant and cannot write."""
    async with db.begin() as session:
        await session.execute(_READ_ONLY)
        yield session


async def read_positions(session: AsyncSession) -> list[ShardNow]:
    """All shards."""
    return [ShardNow(*row) for row in await session.execute(_POSITIONS)]


async def read_aside(session: AsyncSession) -> list[str]:
    """Claims whose events could not be settled: no law may compare both sides of them."""
    return list(await session.scalars(_ASIDE, {"limit": ASIDE_MAX}))


async def pages(
    session: AsyncSession,
    sql: str,
    given: Mapping[str, object] | None = None,
    rows_max: int = PAGE_ROWS_MAX,
) -> AsyncIterator[list[RowMapping]]:
    """The rows of a query through a server-side cursor, a page at a time."""
    result = await session.stream(
        text(sql), dict(given or {}), execution_options={"yield_per": rows_max}
    )
    async for page in result.mappings().partitions(rows_max):
        yield list(page)
        await asyncio.sleep(0)


@contextmanager
def open_scratch() -> Iterator[sqlite3.Connection]:
    """A private SQLite database on disk that is gone when it is closed."""
    conn = sqlite3.connect("", isolation_level=None)
    try:
        conn.row_factory = sqlite3.Row
        conn.execute("PRAGMA journal_mode = OFF")
        conn.execute("PRAGMA synchronous = OFF")
        conn.execute("PRAGMA cache_size = -16384")
        yield conn
    finally:
        conn.close()
