"""HQ's view of refunds: how old, how often tried, why not done yet; and how far a crowd's are.

Refunds of orders, and of payments without one (late, doubled, unknown). Pages by id, which is by
age; counts are over all that fit the filters, whatever their state.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, func, select, text
from sqlalchemy.exc import DBAPIError

from campaigns.exports import Cell, too_many_rows
from campaigns.order.models import Order
from campaigns.refund.models import Refund
from campaigns.refund.schemas import RefundCount, RefundEntry, RefundPage
from campaigns.team.booking import left_to_book
from engine.db import Database
from engine.ids import now_ms

State = Literal["due", "done", "failed"]
CSV_HEADER = RefundEntry.__struct_fields__
COUNT_MS_MAX = 2_000
_TIMED_OUT = "57014"
_COUNT_LIMIT = text(f"SET LOCAL statement_timeout = {COUNT_MS_MAX}")


class RefundFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What to list. `cause` `after_sale` stands for all requests after a sale."""

    state: State | None = None
    cause: str | None = None
    team_id: str | None = None
    offer_id: str | None = None


async def page(db: Database, wanted: RefundFilter, *, limit: int, after: str | None) -> RefundPage:
    """Oldest first; `after` is the last id seen. The first page has the counts."""
    async with db.begin() as session:
        rows = (await session.execute(_query(wanted, after).limit(limit + 1))).all()
        to_book = 0
        if wanted.team_id is not None:
            to_book = await left_to_book(session, wanted.team_id)
    entries = tuple([_entry(*row) for row in rows[:limit]])
    return RefundPage(
        refunds=entries,
        counts=await counts(db, wanted) if after is None else None,
        to_book=to_book,
        next=entries[-1].refund_id if len(rows) > limit else None,
    )


async def csv_batches(
    db: Database, wanted: RefundFilter, *, rows_max: int, batch_max: int
) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    """All rows in batches; Unprocessable `too_many_rows` before anything is streamed."""
    counted = select(func.count()).select_from(
        _query(wanted, None)
        .with_only_columns(Refund.id)
        .order_by(None)
        .limit(rows_max + 1)
        .subquery()
    )
    async with db.begin() as session:
        if (await session.execute(counted)).scalar_one() > rows_max:
            raise too_many_rows(rows_max)

    async def batches() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        last: str | None = None
        for _ in range(-(-rows_max // batch_max)):
            async with db.begin() as session:
                rows = (await session.execute(_query(wanted, last).limit(batch_max))).all()
            if rows:
                found = [_entry(*row) for row in rows]
                yield [msgspec.structs.astuple(entry) for entry in found]
                last = found[-1].refund_id
            if len(rows) < batch_max:
                return

    return batches()


def _query(wanted: RefundFilter, after: str | None) -> Select[Any, Any, Any, Any]:
    query = (
        select(Refund, Order.offer_id, Order.team_id, Order.buyer_id)
        .outerjoin(Order, Order.id == Refund.order_id)
        .where(*_fits(wanted))
        .order_by(Refund.id)
    )
    if wanted.state is not None:
        query = query.where(Refund.state == wanted.state)
    return query if after is None else query.where(Refund.id > after)


def _fits(wanted: RefundFilter) -> list[ColumnElement[bool]]:
    """The filters but for the state."""
    found: list[ColumnElement[bool]] = []
    if wanted.cause == "after_sale":
        found.append(Refund.cause.startswith("after_sale:", autoescape=True))
    elif wanted.cause is not None:
        found.append(Refund.cause == wanted.cause)
    if wanted.team_id is not None:
        found.append(Order.team_id == wanted.team_id)
    if wanted.offer_id is not None:
        found.append(Order.offer_id == wanted.offer_id)
    return found


async def counts(db: Database, wanted: RefundFilter) -> tuple[RefundCount, ...] | None:
    """By state, with the oldest's age and the most tries; None when that takes too long."""
    query = (
        select(
            Refund.state,
            func.count(),
            func.sum(Refund.amount_fen),
            func.min(Refund.created_at_ms),
            func.max(Refund.tries),
        )
        .outerjoin(Order, Order.id == Refund.order_id)
        .where(*_fits(wanted))
        .group_by(Refund.state)
    )
    try:
        async with db.begin() as session:
            await session.execute(_COUNT_LIMIT)
            found = {row[0]: row[1:] for row in await session.execute(query)}
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") != _TIMED_OUT:
            raise
        return None
    now = now_ms()
    return tuple(
        [
            RefundCount(
                state=state,
                refunds=found[state][0],
                amount_fen=int(found[state][1]),
                oldest_ms=now - found[state][2],
                tries_most=found[state][3],
            )
            for state in ("due", "failed", "done")
            if state in found
        ]
    )


def _entry(
    refund: Refund, offer_id: str | None, team_id: str | None, buyer_id: str | None
) -> RefundEntry:
    ended_ms = now_ms() if refund.done_at_ms is None else refund.done_at_ms
    return RefundEntry(
        refund_id=refund.id,
        state=refund.state,
        cause=refund.cause,
        amount_fen=refund.amount_fen,
        units=refund.units,
        age_ms=max(ended_ms - refund.created_at_ms, 0),
        tries=refund.tries,
        last_error=refund.last_error,
        next_at_ms=refund.next_at_ms if refund.state == "due" else None,
        created_at_ms=refund.created_at_ms,
        done_at_ms=refund.done_at_ms,
        requested_by=refund.requested_by,
        payment_id=refund.payment_id,
        order_id=refund.order_id,
        offer_id=offer_id,
        team_id=team_id,
        buyer_id=buyer_id,
    )
