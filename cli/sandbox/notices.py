"""Notices: the callbacks that a payment causes, as rows that outlive the process.

Planned in the payment's own transaction, sent by the courier, repeated until answered with
success. States: waiting, delivered, given_up, lost (never to be sent); a forged one ends as
`refused` (as it should) or `accepted` (whoever accepted it has a hole).
"""

import sqlite3
from typing import Any, Literal

import msgspec

from campaigns.payment.provider import Notification
from cli.sandbox import frequency
from cli.sandbox.limits import Limits
from cli.sandbox.switches import Switches, Trouble
from engine.ids import new_id

Kind = Literal["paid", "forged_signature", "forged_serial", "forged_stale"]
FORGED: tuple[Kind, ...] = ("forged_signature", "forged_serial", "forged_stale")


class NoticeSeen(msgspec.Struct, frozen=True):
    """A notice as `GET /notices/{attempt_id}` tells it."""

    kind: str
    state: str
    tries: int


def plan(
    conn: sqlite3.Connection,
    now_ms: int,
    limits: Limits,
    url: str,
    notification: Notification,
    troubles: frozenset[Trouble],
    switched: Switches,
) -> None:
    """Write the rows of the callbacks that this payment causes."""
    due_at_ms = now_ms + (switched.delayed.ms if "delayed" in troubles else 0)
    # Of two neighbours only the first is held back: the second must overtake it.
    held_back = "out_of_order" in troubles and not _one_is_held_back(conn)
    if held_back:
        due_at_ms = max(due_at_ms, now_ms + switched.out_of_order.wait_ms)
    state = "lost" if "lost" in troubles else "waiting"
    body = msgspec.json.encode(notification)
    fake = msgspec.structs.replace(notification, transaction_id=new_id("txn_forged"))
    rows: list[tuple[Kind, bytes, str, bool, int]] = []
    if "forged" in troubles:
        # The stale one is a recording: true bytes, truly signed, an hour ago.
        bodies = (msgspec.json.encode(fake), msgspec.json.encode(fake), body)
        rows += [
            (kind, forged, "waiting", False, now_ms)
            for kind, forged in zip(FORGED, bodies, strict=True)
        ]
    copies = 2 if "doubled" in troubles else 1
    rows += [("paid", body, state, held_back, due_at_ms)] * copies
    conn.executemany(
        "INSERT INTO notices"
        " (attempt_id, kind, url, body, state, held_back, due_at_ms, give_up_at_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                notification.attempt_id,
                kind,
                url,
                sent,
                state,
                held,
                due,
                due + limits.notice_time_max_ms,
            )
            for kind, sent, state, held, due in rows
        ],
    )


def _one_is_held_back(conn: sqlite3.Connection) -> bool:
    return (
        conn.execute(
            "SELECT 1 FROM notices WHERE state = 'waiting' AND held_back AND tries = 0 LIMIT 1"
        ).fetchone()
        is not None
    )


def due(conn: sqlite3.Connection, now_ms: int, under_way: set[int], count: int) -> list[Any]:
    """Up to `count` rows to send now."""
    rows = conn.execute(
        "SELECT * FROM notices WHERE state = 'waiting' AND due_at_ms <= ?"
        " ORDER BY due_at_ms, notice_id LIMIT ?",
        (now_ms, count + len(under_way)),
    ).fetchall()
    return [row for row in rows if row["notice_id"] not in under_way][:count]


def next_due_at_ms(conn: sqlite3.Connection, now_ms: int) -> int | None:
    """When the next notice is to be sent that is not due yet."""
    found: int | None = conn.execute(
        "SELECT min(due_at_ms) FROM notices WHERE state = 'waiting' AND due_at_ms > ?", (now_ms,)
    ).fetchone()[0]
    return found


def record(
    conn: sqlite3.Connection,
    now_ms: int,
    limits: Limits,
    notice_id: int,
    outcome: Literal["success", "refused", "no_answer"],
) -> None:
    """Write down how one try ended, and when the next one is due."""
    row = conn.execute("SELECT * FROM notices WHERE notice_id = ?", (notice_id,)).fetchone()
    tries = row["tries"] + 1
    is_forged = row["kind"] in FORGED
    wait_ms = min(limits.notice_cap_ms, limits.notice_base_ms << min(row["tries"], 20))
    if outcome == "success":
        state = "accepted" if is_forged else "delivered"
    elif is_forged and outcome == "refused":
        state = "refused"
    elif tries >= limits.notice_tries_max or now_ms + wait_ms > row["give_up_at_ms"]:
        state = "given_up"
    else:
        state = "waiting"
    conn.execute(
        "UPDATE notices SET state = ?, tries = ?, due_at_ms = ? WHERE notice_id = ?",
        (state, tries, now_ms + wait_ms, notice_id),
    )
    if state == "delivered":
        # A later one arrived: those held back for it may go now.
        conn.execute(
            "UPDATE notices SET due_at_ms = ? WHERE state = 'waiting' AND held_back AND tries = 0"
            " AND notice_id < ? AND attempt_id <> ?",
            (now_ms, notice_id, row["attempt_id"]),
        )


def seen(conn: sqlite3.Connection, attempt_id: str) -> list[NoticeSeen]:
    """The notices of an attempt, oldest first."""
    rows = conn.execute(
        "SELECT kind, state, tries FROM notices WHERE attempt_id = ? ORDER BY notice_id",
        (attempt_id,),
    )
    return [NoticeSeen(row["kind"], row["state"], row["tries"]) for row in rows]


def counts(conn: sqlite3.Connection) -> dict[str, int]:
    """How many notices are in which state, how much money moved (rows, not fen), and how many
    calls were too frequent."""
    states = conn.execute("SELECT 'notices_' || state, count(*) FROM notices GROUP BY state")
    rows = conn.execute("SELECT kind || 's', count(*) FROM bill_rows GROUP BY kind")
    often = ("too_frequent", frequency.seen_of(conn).refused)
    return dict([*states.fetchall(), *rows.fetchall(), often])
