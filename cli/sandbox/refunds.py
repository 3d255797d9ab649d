"""Refunds: one number is one refund, together at most what was paid, at most 50 per payment.

A refund that failed may be tried again under its number; its sum is free for others meanwhile.
Money counts as moved (and is on the bill) when a refund succeeds, not while it is processing.
"""

import sqlite3

from campaigns.payment.provider import RefundStatus
from campaigns.payment.sandbox_client import RefundRequest
from cli.sandbox import bills, switches
from cli.sandbox.limits import Limits
from cli.sandbox.refusal import Refused


def refund(
    conn: sqlite3.Connection, now_ms: int, limits: Limits, request: RefundRequest
) -> RefundStatus:
    """Begin a refund, or repeat the answer of the same one."""
    settle_due(conn, now_ms, limits.refunds_settled_max)
    payment = conn.execute(
        "SELECT * FROM payments WHERE transaction_id = ?", (request.transaction_id,)
    ).fetchone()
    known = conn.execute(
        "SELECT * FROM refunds WHERE refund_no = ?", (request.refund_no,)
    ).fetchone()
    if known is not None and (
        known["transaction_id"] != request.transaction_id
        or known["amount_fen"] != request.amount_fen
    ):
        raise Refused(409, "REFUND_DIFFERS", "This refund number stands for another refund.")
    if payment is None:
        raise Refused(404, "UNKNOWN_TRANSACTION", "There is no such payment.")
    if payment["amount_fen"] != request.total_fen:
        raise Refused(409, "TOTAL_DIFFERS", "The payment was of another amount.")
    if known is not None and known["state"] != "failed":
        return status(conn, request.refund_no)
    _check_sums(conn, limits, request, payment["amount_fen"], is_new=known is None)
    _begin(conn, now_ms, request)
    settle_due(conn, now_ms, limits.refunds_settled_max)
    return status(conn, request.refund_no)


def _check_sums(
    conn: sqlite3.Connection,
    limits: Limits,
    request: RefundRequest,
    paid_fen: int,
    *,
    is_new: bool,
) -> None:
    count, sum_fen = conn.execute(
        "SELECT count(*), coalesce(sum(amount_fen) FILTER (WHERE state <> 'failed'), 0)"
        " FROM refunds WHERE transaction_id = ?",
        (request.transaction_id,),
    ).fetchone()
    if is_new and count >= limits.refunds_per_payment_max:
        raise Refused(
            409, "TOO_MANY_REFUNDS", f"This payment already has {count} refunds, the most allowed."
        )
    if sum_fen + request.amount_fen > paid_fen:
        raise Refused(
            409, "NOT_ENOUGH", f"Only {paid_fen - sum_fen} fen of this payment can be refunded."
        )


def _begin(conn: sqlite3.Connection, now_ms: int, request: RefundRequest) -> None:
    code = switches.take_refund_failure(conn)
    due_at_ms = now_ms + switches.load(conn).refunds.processing_ms
    state = "processing" if code is None else "failed"
    conn.execute(
        "INSERT INTO refunds VALUES (?, ?, ?, ?, ?, ?, NULL)"
        " ON CONFLICT (refund_no) DO UPDATE SET"
        " state = excluded.state, code = excluded.code, due_at_ms = excluded.due_at_ms",
        (request.refund_no, request.transaction_id, request.amount_fen, state, code, due_at_ms),
    )


def settle_due(conn: sqlite3.Connection, now_ms: int, settled_max: int) -> None:
    """Let succeed what was processing long enough, in bounded batches."""
    due = conn.execute(
        "SELECT r.refund_no, r.amount_fen, p.attempt_id, p.transaction_id, p.currency"
        " FROM refunds r JOIN payments p USING (transaction_id)"
        " WHERE r.state = 'processing' AND r.due_at_ms <= ? ORDER BY r.due_at_ms LIMIT ?",
        (now_ms, settled_max),
    ).fetchall()
    for row in due:
        conn.execute(
            "UPDATE refunds SET state = 'success', done_at_ms = ? WHERE refund_no = ?",
            (now_ms, row["refund_no"]),
        )
        bills.add_refund(conn, now_ms, row)


def query(conn: sqlite3.Connection, now_ms: int, limits: Limits, refund_no: str) -> RefundStatus:
    """What became of a refund."""
    settle_due(conn, now_ms, limits.refunds_settled_max)
    return status(conn, refund_no)


def status(conn: sqlite3.Connection, refund_no: str) -> RefundStatus:
    """A refund as the port's shape; `unknown` when its number never arrived."""
    row = conn.execute("SELECT * FROM refunds WHERE refund_no = ?", (refund_no,)).fetchone()
    if row is None:
        return RefundStatus(refund_no=refund_no, state="unknown")
    return RefundStatus(
        refund_no=refund_no,
        state=row["state"],
        amount_fen=row["amount_fen"],
        code=row["code"],
        done_at_ms=row["done_at_ms"],
    )


def next_due_at_ms(conn: sqlite3.Connection) -> int | None:
    """When the next processing refund succeeds."""
    found: int | None = conn.execute(
        "SELECT min(due_at_ms) FROM refunds WHERE state = 'processing'"
    ).fetchone()[0]
    return found
