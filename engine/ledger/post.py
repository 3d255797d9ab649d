"""The only code that posts: many ledger transactions in one batch, exactly once each.

Promises: a reference already posted has no further effect, with other lines it is an error;
authorising accounts are locked once, in sorted order, so that batches never deadlock; running
balances and versions continue their chain; a batch that raises must be rolled back as a whole
(`db.begin` does), and then has left no trace. Five statements, whatever the batch's size.

Call it once per SQL transaction: references first, then accounts is the lock order of all.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.errors import KaituanError
from engine.ledger import chart
from engine.ledger.books import Balance, Books, Moved, needed
from engine.ledger.chart import Account
from engine.ledger.entries import Entry, Line

# Sorted: two batches that share references then wait for each other one way only.
_INSERT_TRANSACTIONS = text(
    """
    INSERT INTO ledger_transactions (reference, kind, order_id, at_ms)
    SELECT * FROM unnest(CAST(:references AS text[]), CAST(:kinds AS text[]),
                         CAST(:order_ids AS text[]), CAST(:at_ms AS bigint[]))
    ON CONFLICT (reference) DO NOTHING RETURNING reference, id
    """
)
_STORED = text(
    """
    SELECT t.reference, t.kind, t.order_id, p.source, p.destination, p.amount_fen
    FROM ledger_transactions t LEFT JOIN postings p ON p.transaction_id = t.id
    WHERE t.reference = ANY(CAST(:references AS text[]))
    """
)
_OPEN_ACCOUNTS = text(
    """
    INSERT INTO ledger_accounts (name, balance_fen, version)
    SELECT name, 0, 0 FROM unnest(CAST(:names AS text[])) AS name
    ON CONFLICT (name) DO NOTHING
    """
)
_LOCK_ACCOUNTS = text(
    """
    SELECT name, balance_fen, version FROM ledger_accounts
    WHERE name = ANY(CAST(:names AS text[])) ORDER BY name COLLATE "C" FOR UPDATE
    """
)
_INSERT_POSTINGS = text(
    """
    INSERT INTO postings (transaction_id, line, source, destination, amount_fen, source_version,
                          source_balance_fen, destination_version, destination_balance_fen)
    SELECT * FROM unnest(CAST(:transactions AS bigint[]), CAST(:line_numbers AS smallint[]),
                         CAST(:sources AS text[]), CAST(:destinations AS text[]),
                         CAST(:amounts AS bigint[]), CAST(:source_versions AS bigint[]),
                         CAST(:source_balances AS bigint[]),
                         CAST(:destination_versions AS bigint[]),
                         CAST(:destination_balances AS bigint[]))
    """
)
_UPDATE_ACCOUNTS = text(
    """
    UPDATE ledger_accounts a SET balance_fen = d.balance_fen, version = d.version
    FROM unnest(CAST(:names AS text[]), CAST(:balances AS bigint[]), CAST(:versions AS bigint[]))
         AS d (name, balance_fen, version)
    WHERE a.name = d.name
    """
)
_BALANCES = text(
    "SELECT name, balance_fen FROM ledger_accounts WHERE starts_with(name, :prefix) ORDER BY name"
)
_SUMS = text(
    """
    SELECT account, CAST(sum(fen) AS bigint) FROM (
      SELECT destination AS account, amount_fen AS fen FROM postings
      WHERE destination = ANY(CAST(:names AS text[]))
      UNION ALL
      SELECT source, -amount_fen FROM postings WHERE source = ANY(CAST(:names AS text[]))
    ) moved GROUP BY account
    """
)


async def post(session: AsyncSession, entries: Sequence[Entry]) -> int:
    """Post `entries` in their order; how many were new. Those already posted are skipped.

    An entry that moves nothing (no lines, or only zeros) is skipped without a trace: a ledger
    transaction always has postings. Raises ValueError for a negative line or one that names an
    account twice, KaituanError `reference_reused` for a reference that stands for other lines
    (a bug somewhere), Conflict `balance_too_low` when an authorising account lacks the fen;
    `extra["reference"]` names the entry. After an error roll the transaction back.
    """
    by_reference = _checked(entries)
    if not by_reference:
        return 0
    ids = await _insert_transactions(session, by_reference)
    await _compare_stored(session, [e for r, e in by_reference.items() if r not in ids])
    fresh = [entry for reference, entry in by_reference.items() if reference in ids]
    books = Books(await _lock(session, needed(fresh)))
    await _insert_postings(session, [(ids[e.reference], books.take(e)) for e in fresh])
    await _write_back(session, books)
    return len(fresh)


def _checked(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Entries by reference without zero lines, in order; the same one given twice counts once."""
    by_reference: dict[str, Entry] = {}
    for given in entries:
        for line in given.lines:
            if line.amount_fen < 0 or line.source == line.destination:
                raise ValueError(f"{given.reference} cannot be posted: {line}")
            chart.parse(line.source)
            chart.parse(line.destination)
        lines = tuple(line for line in given.lines if line.amount_fen > 0)
        if not lines:
            continue
        entry = msgspec.structs.replace(given, lines=lines)
        first = by_reference.setdefault(entry.reference, entry)
        if first is not entry and _meaning(first) != _meaning(entry):
            raise _reused(entry.reference)
    return by_reference


