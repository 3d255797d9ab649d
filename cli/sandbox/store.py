"""The sandbox's durable memory: one SQLite file, one thread, each act all or none.

WAL with synchronous=FULL: when an answer leaves, its act is on disk, so neither `kill -9` nor a
power cut takes back a payment that someone was told about. One folder has one server (a lock).
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

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


class _Act(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    done: Future[Any]


class Store:
    """The open file; `act` runs a function in a transaction.

    Acts that wait while the disk is busy share the next commit, each in a savepoint of its own:
    one sync (4 ms where this was measured) serves them all. None is answered before the commit,
    so nobody reads what could still be undone.
    """

    def __init__(self, data_dir: Path, *, acts_per_commit_max: int = 64) -> None:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = lock(data_dir / "sandbox.lock")
        self._conn = open_file(data_dir / "sandbox.sqlite3")
        self._acts_per_commit_max = acts_per_commit_max
        self._queue: SimpleQueue[_Act | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="sandbox-store")
        self._thread.start()

    async def act(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` all or none: committed and on disk when this returns, undone when it raises."""
        done: Future[T] = Future()
        self._queue.put(_Act(work, done))
        return await asyncio.wrap_future(done)

    def _serve(self) -> None:
        is_open = True
        while is_open:
            acts: list[_Act | None] = [self._queue.get()]
            while len(acts) < self._acts_per_commit_max and not self._queue.empty():
                acts.append(self._queue.get())
            is_open = None not in acts
            # Who no longer waits (a cancelled call) is not begun.
            self._commit([a for a in acts if a and a.done.set_running_or_notify_cancel()])
        self._conn.close()

    def _commit(self, acts: list[_Act]) -> None:
        settle: list[Callable[[], None]] = []
        try:
            self._conn.execute("BEGIN IMMEDIATE")
            settle = [self._one(act) for act in acts]
            self._conn.execute("COMMIT")
        except Exception as error:
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")
            settle = [partial(act.done.set_exception, error) for act in acts]
        for tell in settle:
            tell()

    def _one(self, act: _Act) -> Callable[[], None]:
        """Run one act; what is to be told to its caller after the commit."""
        self._conn.execute("SAVEPOINT act")
        try:
            result = act.work(self._conn)
        except Exception as error:
            self._conn.execute("ROLLBACK TO act")
            self._conn.execute("RELEASE act")
            return partial(act.done.set_exception, error)
        self._conn.execute("RELEASE act")
        return partial(act.done.set_result, result)

    def close(self) -> None:
        """Finish what is queued, close the file and give the folder free."""
        self._queue.put(None)
        self._thread.join()
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
    """The database at `path`, made if it is not there; one thread at a time may use it."""
    conn = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    conn.row_factory = sqlite3.Row
    conn.execute("PRAGMA journal_mode = WAL")
    conn.execute("PRAGMA synchronous = FULL")
    conn.execute("PRAGMA foreign_keys = ON")
    conn.executescript(SCHEMA)
    return conn
