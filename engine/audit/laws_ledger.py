"""M1, M2, M3 and M10: the books by themselves, and that each cause is in them exactly once."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.audit.report import Finding, LawResult
from engine.audit.sources import Given, pages, snapshot
from engine.ledger import chart

_LINES = """
SELECT t.id, t.reference, count(p.line) AS lines, max(p.line) AS last,
       count(*) FILTER (WHERE p.amount_fen <= 0 OR p.source = p.destination) AS wrong
FROM ledger_transactions t LEFT JOIN postings p ON p.transaction_id = t.id
GROUP BY t.id, t.reference HAVING count(p.line) = 0 OR max(p.line) <> count(p.line)
    OR count(*) FILTER (WHERE p.amount_fen <= 0 OR p.source = p.destination) > 0
"""
_NAMES = "SELECT source AS name FROM postings UNION SELECT destination FROM postings"
_CHECKS = text(
    "SELECT count(*) FROM pg_constraint WHERE conrelid = 'postings'::regclass AND convalidated"
    " AND conname IN ('postings_amount_positive', 'postings_two_accounts')"
)


async def _count(session: AsyncSession, table: str) -> int:
    return int(await session.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


async def m1_transactions_balance(given: Given) -> LawResult:
    """Each posting moves fen between two accounts; no zero posting, no empty transaction."""
    finding = Finding("M1", "each ledger transaction balances, no posting is zero")
    async with snapshot(given.db) as session:
        finding.look(await _count(session, "postings"))
        async for page in pages(session, _LINES):
            for row in page:
                finding.problem(
                    f"transaction {row['reference']}: {row['lines']} lines to number "
                    f"{row['last']}, {row['wrong']} that move nothing"
                )
        async for page in pages(session, _NAMES):
            for row in page:
                finding.expect(_is_account(row["name"]), f"{row['name']!r} is no account")
        checks = await session.scalar(_CHECKS)
        finding.expect(checks == 2, "the CHECK constraints on postings are not in force")
    return finding.result()


def _is_account(name: str) -> bool:
    try:
        chart.kind_of(name)
    except ValueError:
        return False
    return True


# Authorising accounts are those of guides and stores (engine/ledger/chart.py).
_AUTHORISING = "(name LIKE 'promoter:%' OR name LIKE 'store:%')"
_TOUCHED = """
touched AS (
  SELECT source AS name, source_version AS version, source_balance_fen AS balance_fen,
         -amount_fen AS fen FROM postings
  UNION ALL
  SELECT destination, destination_version, destination_balance_fen, amount_fen FROM postings
)
"""
_CHAINS = f"""
WITH {_TOUCHED}, chain AS (
  SELECT name, version, balance_fen, row_number() OVER by_version AS place,
         sum(fen) OVER by_version AS running
  FROM touched WHERE {_AUTHORISING}
  WINDOW by_version AS (PARTITION BY name ORDER BY version)
)
SELECT name, version, balance_fen, place, running FROM chain
WHERE version IS DISTINCT FROM place OR balance_fen IS DISTINCT FROM running
"""
_BALANCES = f"""
WITH {_TOUCHED}
SELECT coalesce(a.name, t.name) AS name, a.balance_fen, a.version, t.fen, t.n
FROM ledger_accounts a FULL JOIN (
  SELECT name, sum(fen) AS fen, count(*) AS n FROM touched WHERE {_AUTHORISING} GROUP BY name
) t ON t.name = a.name
"""
_STRAY = f"""
WITH {_TOUCHED} SELECT DISTINCT name FROM touched
WHERE NOT {_AUTHORISING} AND (version IS NOT NULL OR balance_fen IS NOT NULL)
"""
# Running balances on one side, sums of postings on the other: together they are nothing.
_TOTAL = text(
    f"""
    WITH {_TOUCHED}
    SELECT (SELECT coalesce(sum(balance_fen), 0) FROM ledger_accounts)
         + (SELECT coalesce(sum(fen), 0) FROM touched WHERE NOT {_AUTHORISING})
    """
)


async def m2_balances_agree(given: Given) -> LawResult:
    """Per authorising account: balance, version chain and sum of postings; all sum to zero."""
    finding = Finding("M2", "running balances are the sums of their postings, all sum to zero")
    async with snapshot(given.db) as session:
        async for page in pages(session, _BALANCES):
            for row in page:
                found = (row["balance_fen"], row["version"])
                sums = (int(row["fen"] or 0), row["n"] or 0)
                text_ = f"account {row['name']} says (fen, version) {found}, postings say {sums}"
                finding.expect(found == sums, text_)
        finding.look(await _count(session, "postings"))
        async for page in pages(session, _CHAINS):
            for row in page:
                finding.problem(
                    f"account {row['name']} version {row['version']} with {row['balance_fen']} "
                    f"fen stands at place {row['place']} with {row['running']}"
                )
        async for page in pages(session, _STRAY):
            for row in page:
                finding.problem(f"account {row['name']} only records, yet carries versions")
        total = int(await session.scalar(_TOTAL) or 0)
        finding.expect(total == 0, f"all accounts together hold {total} fen")
    return finding.result()


class Cause(NamedTuple):
    """Rows that must be in the ledger once each: their SQL gives id and fen.

    `moved` says which fen of the transaction are meant.
    """

    kind: str
    what: str
    rows: str
    moved: str


_INTO_ESCROW = "p.source LIKE 'clearing:%' AND p.destination = 'escrow'"
_OUT_OF_ESCROW = "p.destination LIKE 'clearing:%' AND p.source = 'escrow'"
_FROM_ESCROW = "p.source = 'escrow'"
_SUBSIDY = "p.source = 'subsidy' AND p.destination = 'hq'"
_SUBSIDY_BACK = "p.source = 'hq' AND p.destination = 'subsidy'"
# A sale is split as soon as it is paid, a team's order when its team has formed.
_SPLIT = """
SELECT id, CASE WHEN team_id IS NULL THEN paid_fen ELSE split_fen END AS amount_fen FROM orders
WHERE payment_id IS NOT NULL AND (team_id IS NULL OR split_fen > 0)
"""
CAUSES = (
    Cause("payment", "payment", "SELECT id, amount_fen FROM payment_facts", _INTO_ESCROW),
    Cause(
        "refund",
        "done refund",
        "SELECT id, amount_fen FROM refunds WHERE state = 'done'",
        _OUT_OF_ESCROW,
    ),
    Cause("split", "standing order", _SPLIT, _FROM_ESCROW),
    Cause(
        "subsidy",
        "applied subsidy",
        "SELECT id, amount_fen FROM team_commands WHERE applied_seq IS NOT NULL",
        _SUBSIDY,
    ),
    Cause(
        "subsidy_back",
        "subsidy of a failed team",
        "SELECT c.id, c.amount_fen FROM team_commands c JOIN teams t ON t.id = c.team_id"
        " WHERE c.applied_seq IS NOT NULL AND t.state = 'failed'",
        _SUBSIDY_BACK,
    ),
)


# Which members of a decided and booked team have a split: those of a formed one, and of a failed
# crowd whose buyers paid the regular price.
_UNBOOKED = """
SELECT o.id, t.id AS team_id, t.state, o.split_fen FROM teams t
JOIN offers f ON f.id = t.offer_id JOIN orders o ON o.team_id = t.id
WHERE t.booked_at_ms IS NOT NULL AND o.seat = 'taken' AND o.payment_id IS NOT NULL
AND (o.split_fen IS NOT NULL) <> (t.state = 'formed'
     OR (t.kind = 'crowd' AND f.config -> 'team' ->> 'charging' = 'regular'))
