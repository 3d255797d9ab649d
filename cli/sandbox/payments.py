"""Attempts and their payments: prepay, the customer's pay, query, close.

Plain functions on a connection inside a transaction; they promise one payment per attempt,
one bill row per payment, and the callback's row in the same transaction as the money.
"""

import sqlite3
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from campaigns.payment.provider import CloseResult, Notification, Payment, PaymentStatus, Prepay
from campaigns.payment.sandbox_client import PrepayRequest
from cli.sandbox import bills, notices, switches
from cli.sandbox.limits import Limits
from cli.sandbox.refusal import Refused
from engine.ids import new_id
from engine.money import FEN_MAX

LOOPBACK = ("127.0.0.1", "localhost", "::1")


class PayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /pay/{prepay_id}`; an empty body is an honest customer."""

    trouble: Annotated[tuple[switches.Trouble, ...], msgspec.Meta(max_length=8)] = ()


def prepay(
    conn: sqlite3.Connection, now_ms: int, limits: Limits, base_url: str, request: PrepayRequest
) -> Prepay:
    """Take an attempt, or repeat the answer of the same one."""
    body = msgspec.json.encode(request)
    known = conn.execute(
        "SELECT prepay_id, request, state FROM attempts WHERE attempt_id = ?",
        (request.attempt_id,),
    ).fetchone()
    if known is not None:
        if known["request"] != body:
            raise Refused(409, "ATTEMPT_DIFFERS", "This attempt was announced differently before.")
        if known["state"] != "pending":
            code = f"ATTEMPT_{known['state'].upper()}"
            raise Refused(409, code, f"This attempt is already {known['state']}.")
        return _prepaid(base_url, known["prepay_id"])
    if request.expires_at_ms <= now_ms:
        raise Refused(409, "EXPIRED", "The expiry of this attempt lies in the past.")
    _check_notify_url(request.notify_url)
    if (conn.execute("SELECT max(rowid) FROM attempts").fetchone()[0] or 0) >= limits.attempts_max:
        raise Refused(409, "FULL", "The sandbox holds no more attempts; give it a fresh folder.")
    prepay_id = new_id("pre")
    conn.execute(
        "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, 'pending')",
        (
            request.attempt_id,
            prepay_id,
            body,
            request.amount_fen,
            request.expires_at_ms,
            request.notify_url,
        ),
    )
    return _prepaid(base_url, prepay_id)


def _prepaid(base_url: str, prepay_id: str) -> Prepay:
    return Prepay(pay_url=f"{base_url}/pay/{prepay_id}", prepay_id=prepay_id)


def _check_notify_url(url: str) -> None:
    """The sandbox calls this address later: only http, only this machine."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme == "http" and parts.hostname in LOOPBACK and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise Refused(400, "BAD_NOTIFY_URL", "The sandbox only calls http addresses of loopback.")


def pay(
    conn: sqlite3.Connection, now_ms: int, limits: Limits, prepay_id: str, request: PayRequest
) -> Payment:
    """The customer's act. A second one of the same attempt is the same payment."""
    attempt = conn.execute("SELECT * FROM attempts WHERE prepay_id = ?", (prepay_id,)).fetchone()
    if attempt is None:
        raise Refused(404, "UNKNOWN_PREPAY", "There is nothing to pay here.")
    attempt_id: str = attempt["attempt_id"]
    paid = payment_of(conn, attempt_id)
    if paid is not None:
        return paid
    switched = switches.load(conn)
    troubles = switched.troubles(attempt_id, request.trouble)
    if "paid_after_close" not in troubles:
        if attempt["state"] == "closed":
            raise Refused(409, "CLOSED", "The merchant closed this payment; nothing was taken.")
        if now_ms >= attempt["expires_at_ms"]:
            raise Refused(409, "EXPIRED", "This payment has expired; nothing was taken.")
    wrong = switched.wrong_amount if "wrong_amount" in troubles else None
    payment = Payment(
        transaction_id=new_id("txn"),
        amount_fen=_wrong_fen(attempt["amount_fen"], wrong) if wrong else attempt["amount_fen"],
        currency=wrong.currency if wrong else "CNY",
        paid_at_ms=now_ms,
    )
    _book(conn, attempt_id, payment)
    notification = Notification(attempt_id=attempt_id, **msgspec.structs.asdict(payment))
    notices.plan(conn, now_ms, limits, attempt["notify_url"], notification, troubles, switched)
    return payment


def _wrong_fen(asked_fen: int, wrong: switches.WrongAmount) -> int:
    paid_fen = min(FEN_MAX, max(1, asked_fen + wrong.delta_fen))
    if paid_fen == asked_fen and wrong.currency == "CNY" and wrong.delta_fen:
        return asked_fen + 1  # 1 fen cannot be underpaid: still wrong, the other way
    return paid_fen


def _book(conn: sqlite3.Connection, attempt_id: str, payment: Payment) -> None:
    conn.execute(
        "INSERT INTO payments VALUES (?, ?, ?, ?, ?)",
        (
            payment.transaction_id,
            attempt_id,
            payment.amount_fen,
            payment.currency,
            payment.paid_at_ms,
        ),
    )
    conn.execute("UPDATE attempts SET state = 'paid' WHERE attempt_id = ?", (attempt_id,))
    bills.add_payment(conn, attempt_id, payment)


def payment_of(conn: sqlite3.Connection, attempt_id: str) -> Payment | None:
    """The payment of an attempt, if there is one."""
    row = conn.execute("SELECT * FROM payments WHERE attempt_id = ?", (attempt_id,)).fetchone()
    return None if row is None else payment_from(row)


def payment_from(row: Any) -> Payment:
    """A row of `payments` as the port's shape."""
    return Payment(
        transaction_id=row["transaction_id"],
        amount_fen=row["amount_fen"],
        currency=row["currency"],
        paid_at_ms=row["paid_at_ms"],
    )


def query(conn: sqlite3.Connection, attempt_id: str) -> PaymentStatus:
    """What became of an attempt. An expired one stays `pending` until it is closed."""
    row = conn.execute("SELECT state FROM attempts WHERE attempt_id = ?", (attempt_id,)).fetchone()
    state: Any = "unknown" if row is None else row["state"]
    return PaymentStatus(state=state, payment=payment_of(conn, attempt_id))


def close(conn: sqlite3.Connection, attempt_id: str) -> CloseResult:
    """Close an attempt that was not paid. No trace is kept of one that was never announced."""
    status = query(conn, attempt_id)
    if status.state == "paid":
        return CloseResult(state="already_paid", payment=status.payment)
    if status.state == "unknown":
        return CloseResult(state="unknown")
    conn.execute("UPDATE attempts SET state = 'closed' WHERE attempt_id = ?", (attempt_id,))
    return CloseResult(state="closed")
