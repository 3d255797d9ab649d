"""What is known of an order on its way to its customer, and what is shown of it."""

from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.fulfilment.codes import PickUpCodes
from campaigns.fulfilment.models import PickUp
from campaigns.fulfilment.schemas import PickUpStore, PickUpView
from campaigns.fulfilment.states import STOCKED
from campaigns.fulfilment.stocking import DAY_MS
from campaigns.offer.models import READY_FIELD, Offer
from campaigns.order.models import Order
from campaigns.order.service import missing_order
from campaigns.people.models import Store
from campaigns.refund.models import Refund
from campaigns.team.models import Team
from engine.db import Database
from engine.ids import now_ms
from engine.ledger.splits import from_snapshot
from engine.tokens import Access

_BACK: Final = ("refunding", "refunded")


class Found(NamedTuple):
    """An order with all that is shown of its way; `units` are those not asked back."""

    order: Order
    offer: Offer
    pick_up: PickUp | None
    store: Store | None
    team: Team | None
    units: int


async def view(db: Database, codes: PickUpCodes, who: Access, order_id: str) -> PickUpView:
    """Missing `order_not_found`, also when it is another's. Only the customer sees the code."""
    async with db.begin() as session:
        return shown(await find(session, who, order_id), codes, who)


async def find(session: AsyncSession, who: Access, order_id: str, *, lock: bool = False) -> Found:
    """The order of who asks, or any for HQ; Missing `order_not_found`."""
    found = await load(session, order_id, lock=lock)
    if found is None or (who.role != "hq" and found.order.buyer_id != who.subject):
        raise missing_order()
    return found


async def load(session: AsyncSession, order_id: str, *, lock: bool) -> Found | None:
    """Whoever is to change it locks it: everything else is read after that."""
    query = select(Order).where(Order.id == order_id)
    order = await session.scalar(query.with_for_update() if lock else query)
    offer = await session.get(Offer, order.offer_id) if order else None
    if order is None or offer is None:
        return None
    pick_up = await session.get(PickUp, order_id)
    _, credit = from_snapshot(order.credit)
    store_id = pick_up.store_id if pick_up else credit.store_id
    asked_back = await session.scalar(
        select(func.coalesce(func.sum(Refund.units), 0)).where(
            Refund.payment_id == order.payment_id
        )
    )
    return Found(
        order=order,
        offer=offer,
        pick_up=pick_up,
        store=await session.get(Store, store_id) if store_id else None,
        team=await session.get(Team, order.team_id) if order.team_id else None,
        units=order.qty - int(asked_back or 0),
    )


def shown(found: Found, codes: PickUpCodes, who: Access) -> PickUpView:
    """What `who` may see of it: the code is its customer's alone."""
    order, pick_up, store = found.order, found.pick_up, found.store
    stands = order.split_fen is not None
    days = int(found.offer.config.get(READY_FIELD) or 0)
    since_ms = order.paid_at_ms
    if order.team_id is not None:
        since_ms = found.team.decided_at_ms if found.team else None
    code = None
    if order.state == "ready" and pick_up is not None and who.subject == order.buyer_id:
        code = codes.show(pick_up.serial, order.id, pick_up.store_id, now_ms())
    return PickUpView(
        order_id=order.id,
        state=order.state,
        stands=stands,
        store=PickUpStore(store.id, store.name, store.city, store.address) if store else None,
        units=found.units if pick_up is None or pick_up.units is None else pick_up.units,
        ready_after_days=days,
        expected_from_ms=since_ms + days * DAY_MS if stands and since_ms is not None else None,
        ready_at_ms=pick_up.ready_at_ms if pick_up else None,
        fulfilled_at_ms=pick_up.fulfilled_at_ms if pick_up else None,
        code=code.code if code else None,
        code_expires_at_ms=code.expires_at_ms if code else None,
        says=_says(found, stands, days),
    )


def _says(found: Found, stands: bool, days: int) -> str:
    """In a sentence or two."""
    order, pick_up = found.order, found.pick_up
    where = f" in {found.store.name}" if found.store else ""
    if pick_up is not None and pick_up.fulfilled_at_ms is not None:
        return "It was handed over."
    if order.state in _BACK or found.units <= 0:
        return "There is nothing to pick up: it was given back."
    if order.state == "ready":
        return f"It is there: show or read out the code{where}."
    if order.state != "paid":
        return "There is nothing to pick up."
    if found.offer.kind not in STOCKED:
        return "Nothing has to be stocked for it."
    if not stands:
        return f"It is {_after(days)} once its team is formed. If it fails, you are refunded."
    if not where:
        return f"It is {_after(days)}. Choose the store where you want to pick it up."
    return f"It is {_after(days)}{where}; this page then shows the pick-up code."


def _after(days: int) -> str:
    if days == 0:
        return "ready the same day"
    return "ready about a day later" if days == 1 else f"ready about {days} days later"
