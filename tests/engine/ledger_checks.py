"""What must hold of the ledger's rows, read back from PostgreSQL; and short ways to post."""

from collections.abc import Sequence

from sqlalchemy import text

from engine.db import Database
from engine.ledger.entries import Entry
from engine.ledger.post import post

_UNSOUND = """
WITH touched AS (
  SELECT source AS name, source_version AS version, source_balance_fen AS balance_fen,
         -amount_fen AS fen FROM postings WHERE source_version IS NOT NULL
  UNION ALL
  SELECT destination, destination_version, destination_balance_fen, amount_fen
  FROM postings WHERE destination_version IS NOT NULL
), chain AS (
  SELECT name, version, balance_fen,
         row_number() OVER by_version AS place, sum(fen) OVER by_version AS running
  FROM touched WINDOW by_version AS (PARTITION BY name ORDER BY version)
)
SELECT 'chain: ' || name || ' at ' || version FROM chain
WHERE version <> place OR balance_fen <> running
UNION ALL
SELECT 'account: ' || a.name FROM ledger_accounts a
LEFT JOIN (SELECT name, sum(fen) AS fen, count(*) AS n FROM touched GROUP BY name) t USING (name)
WHERE a.balance_fen <> coalesce(t.fen, 0) OR a.version <> coalesce(t.n, 0)
UNION ALL
SELECT 'unknown account: ' || name FROM touched WHERE name NOT IN (SELECT name FROM ledger_accounts)
UNION ALL
SELECT 'no postings: ' || reference FROM ledger_transactions t
WHERE NOT EXISTS (SELECT 1 FROM postings p WHERE p.transaction_id = t.id)
"""


async def put(db: Database, *entries: Entry) -> int:
    """`post` in a transaction of its own."""
    async with db.begin() as session:
        return await post(session, entries)


async def unsound(db: Database) -> Sequence[str]:
    """Broken version chains, balances that are not the sum, transactions without postings."""
    async with db.begin() as session:
        return list(await session.scalars(text(_UNSOUND)))


async def counts(db: Database) -> tuple[int, int, int]:
    """Rows of (transactions, postings, accounts): what a rejected command must not change."""
    async with db.begin() as session:
        row = await session.execute(
            text(
                "SELECT (SELECT count(*) FROM ledger_transactions),"
                " (SELECT count(*) FROM postings), (SELECT count(*) FROM ledger_accounts)"
            )
        )
        one, two, three = row.one()
        return one, two, three
