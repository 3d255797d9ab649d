"""The goods are there: a store's orders of an offer become `ready`, each with its pick-up.

Only orders that stand: of formed teams, or paid ones of a regular sale. They go in bounded
transactions, each with its audit row, so that a crowd of thousands holds no lock for long; asked
again, nothing happens twice.
"""

from typing import Any, Final

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.fulfilment.schemas import ReadyIn, ReadyOut
from campaigns.fulfilment.states import MOVES, STOCKED
from campaigns.fulfilment.stocking import STORE, STORE_NOW, UNITS, store_of
from campaigns.offer.models import Offer
from campaigns.people.models import Store
from campaigns.team.models import Team
from engine.db import Database
from engine.errors import Conflict, Missing
from engine.ids import now_ms
from engine.tokens import Access

# Locked by id, as everybody locks orders. Who waited for a lock still sees pick-ups and refunds as
# they were before: only the statement behind it (`_MOVE`) may say where and how many.
_NEXT: Final = text(
    f"""
    SELECT o.id FROM orders o LEFT JOIN pick_ups p ON p.order_id = o.id
    WHERE o.offer_id = :offer_id AND o.claim_state = 'paid' AND o.state = 'paid'
      AND o.split_fen IS NOT NULL AND {STORE} = :store_id AND {UNITS} > 0
    ORDER BY o.id LIMIT :limit FOR UPDATE OF o
    """  # noqa: S608
)
_MOVE: Final = text(
    f"""
    WITH moved AS (
      UPDATE orders o SET state = :state WHERE o.id = ANY(CAST(:ids AS text[]))
        AND o.state = 'paid' AND {STORE_NOW} = :store_id AND {UNITS} > 0
      RETURNING o.id, {UNITS} AS units
    ), picked AS (
      INSERT INTO pick_ups (order_id, store_id, chosen_by, ready_at_ms, ready_by)
      SELECT id, :store_id, '', :now, :actor FROM moved
      ON CONFLICT (order_id) DO UPDATE SET ready_at_ms = :now, ready_by = :actor
    )
    SELECT count(*), CAST(coalesce(sum(units), 0) AS bigint) FROM moved
    """  # noqa: S608
)
_REST: Final = text(
    f"""
    SELECT count(*) FILTER (WHERE o.state = 'paid' AND o.split_fen IS NULL) AS undecided,
           count(*) FILTER (WHERE o.state IN ('ready', 'fulfilled', 'completed')) AS done
    FROM orders o LEFT JOIN pick_ups p ON p.order_id = o.id
    WHERE o.offer_id = :offer_id AND o.claim_state = 'paid' AND {STORE} = :store_id
    """  # noqa: S608
)


async def make_ready(db: Database, who: Access, wanted: ReadyIn, *, batch_max: int) -> ReadyOut:
    """Make all that can be ready, ready. Missing `offer_not_found`, `store_not_found`.

    A guide's store is the one they work in. Conflict `not_stocked` (a flash is handed over
    otherwise), `not_formed`, `still_booking`, `nothing_to_stock`: then nothing was changed.
    """
    async with db.begin() as session:
        await _check(session, who, wanted)
        rest = (await session.execute(_REST, _about(wanted))).one()
    orders = units = 0
    while True:
        found, moved, pieces = await _batch(db, who, wanted, batch_max)
        orders, units = orders + moved, units + pieces
        if found < batch_max:
            break
    if not orders and not rest.done:
        raise _nothing(rest.undecided)
    return ReadyOut(
        offer_id=wanted.offer_id,
        store_id=wanted.store_id,
        orders=orders,
        units=units,
        undecided=rest.undecided,
    )


def _about(wanted: ReadyIn) -> dict[str, Any]:
    return {"offer_id": wanted.offer_id, "store_id": wanted.store_id}


async def _check(session: AsyncSession, who: Access, wanted: ReadyIn) -> None:
    foreign = who.role != "hq" and await store_of(session, who) != wanted.store_id
    if foreign or await session.get(Store, wanted.store_id) is None:
        raise Missing("store_not_found", "There is no such store of yours.", "Look at your list.")
    offer = await session.get(Offer, wanted.offer_id)
    if offer is None:
        raise Missing("offer_not_found", "There is no such offer.", "Look at the stocking list.")
    if offer.kind not in STOCKED:
        raise Conflict(
            "not_stocked",
            f"A {offer.kind} offer has no stocking list.",
            "Its goods are in the stores before the sale. Nothing was changed.",
        )
    if offer.kind == "crowd":
        await _check_crowd(session, offer.id)


async def _check_crowd(session: AsyncSession, offer_id: str) -> None:
    """Half a crowd is not made ready: not before it is decided, nor while it is being booked."""
    crowd = await session.scalar(select(Team).where(Team.offer_id == offer_id))
    if crowd is None or crowd.decided_at_ms is None:
        state = crowd.state if crowd else "forming"
        raise Conflict(
            "not_formed",
            "This crowd is not formed yet.",
            f"It is {state}, and its buyers may still all get their money back. "
            "Nothing was changed.",
            state=state,
        )
    if crowd.booked_at_ms is None:
        raise Conflict(
            "still_booking",
            "This crowd is being booked.",
            "Nothing was changed. Try again in a moment.",
        )


async def _batch(db: Database, who: Access, wanted: ReadyIn, limit: int) -> tuple[int, int, int]:
    """Orders found, orders made ready and their units, in one transaction."""
    about = _about(wanted)
    async with db.begin() as session:
        ids = (await session.scalars(_NEXT, {**about, "limit": limit})).all()
        if not ids:
            return 0, 0, 0
        moved, units = (
            await session.execute(
                _MOVE,
                {
                    "ids": list(ids),
                    "store_id": wanted.store_id,
                    "state": MOVES["paid", "ready"],
                    "now": now_ms(),
                    "actor": who.subject,
                },
            )
        ).one()
        record_change(
            session,
            who.subject,
            "fulfilment.ready",
            f"offer:{wanted.offer_id}",
            store_id=wanted.store_id,
            orders=moved,
            units=units,
        )
    return len(ids), moved, units


def _nothing(undecided: int) -> Conflict:
    if undecided:
        return Conflict(
            "not_formed",
            "No team of this store is formed yet.",
            f"{undecided} paid orders wait for theirs. Nothing was changed.",
            undecided=undecided,
        )
    return Conflict(
        "nothing_to_stock",
        "No order of this offer is picked up in this store.",
        "Nothing was changed. Look at the stocking list.",
    )
