"""How far the money of a decided team is, for HQ: orders still to book, refunds still due.

A crowd of ten thousand takes a while within the provider's rates; what hangs is seen by its age
and tries, and holds up nobody else.
"""

from sqlalchemy import RowMapping, text

from campaigns.team.booking import left_to_book
from campaigns.team.hot import missing_team
from campaigns.team.models import Team
from campaigns.team.schemas import TeamProgress
from engine.db import Database
from engine.ids import now_ms

_REFUNDS = text(
    "SELECT count(*) FILTER (WHERE r.state = 'due') AS due,"
    " count(*) FILTER (WHERE r.state = 'done') AS done,"
    " coalesce(sum(r.amount_fen) FILTER (WHERE r.state = 'due'), 0) AS due_fen,"
    " coalesce(sum(r.amount_fen) FILTER (WHERE r.state = 'done'), 0) AS done_fen,"
    " min(r.created_at_ms) FILTER (WHERE r.state = 'due') AS oldest_at_ms,"
    " coalesce(max(r.tries) FILTER (WHERE r.state = 'due'), 0) AS tries"
    " FROM orders o JOIN refunds r ON r.order_id = o.id WHERE o.team_id = :team_id"
    " AND o.seat = 'taken' AND r.cause IN ('team_failed', 'crowd_difference')"
)


async def team_progress(db: Database, team_id: str) -> TeamProgress:
    """As settled; Missing `team_not_found`."""
    async with db.begin() as session:
        team = await session.get(Team, team_id) if "\0" not in team_id else None
        if team is None:
            raise missing_team()
        to_book = await left_to_book(session, team_id)
        refunds: RowMapping = (
            (await session.execute(_REFUNDS, {"team_id": team_id})).mappings().one()
        )
    oldest = refunds["oldest_at_ms"]
    return TeamProgress(
        team_id=team_id,
        state=team.state,
        why=team.why,
        decided_at_ms=team.decided_at_ms,
        booked_at_ms=team.booked_at_ms,
        to_book=to_book,
        refunds_due=refunds["due"],
        refunds_done=refunds["done"],
        due_fen=int(refunds["due_fen"]),
        done_fen=int(refunds["done_fen"]),
        oldest_due_ms=now_ms() - oldest if oldest is not None else None,
        tries_max=refunds["tries"],
    )
