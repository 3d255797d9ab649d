"""Books decided crowds: splits when one formed, refunds when it failed; then its guarantee.

Both in bounded batches (passes.py), each on its own: an order of another offer that waits for its
difference holds up no member of the crowd.
"""

from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.team.booking import TO_BOOK
from engine.offers import TeamRules
from workers.guarantee import Covered
from workers.loop import Parts
from workers.passes import Passes
from workers.settle.book import Book, OrderNow
from workers.settle.booking import book_difference, book_failed, book_standing

# Locked like the settler does, teams before orders: one crowd is booked by one worker at a time.
_CROWD = text(
    "SELECT t.id, t.shard, t.state, t.step, t.decided_at_ms, f.config -> 'team' AS rules"
    " FROM teams t JOIN offers f ON f.id = t.offer_id WHERE t.id = :id"
    " AND t.decided_at_ms IS NOT NULL AND t.booked_at_ms IS NULL FOR NO KEY UPDATE OF t"
)


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


class Members:
    """The crowd's own orders: split with their difference, or refunded."""

    name = "not_booked"
    waiting = text(
        "SELECT id FROM teams WHERE kind = 'crowd' AND decided_at_ms IS NOT NULL"
        " AND booked_at_ms IS NULL ORDER BY decided_at_ms, id LIMIT :limit"
    )
    left = TO_BOOK
    done = text("UPDATE teams SET booked_at_ms = :now WHERE id = :id")

    async def locked(self, session: AsyncSession, team_id: str) -> Crowd | None:
        """A decided crowd that is not booked."""
        row = (await session.execute(_CROWD, {"id": team_id})).mappings().one_or_none()
        return None if row is None else msgspec.convert(dict(row), Crowd)

    def given(self, crowd: Crowd) -> dict[str, Any]:
        """As TO_BOOK names them."""
        return {"team_id": crowd.id, "stands": not crowd.refunds}

    def book(self, book: Book, crowd: Crowd, order: OrderNow) -> None:
        """One member."""
        if crowd.refunds:
            book_failed(book, order)
            return
        book_standing(book, order, crowd.decided_at_ms)
        if crowd.final_fen is not None:
            book_difference(book, order, crowd.final_fen)


class CrowdBooks:
    """The turns of one process."""

    def __init__(self, parts: Parts) -> None:
        self._passes = (Passes(parts, Members()), Passes(parts, Covered()))

    async def run_once(self) -> int:
        """A batch of each waiting crowd, of members and of others; how many were looked at."""
        return sum([await one.run_once() for one in self._passes])
