"""The bill: every movement of money, in the period that was open when it was committed.

Periods are numbered from 1; exactly one is open, and it closes on request. A row is written in
the transaction that moves the money, so a closed period never changes.
"""

import sqlite3
from typing import Any

from campaigns.payment.provider import BillRow, Payment
from campaigns.payment.sandbox_client import BillPage, Periods
from cli.sandbox.refusal import Refused


def open_period(conn: sqlite3.Connection) -> int:
    """The period in which money moves now."""
    return int(conn.execute("SELECT value FROM meta WHERE name = 'open_period'").fetchone()[0])


def add_payment(conn: sqlite3.Connection, attempt_id: str, payment: Payment) -> None:
    """Put a payment on the bill."""
    conn.execute(
        "INSERT INTO bill_rows VALUES (NULL, ?, 'payment', ?, ?, NULL, ?, ?, ?)",
        (
            open_period(conn),
            attempt_id,
            payment.transaction_id,
            payment.amount_fen,
            payment.currency,
            payment.paid_at_ms,
        ),
    )


def add_refund(conn: sqlite3.Connection, now_ms: int, row: Any) -> None:
    """Put a refund that just succeeded on the bill."""
    conn.execute(
        "INSERT INTO bill_rows VALUES (NULL, ?, 'refund', ?, ?, ?, ?, ?, ?)",
        (
            open_period(conn),
            row["attempt_id"],
            row["transaction_id"],
            row["refund_no"],
            row["amount_fen"],
            row["currency"],
            now_ms,
        ),
    )


def periods(conn: sqlite3.Connection) -> Periods:
    """Which period is open."""
    return Periods(str(open_period(conn)))


def close_period(conn: sqlite3.Connection, period: str) -> Periods:
    """Close the open period; closing a closed one again changes nothing."""
    asked, opened = _number(period), open_period(conn)
    if asked > opened:
        raise Refused(409, "PERIOD_NOT_OPEN", f"The open period is {opened}.")
    if asked == opened:
        conn.execute("UPDATE meta SET value = ? WHERE name = 'open_period'", (opened + 1,))
    return periods(conn)


def page(conn: sqlite3.Connection, period: str, after: int, rows_max: int) -> BillPage:
    """Up to `rows_max` rows of a closed period behind row `after`."""
    if _number(period) >= open_period(conn):
        raise Refused(409, "PERIOD_OPEN", "This period is not closed yet, so it has no bill.")
    found = conn.execute(
        'SELECT * FROM bill_rows WHERE period = ? AND "row" > ? ORDER BY "row" LIMIT ?',
        (int(period), after, rows_max + 1),
    ).fetchall()
    rows = [
        BillRow(**{name: row[name] for name in BillRow.__struct_fields__})
        for row in found[:rows_max]
    ]
    return BillPage(period=period, rows=tuple(rows), more=len(found) > len(rows))


def _number(period: str) -> int:
    if not (period.isascii() and period.isdigit() and len(period) <= 9 and period[0] != "0"):
        raise Refused(404, "UNKNOWN_PERIOD", "Periods are numbered 1, 2, 3 …")
    return int(period)
