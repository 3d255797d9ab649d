"""Teams whose campaign was cancelled: they close before their deadline, in bounded batches.

Which they are is read from the rows, so a store that was lost is told again. Held seats are let
go at once; who is paying has the time that they were given. Where the campaign honours what was
paid, the merchant fills the missing seats.
"""

from sqlalchemy import Select, select, text

from campaigns.order.models import Order
from campaigns.team.honour import honour_seat
from engine.db import Database
from engine.teams import Teams
from workers.loop import Parts, each

_OPEN = text(
    "SELECT t.id FROM offers f JOIN teams t ON t.offer_id = f.id WHERE f.shard = :shard"
    " AND f.state = 'cancelled' AND t.decided_at_ms IS NULL AND t.state <> 'closing'"
    " AND t.id > :after ORDER BY t.id LIMIT :limit"
)


class CancelledTeams:
    """The walk through them; it remembers where it was left on each shard."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._after: dict[int, str] = {}

    async def due(self, shard: int) -> list[str]:
        """The next ones that have not begun to close; their held seats have been let go."""
        limit = self._parts.settings.team_batch_max
        given = {"shard": shard, "after": self._after.pop(shard, ""), "limit": limit}
        async with self._parts.db.begin() as session:
            found = list(await session.scalars(_OPEN, given))
            held = list(await session.scalars(self._held(found))) if found else []
        if len(found) == limit:  # so that teams which still wait do not stand before others
            self._after[shard] = found[-1]
        await each(held, lambda claim_id: self._let_go(shard, claim_id))
        return found

    def _held(self, team_ids: list[str]) -> Select[str]:
        """Claims that have their order, so that no hold ends before it exists."""
        return (
            select(Order.claim_id)
            .where(Order.team_id.in_(team_ids), Order.seat == "taken", Order.claim_state == "held")
            .order_by(Order.claim_id)
            .limit(self._parts.settings.team_unpaid_max)
        )

    async def _let_go(self, shard: int, claim_id: str) -> None:
        # Who began to pay meanwhile keeps the seat: the script lets only a held one go.
        await self._parts.inventory.release(
            shard, claim_id, attempt_id="", why="campaign_cancelled"
        )


async def honour(db: Database, teams: Teams, shard: int, team_id: str) -> None:
    """Fill the missing seats of a team that is honoured, one after the other; it forms."""
    while True:
        team = await teams.state(shard, team_id)
        if team.get("state") != "closing":
            return
        if await honour_seat(db, teams, shard, team_id, int(team["subsidy"])) != "subsidised":
            return
