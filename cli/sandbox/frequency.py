"""How often a provider lets itself be asked: calls and error answers of the last second.

Whoever asks more often, or makes more mistakes, is refused with 429 before anything is looked at;
`/counts` says how often that was (`too_frequent`). Off unless switched on.
"""

import sqlite3
import time

import msgspec

WINDOW_S = 1.0


class Seen(msgspec.Struct):
    """When calls and errors were, as a monotonic clock in seconds, and how many were refused."""

    calls: list[float] = []
    errors: list[float] = []
    refused: int = 0


def may_come(conn: sqlite3.Connection, calls_max: int, errors_max: int, is_error: bool) -> bool:
    """Count a call that may come; False: it is too frequent. A bound of 0 is none."""
    if not calls_max and not errors_max:
        return True
    seen, now = seen_of(conn), time.monotonic()
    seen.calls = [at for at in seen.calls if now - WINDOW_S < at <= now]
    seen.errors = [at for at in seen.errors if now - WINDOW_S < at <= now]
    comes = (not calls_max or len(seen.calls) < calls_max) and (
        not errors_max or len(seen.errors) < errors_max
    )
    if comes:
        seen.calls.append(now)
    else:
        seen.refused += 1
    if is_error or not comes:
        seen.errors.append(now)
    conn.execute(
        "INSERT OR REPLACE INTO meta VALUES ('frequency', ?)", (msgspec.json.encode(seen),)
    )
    return comes


def seen_of(conn: sqlite3.Connection) -> Seen:
    """What was counted."""
    row = conn.execute("SELECT value FROM meta WHERE name = 'frequency'").fetchone()
    return Seen() if row is None else msgspec.json.decode(row[0], type=Seen)
