"""The sandbox's durable memory: one SQLite file, one thread, one transaction per act.

WAL with synchronous=FULL: when an answer leaves, its act is on disk, so neither `kill -9` nor a
power cut takes back a payment that someone was told about. One folder has one server (a lock).
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
    attempt_id TEXT PRIMARY KEY,
    prepay_id TEXT NOT NULL UNIQUE,
    request BLOB NOT NULL,
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    expires_at_ms INTEGER NOT NULL,
    notify_url TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'closed', 'paid'))
);
CREATE TABLE IF NOT EXISTS payments (
    transaction_id TEXT PRIMARY KEY,
    attempt_id TEXT NOT NULL UNIQUE REFERENCES attempts,
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    currency TEXT NOT NULL,
    paid_at_ms INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS refunds (
    refund_no TEXT PRIMARY KEY,
    transaction_id TEXT NOT NULL REFERENCES payments,
    amount_fen INTEGER NOT NULL CHECK (amount_fen > 0),
    state TEXT NOT NULL CHECK (state IN ('processing', 'success', 'failed')),
    code TEXT,
    due_at_ms INTEGER NOT NULL,
    done_at_ms INTEGER
);
CREATE INDEX IF NOT EXISTS refunds_of ON refunds (transaction_id);
CREATE INDEX IF NOT EXISTS refunds_due ON refunds (due_at_ms) WHERE state = 'processing';
CREATE TABLE IF NOT EXISTS bill_rows (
    "row" INTEGER PRIMARY KEY AUTOINCREMENT,
    period INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('payment', 'refund')),
    attempt_id TEXT NOT NULL,
    transaction_id TEXT NOT NULL,
    refund_no TEXT UNIQUE,
    amount_fen INTEGER NOT NULL,
    currency TEXT NOT NULL,
    at_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS billed_once ON bill_rows (transaction_id) WHERE kind = 'payment';
CREATE INDEX IF NOT EXISTS bill_of ON bill_rows (period, "row");
CREATE TABLE IF NOT EXISTS notices (
    notice_id INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    url TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL,
    held_back INTEGER NOT NULL DEFAULT 0,
    tries INTEGER NOT NULL DEFAULT 0,
    due_at_ms INTEGER NOT NULL,
    give_up_at_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS notices_due ON notices (due_at_ms) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS notices_of ON notices (attempt_id);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
INSERT OR IGNORE INTO meta VALUES ('open_period', 1);
"""


class Store:
    """The open file; `act` runs a function in a transaction of its own."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = lock(data_dir / "sandbox.lock")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sandbox-store")
        self._conn = self._thread.submit(open_file, data_dir / "sandbox.sqlite3").result()

    async def act(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` in one transaction: committed and on disk when this returns, or undone."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._act, work)

    def _act(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._conn.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._conn)
            self._conn.execute("COMMIT")
        except BaseException:
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")
            raise
        return result

    def close(self) -> None:
        """Finish what is queued, close the file and give the folder free."""
        self._thread.submit(self._conn.close).result()
        self._thread.shutdown()
        os.close(self._lock)


def lock(path: Path) -> int:
    """The descriptor of an exclusive lock that ends with the process, however it ends.

    Raises BlockingIOError when another server has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def open_file(path: Path) -> sqlite3.Connection:
    """The database at `path`, made if it is not there."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.row_factory = sqlite3.Row
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("PRAGMA foreign_keys = ON")
    conn.executescript(SCHEMA)
    return conn
