"""Balances: running ones of guides and stores, sums of the house's own accounts."""

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import collate, select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.balance.schemas import BalancePage, BalanceView
from campaigns.exports import Cell
from engine.db import Database
from engine.ledger import chart
from engine.ledger.models import LedgerAccount
from engine.ledger.post import sums

CSV_HEADER = ("account", "kind", "owner", "balance_fen")


async def page(
    db: Database, provider_name: str, *, kind: str | None, limit: int, after: str | None
) -> BalancePage:
    """Accounts by name; `after` is the last name seen, `kind` one of the chart's."""
    async with db.begin() as session:
        accounts, more = await _running(session, kind, limit, after)
        house = await _house(session, provider_name) if after is None else ()
    return BalancePage(house, accounts, accounts[-1].account if more else None)


async def csv_batches(
    db: Database, provider_name: str, *, batch_max: int, rows_max: int
) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    """The house's accounts, then all others in batches."""
    after: str | None = None
    for _ in range(-(-rows_max // batch_max)):
        found = await page(db, provider_name, kind=None, limit=batch_max, after=after)
        rows = (*found.house, *found.accounts)
        if rows:
            yield [(row.account, row.kind, row.owner, row.balance_fen) for row in rows]
        after = found.next
        if after is None:
            return


async def _running(
    session: AsyncSession, kind: str | None, limit: int, after: str | None
) -> tuple[tuple[BalanceView, ...], bool]:
    # Byte order, as the primary key of a "C" database has it, so that pages never overlap.
    name = collate(LedgerAccount.name, "C")
    query = select(LedgerAccount).order_by(name).limit(limit + 1)
    if after is not None:
        query = query.where(name > after)
    if kind == chart.Kind.STORE:
        query = query.where(LedgerAccount.name.startswith("store:", autoescape=True))
    elif kind is not None:
        query = query.where(LedgerAccount.name.like(f"promoter:%:{kind}"))
    found = (await session.scalars(query)).all()
    return tuple([_view(row.name, row.balance_fen) for row in found[:limit]]), len(found) > limit


async def _house(session: AsyncSession, provider_name: str) -> tuple[BalanceView, ...]:
    accounts = [
        chart.clearing(provider_name),
        chart.ESCROW,
        chart.HQ,
        chart.FEES,
        chart.GOODWILL,
        chart.SUBSIDY,
    ]
    found = await sums(session, accounts)
    return tuple([_view(account, found[account]) for account in accounts])


def _view(name: str, balance_fen: int) -> BalanceView:
    account = chart.parse(name)
    return BalanceView(account, chart.kind_of(account).value, chart.owner_of(account), balance_fen)
