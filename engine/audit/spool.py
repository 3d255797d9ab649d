"""History and bill in the scratch file, indexed, so that laws can ask them in any order.

Spooling also finds what no client can have seen: an outcome without its invoke, two outcomes of
one request, an id that comes twice.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path

from engine.audit.history import Line, read_history
from engine.audit.sources import BillLine
from engine.errors import BadInput

_REQUESTS = """
CREATE TABLE requests (
    id TEXT PRIMARY KEY, op TEXT NOT NULL, process TEXT NOT NULL, asked_at_ms INTEGER NOT NULL,
    buyer TEXT, offer TEXT, "key" TEXT, qty INTEGER, price_id TEXT, claim_id TEXT,
    attempt_id TEXT, order_id TEXT, units INTEGER, team_id TEXT,
    type TEXT NOT NULL DEFAULT 'unknown', answered_at_ms INTEGER,
    told_claim_id TEXT, price_fen INTEGER, expires_at_ms INTEGER, replay INTEGER,
    told_attempt_id TEXT, amount_fen INTEGER, transaction_id TEXT, refund_id TEXT,
    state TEXT, ordered INTEGER, told_order_id TEXT, status INTEGER, code TEXT
) WITHOUT ROWID;
CREATE INDEX requests_of_key ON requests (buyer, offer, "key") WHERE op = 'claim';
CREATE INDEX requests_by_op ON requests (op, type);
"""
_ASK = """
INSERT INTO requests (id, op, process, asked_at_ms, buyer, offer, "key", qty, price_id, claim_id,
                      attempt_id, order_id, units, team_id, amount_fen)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ANSWER = """
UPDATE requests SET type = ?, answered_at_ms = ?, told_claim_id = ?, price_fen = ?,
    expires_at_ms = ?, replay = ?, told_attempt_id = ?, amount_fen = coalesce(?, amount_fen),
    transaction_id = ?, refund_id = ?, state = ?, ordered = ?, told_order_id = ?, status = ?,
    code = ?
WHERE id = ? AND op = ? AND answered_at_ms IS NULL
"""
_BILL = """
CREATE TABLE bill (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, attempt_id TEXT NOT NULL,
    transaction_id TEXT NOT NULL, amount_fen INTEGER NOT NULL, currency TEXT NOT NULL,
    at_ms INTEGER NOT NULL, refund_no TEXT
);
"""


def spool_history(scratch: sqlite3.Connection, folder: Path) -> None:
    """Read the directory into `requests`; BadInput `bad_history` when it contradicts itself."""
    scratch.executescript(_REQUESTS)
    scratch.execute("BEGIN")
    for line in read_history(folder):
        if line.type == "invoke":
            _asked(scratch, line)
        else:
            _answered(scratch, line)
    scratch.execute("COMMIT")


def _asked(scratch: sqlite3.Connection, line: Line) -> None:
    given = (
        *(line.id, line.op, line.process, line.at_ms, line.buyer, line.offer, line.key, line.qty),
        *(line.price_id, line.claim_id, line.attempt_id, line.order_id, line.units),
        *(line.team_id, line.amount_fen),
    )
    try:
        scratch.execute(_ASK, given)
    except sqlite3.IntegrityError as error:
        raise _bad(f"request {line.id} is invoked twice") from error


def _answered(scratch: sqlite3.Connection, line: Line) -> None:
    # From 500 on nobody knows the effect, whatever the client made of it.
    kind = "unknown" if line.type == "fail" and (line.status or 0) >= 500 else line.type
    given = (
        *(kind, line.at_ms, line.claim_id, line.price_fen, line.expires_at_ms, line.replay),
        *(line.attempt_id, line.amount_fen, line.transaction_id, line.refund_id, line.state),
        *(line.ordered, line.order_id, line.status, line.code, line.id, line.op),
    )
    if scratch.execute(_ANSWER, given).rowcount != 1:
        raise _bad(f"request {line.id} has an outcome without its own invoke, or two outcomes")


def _bad(why: str) -> BadInput:
    return BadInput("bad_history", "The history contradicts itself.", why + ".")


def spool_bill(scratch: sqlite3.Connection, rows: Iterable[BillLine]) -> int:
    """Copy the bill into `bill`; its newest time in ms, 0 for an empty one."""
    scratch.executescript(_BILL)
    newest = 0
    for row in rows:
        given = (row.kind, row.attempt_id, row.transaction_id, row.amount_fen, row.currency)
        scratch.execute(
            "INSERT INTO bill VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
            (*given, row.at_ms, row.refund_no),
        )
        newest = max(newest, row.at_ms)
    scratch.execute("CREATE INDEX bill_transaction ON bill (transaction_id)")
    scratch.execute("CREATE INDEX bill_refund ON bill (refund_no)")
    return newest
