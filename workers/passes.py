"""Passes over a decided crowd's orders, a bounded batch at a time, until nothing is left.

A crowd may have ten thousand members, too many for the settler's transaction, which only writes
its decision. Each batch is one transaction on locked orders and says by what it wrote which ones
are done, so a crash anywhere repeats nothing. An order that cannot be booked raises an alarm and
holds up nobody else.
"""

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.ids import now_ms
from workers.alarms import end_alarm, raise_alarm
from workers.loop import Parts, describe, is_outage
from workers.settle.book import Book, OrderNow
from workers.settle.load import ORDER_COLUMNS, intents_of
from workers.settle.write import write_book

log = logging.getLogger(__name__)


class Task(Protocol):
    """What a pass does. `crowd` is whatever `locked` gave."""

    name: str  # of the alarms' causes
    waiting: TextClause  # ids of at most :limit crowds
    left: str  # the condition for orders that are not done
    done: TextClause  # :id is, at :now

    async def locked(self, session: AsyncSession, team_id: str) -> Any:
        """The crowd, locked before any order as the settler does; None when it waits no more."""

    def given(self, crowd: Any) -> dict[str, Any]:
        """The parameters of `left`."""

    def book(self, book: Book, crowd: Any, order: OrderNow) -> None:
        """The order's steps on the book."""


class Passes:
    """One task's turns; it remembers how far each crowd's present pass has come."""

    def __init__(self, parts: Parts, task: Task) -> None:
        self._parts, self._task = parts, task
        self._orders = text(
            f"SELECT {ORDER_COLUMNS} FROM orders WHERE {task.left} AND id > :after"  # noqa: S608
            " ORDER BY id LIMIT :limit FOR UPDATE"
        )
        self._after: dict[str, str] = {}
        self._refused: set[str] = set()  # crowds with an order that could not be booked
        self._rests_until_ms: dict[str, int] = {}  # after a pass with such a one

    async def run_once(self) -> int:
        """A batch of each waiting crowd; how many orders were looked at."""
        limit = self._parts.settings.outside_batch_max
        async with self._parts.db.begin() as session:
            waiting = list(await session.scalars(self._task.waiting, {"limit": limit}))
        self._after = {one: after for one, after in self._after.items() if one in waiting}
        now, rests = now_ms(), self._rests_until_ms
        self._rests_until_ms = {one: rests[one] for one in waiting if rests.get(one, 0) > now}
        due = [team_id for team_id in waiting if team_id not in self._rests_until_ms]
        return sum([await self._batch(team_id) for team_id in due])

    async def _batch(self, team_id: str) -> int:
        """The pass's next batch; how many orders it looked at."""
        after, most = self._after.get(team_id, ""), self._parts.settings.book_batch_max
        try:
            ids = await self._book(team_id, after, most)
        except Exception as error:
            if is_outage(error):
                raise
            log.warning("crowd %s: a batch is refused, now one by one: %s", team_id, error)
            ids = await self._one_by_one(team_id, after, most)
        if len(ids) == most:
            self._after[team_id] = ids[-1]
        else:  # the pass is over; the next one finds those that could not be booked, or nobody
            self._after.pop(team_id, None)
            if team_id in self._refused:
                self._refused.discard(team_id)
                self._rests_until_ms[team_id] = now_ms() + self._parts.settings.retry_cap_ms
        return len(ids)

    async def _one_by_one(self, team_id: str, after: str, most: int) -> list[str]:
        async with self._parts.db.begin() as session:
            crowd = await self._task.locked(session, team_id)
            if crowd is None:
                return []
            ids = [one.id for one in await self._found(session, crowd, after, most)]
        before = after
        for order_id in ids:
            try:
                await self._book(team_id, before, 1)
            except Exception as error:
                if is_outage(error):
                    raise
                self._refused.add(team_id)
                cause = self._alarm_of(order_id)
                async with self._parts.db.begin() as session:
                    detail = {"order_id": order_id, "team_id": team_id, "why": describe(error)}
                    await raise_alarm(
                        session, cause, kind="not_booked", shard=crowd.shard, detail=detail
                    )
            before = order_id
        return ids

    def _alarm_of(self, order_id: str) -> str:
        return f"{self._task.name}:{order_id}"

    async def _book(self, team_id: str, after: str, most: int) -> list[str]:
        """Book up to `most` orders behind `after` in one transaction; which.

        A batch that holds all that were left ends the crowd's booking.
        """
        async with self._parts.db.begin() as session:
            crowd = await self._task.locked(session, team_id)
            if crowd is None:
                return []
            orders = await self._found(session, crowd, after, most)
            if orders:
                await self._write(session, crowd, orders)
                await end_alarm(session, *(self._alarm_of(order.id) for order in orders))
            if not after and len(orders) < most:
                await session.execute(self._task.done, {"id": team_id, "now": now_ms()})
                log.info("crowd %s: no order is %s any more", team_id, self._task.name)
        return [order.id for order in orders]

    async def _found(
        self, session: AsyncSession, crowd: Any, after: str, most: int
    ) -> Sequence[OrderNow]:
        given = {**self._task.given(crowd), "after": after, "limit": most}
        rows = await session.execute(self._orders, given)
        return [OrderNow(**row._mapping) for row in rows]

    async def _write(self, session: AsyncSession, crowd: Any, orders: Sequence[OrderNow]) -> None:
        book = Book(shard=crowd.shard, epoch=0, orders={order.claim_id: order for order in orders})
        book.intents = await intents_of(session, orders)
        for order in orders:
            self._task.book(book, crowd, order)
        await write_book(session, book)
