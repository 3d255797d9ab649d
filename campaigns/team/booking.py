"""How many members of a decided team still wait for their split or refund: HQ sees it go down."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# Paid seats without a split; of a failed team those whose money is not on its way back either.
# `:stands` tells whether the team's orders stand: formed, or a crowd at the regular price.
TO_BOOK: Final = (
    "team_id = :team_id AND seat = 'taken' AND payment_id IS NOT NULL AND split_fen IS NULL"
    " AND (:stands OR state NOT IN ('refunding', 'refunded'))"
)
_STANDS = text(
    "SELECT t.state = 'formed' OR coalesce(f.config -> 'team' ->> 'charging' = 'regular', false)"
    " FROM teams t JOIN offers f ON f.id = t.offer_id"
    " WHERE t.id = :team_id AND t.decided_at_ms IS NOT NULL AND t.booked_at_ms IS NULL"
)
_LEFT = text(f"SELECT count(*) FROM orders WHERE {TO_BOOK}")  # noqa: S608


async def left_to_book(session: AsyncSession, team_id: str) -> int:
    """Orders that are still to be booked; 0 for a team that is undecided, or booked."""
    stands = await session.scalar(_STANDS, {"team_id": team_id})
    if stands is None:
        return 0
    left = await session.scalar(_LEFT, {"team_id": team_id, "stands": stands})
    return int(left or 0)