Meaning = tuple[str, str | None, Counter[tuple[str, str]]]


def _meaning(entry: Entry) -> Meaning:
    """What an entry says, whenever it was said and however a clawback was spread."""
    return entry.kind, entry.order_id, _totals(entry.lines)


def _totals(lines: Iterable[Line]) -> Counter[tuple[str, str]]:
    totals: Counter[tuple[str, str]] = Counter()
    for line in lines:
        source: str = line.source
        if chart.is_clawback(line.source, line.destination):
            source = source.rpartition(":")[0] if source.startswith("promoter:") else source
        totals[source, line.destination] += line.amount_fen
    return totals


def _reused(reference: str) -> KaituanError:
    return KaituanError(
        "reference_reused",
        "A ledger reference was used for two different things; nothing was posted.",
        f"{reference} already stands for other lines.",
        reference=reference,
    )


async def _insert_transactions(
    session: AsyncSession, by_reference: dict[str, Entry]
) -> dict[str, int]:
    """Ids of the references that were not there yet; waits for others who are posting them."""
    ordered = [by_reference[reference] for reference in sorted(by_reference)]
    rows = await session.execute(
        _INSERT_TRANSACTIONS,
        {
            "references": [entry.reference for entry in ordered],
            "kinds": [entry.kind for entry in ordered],
            "order_ids": [entry.order_id for entry in ordered],
            "at_ms": [entry.at_ms for entry in ordered],
        },
    )
    return {row.reference: row.id for row in rows}


async def _compare_stored(session: AsyncSession, repeated: Sequence[Entry]) -> None:
    """Raise when a reference that is there already stands for something else."""
    if not repeated:
        return
    rows = await session.execute(_STORED, {"references": [e.reference for e in repeated]})
    heads: dict[str, tuple[str, str | None]] = {}
    lines: dict[str, list[Line]] = {}
    for reference, kind, order_id, source, destination, fen in rows:
        heads[reference] = (kind, order_id)
        if source is not None:
            lines.setdefault(reference, []).append(Line(Account(source), Account(destination), fen))
    for entry in repeated:
        stored = (*heads[entry.reference], _totals(lines.get(entry.reference, [])))
        if stored != _meaning(entry):
            raise _reused(entry.reference)


async def _lock(session: AsyncSession, names: Sequence[Account]) -> dict[Account, Balance]:
    """Open what is missing, then lock all, each time in sorted order."""
    if not names:
        return {}
    await session.execute(_OPEN_ACCOUNTS, {"names": names})
    rows = await session.execute(_LOCK_ACCOUNTS, {"names": names})
    return {Account(name): Balance(fen, version) for name, fen, version in rows}


async def _insert_postings(
    session: AsyncSession, posted: Iterable[tuple[int, Sequence[Moved]]]
) -> None:
    rows = [(number, line, m) for number, moved in posted for line, m in enumerate(moved, 1)]
    if not rows:
        return
    await session.execute(
        _INSERT_POSTINGS,
        {
            "transactions": [number for number, _, _ in rows],
            "line_numbers": [line for _, line, _ in rows],
            "sources": [m.source for _, _, m in rows],
            "destinations": [m.destination for _, _, m in rows],
            "amounts": [m.amount_fen for _, _, m in rows],
            "source_versions": [m.source_version for _, _, m in rows],
            "source_balances": [m.source_balance_fen for _, _, m in rows],
            "destination_versions": [m.destination_version for _, _, m in rows],
            "destination_balances": [m.destination_balance_fen for _, _, m in rows],
        },
    )


async def _write_back(session: AsyncSession, books: Books) -> None:
    if not books.changed:
        return
    await session.execute(
        _UPDATE_ACCOUNTS,
        {
            "names": list(books.changed),
            "balances": [held.balance_fen for held in books.changed.values()],
            "versions": [held.version for held in books.changed.values()],
        },
    )


async def balances(session: AsyncSession, prefix: str) -> dict[str, int]:
    """Running balances in fen of the authorising accounts whose names start with `prefix`."""
    rows = await session.execute(_BALANCES, {"prefix": prefix})
    return {row.name: row.balance_fen for row in rows}


async def sums(session: AsyncSession, accounts: Sequence[Account]) -> dict[Account, int]:
    """What came in less what went out, in fen, for accounts of any kind; 0 if never posted to."""
    rows = await session.execute(_SUMS, {"names": accounts})
    found = {Account(account): int(fen) for account, fen in rows}
    return {account: found.get(account, 0) for account in accounts}
