"""The upgrade guarantee: a formed crowd's difference for standing orders of its SKU and campaign.

Covered are orders of `regular` and `team` offers that were paid by the time at which the crowd
formed. Those that stand by then are found here; one whose team forms later gets its difference
from the settler when it does. The settler sees both facts in the stream's order, and the second
one sees the first, so nobody falls between; nobody gets two, since an order with a final price
has had its difference.
"""

from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.team.booking import PROMISED, TO_GIVE
from workers.settle.book import Book, OrderNow
from workers.settle.booking import book_difference

_FORMED = text(f"{PROMISED} FOR NO KEY UPDATE OF t")


class Formed(msgspec.Struct, frozen=True):
    """A formed crowd, and which orders it promised its final price."""

    shard: int
    campaign_id: str
    sku_id: str
    formed_at_ms: int
    final_fen: int


class Covered:
    """The orders that it covers."""

    name = "no_difference"
    waiting = text(
        "SELECT id FROM teams WHERE guarantee_due ORDER BY decided_at_ms, id LIMIT :limit"
    )
    left = TO_GIVE
    done = text("UPDATE teams SET guarantee_due = false WHERE id = :id")

    async def locked(self, session: AsyncSession, team_id: str) -> Formed | None:
        """A formed crowd that still owes its difference."""
        row = (await session.execute(_FORMED, {"team_id": team_id})).mappings().one_or_none()
        return None if row is None else Formed(**row)

    def given(self, crowd: Formed) -> dict[str, Any]:
        """As TO_GIVE names them."""
        names = ("campaign_id", "sku_id", "formed_at_ms", "final_fen")
        return {name: getattr(crowd, name) for name in names}

    def book(self, book: Book, crowd: Formed, order: OrderNow) -> None:
        """One covered order."""
        book_difference(book, order, crowd.final_fen, "upgrade_guarantee")
