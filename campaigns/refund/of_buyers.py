"""What buyers ask back: as anybody's refund, and nobody leaves a crowd that has been reached.

The rows are behind the hot store: a threshold may have latched that is not settled yet. So the hot
store is asked, within the request and before its intent is written, and that answer is the instant
at which the request counts. Before the latch it stands, however late its row is committed: like
any later refund it undoes no step, and its units get no difference. From the latch on it is
refused. Who repeats a request has the answer of the first one. While the hot store cannot say,
nobody leaves: 503, nothing is written.
"""

from sqlalchemy import select

from campaigns.order.models import Order
from campaigns.refund.models import Refund
from campaigns.refund.service import cause_of, crowd_reached, request_refund
from campaigns.team.models import UNDECIDED, Team
from engine.db import Database
from engine.ids import now_ms
from engine.shards import reopening
from engine.teams import Teams


async def request_own_refund(
    db: Database, teams: Teams, *, order_id: str, request_id: str, units: int, buyer_id: str
) -> Refund:
    """`request_refund` for the buyer; its errors, and Unavailable `reopening` in a crowd."""
    asked_at_ms = now_ms()  # before the hot store says so: a law compares it with the latch
    crowd = await _open_crowd(db, order_id, request_id, buyer_id)
    if crowd is not None:
        await _still_forming(teams, crowd)
    return await request_refund(
        db,
        order_id=order_id,
        request_id=request_id,
        units=units,
        amount_fen=None,
        actor=buyer_id,
        buyer_id=buyer_id,
        asked_at_ms=asked_at_ms,
    )


async def _open_crowd(db: Database, order_id: str, request_id: str, buyer_id: str) -> Team | None:
    """The crowd, undecided by the rows, that the order sits in, unless the request is known."""
    known = select(Refund.id).where(
        Refund.payment_id == Order.payment_id, Refund.cause == cause_of(request_id)
    )
    query = (
        select(Team)
        .join(Order, Order.team_id == Team.id)
        .where(Order.id == order_id, Order.buyer_id == buyer_id, Order.seat == "taken")
        .where(Team.kind == "crowd", Team.state.in_(UNDECIDED), ~known.exists())
    )
    async with db.begin() as session:
        found: Team | None = await session.scalar(query)
    return found


async def _still_forming(teams: Teams, crowd: Team) -> None:
    reply = await teams.look(crowd.shard, crowd.id)
    if reply.what != "team":
        raise reopening()
    state, step = reply.details
    if int(step) and state in UNDECIDED:
        raise crowd_reached(crowd.deadline_ms)
