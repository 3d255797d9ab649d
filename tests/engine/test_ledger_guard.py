"""What PostgreSQL itself refuses: changed postings, and postings that are none."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from engine.db import Database
from engine.ledger.entries import payment_received
from tests.engine.ledger_checks import counts, put

CHANGES = [
    "UPDATE {} SET {} = {}",
    "DELETE FROM {}",
    "TRUNCATE {} CASCADE",
]
COLUMN = {"postings": "amount_fen", "ledger_transactions": "kind"}


def _changes(table: str) -> list[str]:
    column = COLUMN[table]
    return [change.format(table, column, column) for change in CHANGES]


async def _refused(db: Database, sql: str, words: str) -> None:
    with pytest.raises(DBAPIError, match=words):
        async with db.begin() as session:
            await session.execute(text(sql))


@pytest.mark.parametrize("table", sorted(COLUMN))
async def test_nobody_changes_what_was_posted(db: Database, owner_db: Database, table: str) -> None:
    await put(db, payment_received("p1", "sandbox", 100, None, 1))
    before = await counts(db)
    for sql in _changes(table):
        await _refused(db, sql, "permission denied")
        await _refused(owner_db, sql, "append-only")
    assert await counts(db) == before


@pytest.mark.parametrize("amount", [0, -1])
async def test_a_posting_moves_at_least_one_fen(db: Database, amount: int) -> None:
    await _refused(db, _posting("escrow", "hq", str(amount)), "postings_amount_positive")


async def test_a_posting_has_two_accounts_and_a_transaction(db: Database) -> None:
    await _refused(db, _posting("hq", "hq", "1"), "postings_two_accounts")
    await _refused(db, _posting("escrow", "hq", "NULL"), "null value in column")
    orphan = "INSERT INTO postings (transaction_id, line, source, destination, amount_fen) "
    await _refused(db, orphan + "VALUES (999, 1, 'escrow', 'hq', 1)", "foreign key")


async def test_a_reference_is_there_once(db: Database) -> None:
    await put(db, payment_received("p1", "sandbox", 100, None, 1))
    again = "INSERT INTO ledger_transactions (reference, kind, at_ms) VALUES ('payment:p1', 'x', 1)"
    await _refused(db, again, "duplicate key")


def _posting(source: str, destination: str, amount: str) -> str:
    return (
        "WITH t AS (INSERT INTO ledger_transactions (reference, kind, at_ms) "
        "VALUES ('r', 'test', 1) RETURNING id) "
        "INSERT INTO postings (transaction_id, line, source, destination, amount_fen) "
        f"SELECT id, 1, '{source}', '{destination}', {amount} FROM t"
    )
