"""Books decided crowds: splits when one formed, refunds when it failed, a bounded batch at a time.

A crowd may have ten thousand members, too many for the settler's transaction, which only writes
its decision. Each batch is one transaction on locked orders and says by what it wrote which ones
are done, so a crash anywhere repeats nothing. A member that cannot be booked raises an alarm and
holds up nobody else.
"""

import logging
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.team.booking import TO_BOOK
from engine.ids import now_ms
from engine.offers import TeamRules
from workers.alarms import end_alarm, raise_alarm
from workers.loop import Parts, describe, is_outage
from workers.settle.book import Book, OrderNow
from workers.settle.booking import book_difference, book_failed, book_standing
from workers.settle.load import ORDER_COLUMNS, intents_of
from workers.settle.write import write_book

log = logging.getLogger(__name__)

_WAITING = text(
    "SELECT id FROM teams WHERE kind = 'crowd' AND decided_at_ms IS NOT NULL"
    " AND booked_at_ms IS NULL ORDER BY decided_at_ms, id LIMIT :limit"
)
# Locked like the settler does, teams before orders: one crowd is booked by one worker at a time.
_CROWD = text(
    "SELECT t.id, t.shard, t.state, t.step, t.decided_at_ms, f.config -> 'team' AS rules"
    " FROM teams t JOIN offers f ON f.id = t.offer_id WHERE t.id = :id"
    " AND t.decided_at_ms IS NOT NULL AND t.booked_at_ms IS NULL FOR NO KEY UPDATE OF t"
)
_MEMBERS = text(
    f"SELECT {ORDER_COLUMNS} FROM orders WHERE {TO_BOOK} AND id > :after"  # noqa: S608
    " ORDER BY id LIMIT :limit FOR UPDATE"
)
_BOOKED = text("UPDATE teams SET booked_at_ms = :now WHERE id = :id")


class Crowd(msgspec.Struct, frozen=True):
    """A decided crowd that waits; its order stands unless `refunds`."""

    id: str
    shard: int
    state: str
    step: int
    decided_at_ms: int
    rules: TeamRules

    @property
    def refunds(self) -> bool:
        """A failed crowd gives the money back, unless everybody paid the regular price."""
        return self.state == "failed" and self.rules.charging != "regular"

    @property
    def final_fen(self) -> int | None:
        """The price of the highest step, once formed."""
        return self.rules.steps[self.step - 1][2] if self.state == "formed" else None


class CrowdBooks:
    """The turns of one process; it remembers how far each crowd's present pass has come."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._after: dict[str, str] = {}
        self._refused: set[str] = set()  # crowds with a member that could not be booked
        self._rests_until_ms: dict[str, int] = {}  # after a pass with such a one

    async def run_once(self) -> int:
        """A batch of each waiting crowd; how many orders were looked at."""
        limit = self._parts.settings.outside_batch_max
        async with self._parts.db.begin() as session:
            waiting = list(await session.scalars(_WAITING, {"limit": limit}))
        self._after = {one: after for one, after in self._after.items() if one in waiting}
        now, rests = now_ms(), self._rests_until_ms
        self._rests_until_ms = {one: rests[one] for one in waiting if rests.get(one, 0) > now}
        due = [team_id for team_id in waiting if team_id not in self._rests_until_ms]
        return sum([await self._batch(team_id) for team_id in due])

    async def _batch(self, team_id: str) -> int:
        """The pass's next batch; how many members it looked at."""
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
            crowd = await _locked(session, team_id)
            if crowd is None:
                return []
            ids = [one.id for one in await _members(session, crowd, after, most)]
        before = after
        for order_id in ids:
            cause = f"not_booked:{order_id}"
            try:
                await self._book(team_id, before, 1, ends=cause)
            except Exception as error:
                if is_outage(error):
                    raise
                self._refused.add(team_id)
                async with self._parts.db.begin() as session:
                    detail = {"order_id": order_id, "team_id": team_id, "why": describe(error)}
                    await raise_alarm(
                        session, cause, kind="not_booked", shard=crowd.shard, detail=detail
                    )
            before = order_id
        return ids

    async def _book(self, team_id: str, after: str, most: int, *, ends: str = "") -> list[str]:
        """Book up to `most` members behind `after` in one transaction; which.

        A batch that holds all that were left ends the crowd's booking.
        """
        async with self._parts.db.begin() as session:
            crowd = await _locked(session, team_id)
            if crowd is None:
                return []
            members = await _members(session, crowd, after, most)
            if members:
                await _book_members(session, crowd, members)
            if not after and len(members) < most:
                await session.execute(_BOOKED, {"id": team_id, "now": now_ms()})
                log.info("crowd %s is booked", team_id)
            if ends:
                await end_alarm(session, ends)
        return [order.id for order in members]


async def _locked(session: AsyncSession, team_id: str) -> Crowd | None:
    row = (await session.execute(_CROWD, {"id": team_id})).mappings().one_or_none()
    return None if row is None else msgspec.convert(dict(row), Crowd)


async def _members(
    session: AsyncSession, crowd: Crowd, after: str, most: int
) -> Sequence[OrderNow]:
    given: dict[str, Any] = {"team_id": crowd.id, "stands": not crowd.refunds}
    rows = await session.execute(_MEMBERS, {**given, "after": after, "limit": most})
    return [OrderNow(**row._mapping) for row in rows]


async def _book_members(session: AsyncSession, crowd: Crowd, orders: Sequence[OrderNow]) -> None:
    book = Book(shard=crowd.shard, epoch=0, orders={order.claim_id: order for order in orders})
    book.intents = await intents_of(session, orders)
    for order in orders:
        if crowd.refunds:
            book_failed(book, order)
            continue
        book_standing(book, order, crowd.decided_at_ms)
        if crowd.final_fen is not None:
            book_difference(book, order, crowd.final_fen)
    await write_book(session, book)
