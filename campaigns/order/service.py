"""Reading orders: a customer's own, or all of them for HQ. Pages by key, never by offset."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.exports import Cell, too_many_rows
from campaigns.offer.landing import difference_says
from campaigns.offer.models import READY_FIELD, Offer
from campaigns.order.models import Order
from campaigns.order.schemas import OrderPage, OrderView
from campaigns.team.models import Team
from engine.db import Database
from engine.errors import BadInput, Missing
from engine.tokens import Access

CSV_HEADER = (
    *("order_id", "claim_id", "offer_id", "campaign_id", "buyer_id"),
    *("state", "claim_state", "reason", "qty", "units"),
    *("unit_price_fen", "amount_fen", "paid_fen", "refunded_fen"),
    *("claimed_at_ms", "paid_at_ms", "payment_id"),
)

_FOR_HQ = ("buyer_id", "payment_id", "credit")
_MADE = ("order_id", "ready_after_days", "team_failed", "difference_says")
_FOR_ALL = tuple([n for n in OrderView.__struct_fields__ if n not in (*_MADE, *_FOR_HQ)])


class OrderFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What to list; a customer's `buyer_id` is always their own."""

    buyer_id: str | None = None
    campaign_id: str | None = None
    offer_id: str | None = None
    state: str | None = None
    from_ms: int | None = None  # claimed at or after
    to_ms: int | None = None  # claimed before


def missing_order() -> Missing:
    """No such order, or someone else's."""
    return Missing("order_not_found", "There is no such order.", "Look at the list of orders.")


async def get_order(db: Database, who: Access, order_id: str) -> OrderView:
    """One order as `who` may see it; Missing `order_not_found` also when it is another's."""
    async with db.begin() as session:
        order = await session.get(Order, order_id)
        if order is None or (who.role != "hq" and order.buyer_id != who.subject):
            raise missing_order()
        more = await _more(session, [order])
    return _view(who, order, more)


async def page(
    db: Database, who: Access, wanted: OrderFilter, *, limit: int, after: str | None
) -> OrderPage:
    """Newest first; `after` is the `next` of the page before. BadInput `bad_cursor`."""
    query = _query(who, wanted).limit(limit + 1)
    if after is not None:
        query = query.where(_before(_read_cursor(after)))
    async with db.begin() as session:
        found = (await session.scalars(query)).all()
        known = await _more(session, found)
    more = len(found) > limit
    return OrderPage(
        tuple([_view(who, order, known) for order in found[:limit]]),
        _cursor(found[limit - 1]) if more else None,
    )


async def csv_batches(
    db: Database, who: Access, wanted: OrderFilter, *, rows_max: int, batch_max: int
) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    """All rows in batches, each read in a transaction of its own.

    Unprocessable `too_many_rows` is raised here, before anything is streamed.
    """
    query = _query(who, wanted)
    counted = select(func.count()).select_from(
        query.with_only_columns(Order.id).order_by(None).limit(rows_max + 1).subquery()
    )
    async with db.begin() as session:
        if (await session.execute(counted)).scalar_one() > rows_max:
            raise too_many_rows(rows_max)

    async def batches() -> AsyncIterator[Sequence[Sequence[Cell]]]:
        last: tuple[int, str] | None = None
        for _ in range(-(-rows_max // batch_max)):
            step = query if last is None else query.where(_before(last))
            async with db.begin() as session:
                found = (await session.scalars(step.limit(batch_max))).all()
            if found:
                yield [_row(order) for order in found]
                last = (found[-1].claimed_at_ms, found[-1].id)
            if len(found) < batch_max:
                return

    return batches()


def _query(who: Access, wanted: OrderFilter) -> Select[Order]:
    buyer_id = wanted.buyer_id if who.role == "hq" else who.subject
    query = select(Order).order_by(Order.claimed_at_ms.desc(), Order.id.desc())
    for column, value in (
        (Order.buyer_id, buyer_id),
        (Order.campaign_id, wanted.campaign_id),
        (Order.offer_id, wanted.offer_id),
        (Order.state, wanted.state),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.from_ms is not None:
        query = query.where(Order.claimed_at_ms >= wanted.from_ms)
    if wanted.to_ms is not None:
        query = query.where(Order.claimed_at_ms < wanted.to_ms)
    return query


def _before(last: tuple[int, str]) -> Any:
    return tuple_(Order.claimed_at_ms, Order.id) < tuple_(*last)


def _cursor(order: Order) -> str:
    return f"{order.claimed_at_ms}.{order.id}"


def _read_cursor(text: str) -> tuple[int, str]:
    at_ms, _, order_id = text.partition(".")
    if not (at_ms.isascii() and at_ms.isdigit() and len(at_ms) < 17 and order_id.isprintable()):
        raise BadInput("bad_cursor", "`after` is not from a list of orders.", "Leave it out.")
    return int(at_ms), order_id


class _More(NamedTuple):
    """What orders do not say themselves: offer → days until its goods are there, of those that
    have such a promise; team → why it failed, of those that did."""

    days: dict[str, int]
    failed: dict[str, str]


async def _more(session: AsyncSession, orders: Sequence[Order]) -> _More:
    days = Offer.config[READY_FIELD].as_integer()
    ids = {order.offer_id for order in orders}
    rows = await session.execute(select(Offer.id, days).where(Offer.id.in_(ids), days >= 0))
    ready = {row[0]: row[1] for row in rows}
    teams = {order.team_id for order in orders if order.team_id and order.seat == "taken"}
    whys = await session.execute(
        select(Team.id, Team.why).where(Team.id.in_(teams), Team.state == "failed")
    )
    return _More(ready, {row[0]: row[1] for row in whys})


def _view(who: Access, order: Order, more: _More) -> OrderView:
    names = _FOR_ALL if who.role != "hq" else _FOR_ALL + _FOR_HQ
    return OrderView(
        order_id=order.id,
        ready_after_days=more.days.get(order.offer_id),
        team_failed=more.failed.get(order.team_id or ""),
        difference_says=_difference(order),
        **{name: getattr(order, name) for name in names},
    )


def _difference(order: Order) -> str:
    """Why a crowd's difference went back; empty when none did."""
    final_fen = order.final_price_fen
    return "" if final_fen is None else difference_says(order.unit_price_fen, final_fen)


def _row(order: Order) -> list[Cell]:
    return [order.id, *[getattr(order, name) for name in CSV_HEADER[1:]]]
