"""Which orders a decided team still has to book: HQ sees their number go down.

Its members wait for their split or refund; with the upgrade guarantee, other orders of a crowd's
SKU wait for its difference.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# Paid seats without a split; of a failed team those whose money is not on its way back either.
# `:stands` tells whether the team's orders stand: formed, or a crowd at the regular price.
TO_BOOK: Final = (
    "team_id = :team_id AND seat = 'taken' AND payment_id IS NOT NULL AND split_fen IS NULL"
    " AND (:stands OR state NOT IN ('refunding', 'refunded'))"
)
# With the guarantee: standing orders of the SKU's other group buys that were paid by the time the
# crowd formed, for more than its final price, and have not had a difference.
TO_GIVE: Final = (
    "offer_id IN (SELECT f.id FROM offers f WHERE f.campaign_id = :campaign_id"
    " AND f.sku_id = :sku_id AND f.kind IN ('regular', 'team'))"
    " AND payment_id IS NOT NULL AND paid_at_ms <= :formed_at_ms"
    " AND unit_price_fen > :final_fen AND final_price_fen IS NULL"
    " AND (team_id IS NULL OR (seat = 'taken' AND EXISTS"
    " (SELECT 1 FROM teams t WHERE t.id = orders.team_id AND t.state = 'formed')))"
)
# The parameters of TO_GIVE, of a crowd whose guarantee is due.
PROMISED: Final = (
    "SELECT t.shard, f.campaign_id, f.sku_id, t.decided_at_ms AS formed_at_ms,"
    " CAST(f.config -> 'team' -> 'steps' -> (t.step - 1) ->> 2 AS bigint) AS final_fen"
    " FROM teams t JOIN offers f ON f.id = t.offer_id WHERE t.id = :team_id AND t.guarantee_due"
)
_STANDS = text(
    "SELECT t.state = 'formed' OR coalesce(f.config -> 'team' ->> 'charging' = 'regular', false)"
    " FROM teams t JOIN offers f ON f.id = t.offer_id"
    " WHERE t.id = :team_id AND t.decided_at_ms IS NOT NULL AND t.booked_at_ms IS NULL"
)
_LEFT = text(f"SELECT count(*) FROM orders WHERE {TO_BOOK}")  # noqa: S608
_TO_GIVE = text(f"SELECT count(*) FROM orders WHERE {TO_GIVE}")  # noqa: S608
_PROMISED = text(PROMISED)


async def left_to_book(session: AsyncSession, team_id: str) -> int:
    """Orders that are still to be booked; 0 for a team that is undecided, or booked."""
    stands = await session.scalar(_STANDS, {"team_id": team_id})
    left = 0
    if stands is not None:
        left = await session.scalar(_LEFT, {"team_id": team_id, "stands": stands})
    owed = (await session.execute(_PROMISED, {"team_id": team_id})).mappings().one_or_none()
    if owed is not None:
        left += await session.scalar(_TO_GIVE, dict(owed))
    return left