UNION ALL
SELECT o.id, t.id, t.state, o.split_fen FROM orders o JOIN teams t ON t.id = o.team_id
WHERE t.decided_at_ms IS NULL AND o.seat = 'taken' AND o.split_fen IS NOT NULL
"""
# The only way to keep a cause from being posted, or refunded, twice at the same instant.
_UNIQUE = text(
    """
    SELECT count(*) FROM pg_index i WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL
    AND (i.indrelid, pg_get_indexdef(i.indexrelid) LIKE '%(reference)'
                  OR pg_get_indexdef(i.indexrelid) LIKE '%(payment_id, cause)')
     IN (('ledger_transactions'::regclass, true), ('refunds'::regclass, true))
    """
)


async def m3_each_cause_once(given: Given) -> LawResult:
    """Every payment, done refund and standing order has its one transaction, and none is extra."""
    finding = Finding("M3", "each payment, refund and split is posted exactly once")
    async with snapshot(given.db) as session:
        for cause in CAUSES:
            sql = f"""
            SELECT c.id, c.amount_fen, t.reference, t.n, coalesce(t.fen, 0)::bigint AS fen
            FROM ({cause.rows}) c FULL JOIN (
              SELECT t.reference, count(DISTINCT t.id) AS n,
                     sum(p.amount_fen) FILTER (WHERE {cause.moved}) AS fen
              FROM ledger_transactions t LEFT JOIN postings p ON p.transaction_id = t.id
              WHERE t.kind = '{cause.kind}' GROUP BY t.reference
            ) t ON t.reference = '{cause.kind}:' || c.id
            """
            async for page in pages(session, sql):
                for row in page:
                    name = row["reference"] or f"{cause.kind}:{row['id']}"
                    text_ = (
                        f"{name} is posted {row['n'] or 0} times with {row['fen']} fen, the "
                        f"{cause.what} is {row['amount_fen'] or 'not there'}"
                    )
                    finding.expect(row["n"] == 1 and row["fen"] == row["amount_fen"], text_)
        async for page in pages(session, _UNBOOKED):
            for row in page:
                said = "none" if row["split_fen"] is None else f"{row['split_fen']} fen"
                text_ = (
                    f"order {row['id']} of {row['state']} team {row['team_id']}: split of {said}"
                )
                finding.problem(text_)
        unique = await session.scalar(_UNIQUE)
        finding.expect(unique == 2, "the unique indexes of references and causes are not there")
        if given.bill:
            await _billed(given, session, finding)
    if not given.bill:
        finding.sentence += " (without the provider's bill)"
    return finding.result()


_OURS = {
    "payment": "SELECT id, amount_fen, paid_at_ms AS at_ms FROM payment_facts",
    "refund": "SELECT id, amount_fen, done_at_ms AS at_ms FROM refunds WHERE state = 'done'",
}
_KNOWN = {
    "payment": text("SELECT id FROM payment_facts WHERE id = ANY(CAST(:ids AS text[]))"),
    "refund": text(
        "SELECT id FROM refunds WHERE state = 'done' AND id = ANY(CAST(:ids AS text[]))"
    ),
}
_NUMBER = {"payment": "transaction_id", "refund": "refund_no"}


async def _billed(given: Given, session: AsyncSession, finding: Finding) -> None:
    """What we booked is on the bill with the same fen, and refunds on the bill are booked.

    Payments that only the bill knows are T8's: they have not ended well.
    """
    for kind, sql in _OURS.items():
        number = _NUMBER[kind]
        query = f"SELECT amount_fen FROM bill WHERE kind = ? AND {number} = ?"
        async for page in pages(session, sql):
            for row in page:
                if not given.bill_complete and row["at_ms"] > given.bill_until_ms:
                    continue
                found = [one[0] for one in given.scratch.execute(query, (kind, row["id"]))]
                text_ = f"{kind} {row['id']} of {row['amount_fen']} fen is billed as {found}"
                finding.expect(found == [row["amount_fen"]], text_)
    cursor = given.scratch.execute(
        "SELECT refund_no, amount_fen, at_ms FROM bill WHERE kind = 'refund'"
    )
    while rows := cursor.fetchmany(1_000):
        ids = [row["refund_no"] for row in rows]
        known = set(await session.scalars(_KNOWN["refund"], {"ids": ids}))
        for row in rows:
            young = row["at_ms"] > given.wall_now_ms - given.lag_ms
            text_ = f"refund {row['refund_no']} of {row['amount_fen']} fen is billed, not booked"
            finding.expect(young or row["refund_no"] in known, text_)


GUARDED = ("ledger_transactions", "postings", "audit_log", "event_batches", "campaign_versions")
_RIGHTS = text(
    """
    SELECT c.relname AS name, r.rolname AS role, a.privilege_type AS may
    FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
    LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE c.relname = ANY(CAST(:tables AS text[])) AND a.grantee <> c.relowner
      AND c.relnamespace = 'public'::regnamespace
      AND a.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')
    """
)
_TRIGGERS = text(
    """
    SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE t.tgname = c.relname || '_append_only' AND t.tgenabled <> 'D'
      AND c.relname = ANY(CAST(:tables AS text[]))
    """
)


async def m10_rows_cannot_change(given: Given) -> LawResult:
    """No role but the owner may change postings, and their triggers refuse even the owner."""
    finding = Finding("M10", "the application's role cannot change what is posted or archived")
    tables: Sequence[str] = GUARDED
    async with snapshot(given.db) as session:
        rights = await session.execute(_RIGHTS, {"tables": tables})
        for row in rights:
            finding.problem(f"role {row.role or 'PUBLIC'} may {row.may} {row.name}")
        guarded = set(await session.scalars(_TRIGGERS, {"tables": tables}))
    for table in tables:
        finding.look()
        finding.expect(table in guarded, f"the append-only trigger of {table} is off")
    return finding.result()
