"""One order on its way to its customer: which store, and handing it over, once.

Whoever changes an order here holds its row lock, as refunds do: units that were asked back are
not handed over, and once it is handed over none go back on sale.
"""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.fulfilment.codes import PickUpCodes, read_code
from campaigns.fulfilment.models import PickUp
from campaigns.fulfilment.schemas import PickUpOut, PickUpView
from campaigns.fulfilment.states import STOCKED, move
from campaigns.fulfilment.stocking import store_of
from campaigns.fulfilment.views import Found, find, load, shown
from campaigns.offer.models import STORES_FIELD
from campaigns.people.models import Store
from campaigns.sku.models import Sku
from engine.db import Database
from engine.errors import Conflict, Gone, Missing, Unprocessable
from engine.ids import now_ms
from engine.tokens import Access


async def choose_store(
    db: Database, codes: PickUpCodes, who: Access, order_id: str, store_id: str
) -> PickUpView:
    """Fetch it there. Missing `order_not_found`, `store_not_found` (or it does not sell this).

    Conflict `order_state` once the goods are somewhere, `not_stocked` for a flash.
    """
    async with db.begin() as session:
        found = await find(session, who, order_id, lock=True)
        if found.offer.kind not in STOCKED:
            raise Conflict(
                "not_stocked", "This order is not picked up later.", "Nothing was changed."
            )
        selling = found.offer.config.get(STORES_FIELD) or [store_id]
        store = await session.get(Store, store_id) if store_id in selling else None
        if store is None:
            raise Missing(
                "store_not_found",
                "There is no such store, or it does not sell this.",
                "Nothing was changed. Choose another store.",
            )
        move(found.order.state, "choose")
        before = found.store.id if found.store else None
        pick_up = found.pick_up
        if pick_up is None:
            pick_up = PickUp(order_id=order_id, store_id=store_id, chosen_by=who.subject)
            session.add(pick_up)
        elif pick_up.store_id != store_id:
            pick_up.store_id, pick_up.chosen_by = store_id, who.subject
        if who.role == "hq" and before != store_id:
            record_change(
                session,
                who.subject,
                "fulfilment.store",
                f"order:{order_id}",
                store_id=store_id,
                before=before,
            )
        await session.flush()
        return shown(found._replace(pick_up=pick_up, store=store), codes, who)


async def hand_over(db: Database, codes: PickUpCodes, who: Access, text: str) -> PickUpOut:
    """Hand over what this code stands for, once. Every wrong code of a store counts.

    Unprocessable `wrong_code`, Gone `code_expired`, TooMany `too_many_tries`; Conflict
    `no_store`, `other_store`, `already_handed_over` (with when), `order_state`, `nothing_left`.
    """
    async with db.begin() as session:
        store_id = await store_of(session, who)
    if store_id is None:
        raise Conflict(
            "no_store", "You work in no store at the moment.", "Ask HQ to enter where you work."
        )
    await codes.take_try(store_id)
    order_id, to_store_id = await _judge(db, codes, text)
    await codes.give_try_back(store_id)
    async with db.begin() as session:
        if to_store_id != store_id:
            raise await _other_store(session, to_store_id)
        found = await load(session, order_id, lock=True)
        assert found is not None
        return await _hand_over(session, who, found)


async def _judge(db: Database, codes: PickUpCodes, text: str) -> tuple[str, str]:
    """The order and the store of a right code."""
    read = read_code(text)
    async with db.begin() as session:
        pick_up = (
            await session.scalar(
                select(PickUp).where(PickUp.serial == read[0], PickUp.ready_at_ms.is_not(None))
            )
            if read
            else None
        )
    judged = "wrong"
    if read is not None and pick_up is not None:
        judged = codes.judge(read[1], pick_up.order_id, pick_up.store_id, now_ms())
    if judged == "expired":
        raise Gone(
            "code_expired",
            "This pick-up code is too old.",
            "Nothing was handed over. Let the customer open the order: it shows a fresh code.",
        )
    if judged == "wrong" or pick_up is None:
        raise Unprocessable(
            "wrong_code",
            "This is no pick-up code.",
            "Nothing was handed over. Scan it again, or type it as the customer's order shows it.",
        )
    return pick_up.order_id, pick_up.store_id


async def _other_store(session: AsyncSession, store_id: str) -> Conflict:
    store = await session.get_one(Store, store_id)
    return Conflict(
        "other_store",
        "This order is picked up in another store.",
        f"It waits in {store.name} ({store_id}). Nothing was handed over here.",
        store_id=store_id,
    )


async def _hand_over(session: AsyncSession, who: Access, found: Found) -> PickUpOut:
    order, pick_up = found.order, found.pick_up
    assert pick_up is not None
    if pick_up.fulfilled_at_ms is not None:
        raise Conflict(
            "already_handed_over",
            "This order was handed over already.",
            "Nothing more is due for it. If the customer has nothing, ask who handed it over.",
            order_id=order.id,
            fulfilled_at_ms=pick_up.fulfilled_at_ms,
            fulfilled_by=pick_up.fulfilled_by,
            units=pick_up.units,
        )
    after = move(order.state, "hand_over")
    if found.units <= 0:  # HQ may give back all units for less than was paid
        raise Conflict(
            "nothing_left",
            "All units of this order were given back.",
            "Nothing was handed over.",
            order_id=order.id,
        )
    order.state = after
    pick_up.units, pick_up.fulfilled_by = found.units, who.subject
    pick_up.fulfilled_at_ms = now_ms()
    record_change(
        session,
        who.subject,
        "fulfilment.hand_over",
        f"order:{order.id}",
        store_id=pick_up.store_id,
        units=found.units,
    )
    sku = await session.get_one(Sku, found.offer.sku_id)
    return PickUpOut(
        order_id=order.id,
        offer_id=order.offer_id,
        sku_id=sku.id,
        sku_name=sku.name,
        units=found.units,
        fulfilled_at_ms=pick_up.fulfilled_at_ms,
    )
