"""The parts of a room's state, made from PostgreSQL and the hot stock: how its log begins anew.

Each value is the JSON of a topic event (engine/room_events.py). Stock and state of an offer come
from the hot store; where it has none (not opened yet, or not reachable) from what was settled.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.offer.models import Offer
from campaigns.people.models import Guide, Store
from campaigns.room.models import Room, RoomCommand
from campaigns.room.team_parts import offer_teams, team_card
from campaigns.sku.models import Sku
from engine.db import Database
from engine.errors import Missing, Unavailable
from engine.ids import now_ms
from engine.inventory import Inventory, OfferConfig
from engine.room_events import (
    AnyTopicEvent,
    Host,
    OfferNow,
    OfferStateWord,
    OfferTeams,
    Pin,
    Price,
    RoomNow,
    RoomStateWord,
    RoomStore,
    Shelf,
    Stock,
    encode,
    part_of,
    room_topic,
    without_personal,
)
from engine.rooms import Log, RoomLogs


class ShelfOffer(NamedTuple):
    """An offer as a room shows it; `stock` is None before it was opened, `teams` also of a sale
    without any."""

    shard: int
    card: OfferNow
    stock: Stock | None
    teams: OfferTeams | None = None

    @property
    def events(self) -> list[AnyTopicEvent]:
        """What a room's state has of it."""
        return [one for one in (self.card, self.stock, self.teams) if one is not None]


def missing_room() -> Missing:
    """No such room."""
    return Missing("room_not_found", "There is no such room.", "Look at the list of rooms.")


async def room_parts(session: AsyncSession, inventory: Inventory, room_id: str) -> dict[str, str]:
    """part → JSON text of everything the room's state consists of; Missing `room_not_found`."""
    room = await session.get(Room, room_id, populate_existing=True)
    if room is None:
        raise missing_room()
    events: list[AnyTopicEvent] = [await room_event(session, room), shelf_event(room)]
    events.append(pin_event(room))
    for offer in await shelf_offers(session, inventory, room.shelf):
        events += offer.events
    return {part_of(event): encode(event) for event in events}


async def room_event(session: AsyncSession, room: Room) -> RoomNow:
    """What the room is now."""
    guide = await session.get_one(Guide, room.host_guide_id)
    store = await session.get_one(Store, room.store_id)
    return RoomNow(
        at_ms=now_ms(),
        room_id=room.id,
        title=without_personal(room.title),
        state=msgspec.convert(room.state, RoomStateWord),
        host=Host(guide.id, without_personal(guide.name)),
        store=RoomStore(store.id, without_personal(store.name)),
        starts_at_ms=room.starts_at_ms,
    )


def shelf_event(room: Room) -> Shelf:
    """What is on the shelf now."""
    return Shelf(at_ms=now_ms(), offers=tuple(room.shelf))


def pin_event(room: Room) -> Pin:
    """What the host shows now."""
    return Pin(at_ms=now_ms(), offer_id=room.pin)


async def shelf_offers(
    session: AsyncSession, inventory: Inventory, offer_ids: Sequence[str]
) -> list[ShelfOffer]:
    """These offers in this order, as they are now; unknown ids are left out."""
    asked = (
        select(Offer, Sku)
        .join(Sku, Sku.id == Offer.sku_id)
        .where(Offer.id.in_(offer_ids))
        .execution_options(populate_existing=True)
    )
    rows = {offer.id: (offer, sku) for offer, sku in await session.execute(asked)}
    found = [rows[one] for one in offer_ids if one in rows]
    hot = await hot_offers(inventory, [(offer.shard, offer.id) for offer, _ in found])
    listed = []
    for offer, sku in found:
        fields = hot.get(offer.id, {})
        stock = hot_stock(offer.id, fields) if fields else _settled_stock(offer)
        card = offer_card(offer, sku, fields.get("state", ""))
        teams = await offer_teams(inventory, offer.shard, offer.id, fields) if fields else None
        listed.append(ShelfOffer(offer.shard, card, stock, teams))
    return listed


async def hot_offers(
    inventory: Inventory, offers: Iterable[tuple[int, str]]
) -> dict[str, dict[str, str]]:
    """offer_id → its hash, for those (shard, offer_id) that the hot store has."""
    asked = list(offers)
    try:
        states = await asyncio.gather(*(inventory.offer_state(*one) for one in asked))
    except Unavailable:
        return {}
    return {offer_id: state for (_, offer_id), state in zip(asked, states, strict=True) if state}


def hot_stock(offer_id: str, fields: dict[str, str], *, at_ms: int | None = None) -> Stock:
    """The stock that an offer's hash tells."""
    return Stock(
        at_ms=now_ms() if at_ms is None else at_ms,
        offer_id=offer_id,
        available=int(fields["available"]),
        held=int(fields["held"]),
        sold=int(fields["sold"]),
        total=int(fields["total"]),
    )


def _settled_stock(offer: Offer) -> Stock | None:
    if offer.state == "scheduled":
        return None
    return Stock(
        at_ms=now_ms(),
        offer_id=offer.id,
        available=offer.total - offer.held - offer.sold,
        held=offer.held,
        sold=offer.sold,
        total=offer.total,
    )


def _for_rooms(offer: Offer, state: str) -> str:
    """A cancelled offer is closed; while its crowd may finish it can still be bought."""
    if state == "finishing":
        return "open" if offer.kind == "crowd" else "closed"
    return "closed" if state == "cancelled" else state


def offer_card(offer: Offer, sku: Sku, state: str = "", *, at_ms: int | None = None) -> OfferNow:
    """What a room says of an offer; `state` overrules the settled one."""
    config = msgspec.convert(offer.config, OfferConfig)
    return OfferNow(
        at_ms=now_ms() if at_ms is None else at_ms,
        offer_id=offer.id,
        name=without_personal(sku.name),
        sku_id=sku.id,
        offer_kind=offer.kind,
        state=msgspec.convert(_for_rooms(offer, state or offer.state), OfferStateWord),
        prices=tuple(Price(*price) for price in config.prices),
        shelf_price_fen=sku.shelf_price_fen,
        mall_price_fen=sku.mall_price_fen,
        starts_at_ms=config.starts_at_ms,
        ends_at_ms=config.ends_at_ms,
        per_order_max=config.per_order_max,
        per_buyer_max=config.per_buyer_max,
        late=config.late,
        audience=UNSET if config.audience == "all" else config.audience,
        team=UNSET if config.team is None else team_card(config.team),
    )


async def open_room_log(
    db: Database, inventory: Inventory, logs: RoomLogs, room_id: str
) -> Log | None:
    """The room's log, begun anew from PostgreSQL and the hot stock if it is missing.

    None when there is no such room.
    """
    async with db.begin() as session:
        # The newest command first: what is read afterwards contains it, and perhaps a newer one,
        # whose own publication then says the same again.
        floor = await session.scalar(
            select(func.max(RoomCommand.id)).where(RoomCommand.room_id == room_id)
        )
        try:
            parts = await room_parts(session, inventory, room_id)
        except Missing:
            return None
        is_over = (await session.get_one(Room, room_id)).state == "ended"
    opened = await logs.open(room_topic(room_id), parts, floor=floor or "")
    if is_over:  # the archivist looks only at rooms that ended lately
        await logs.archived(room_topic(room_id), opened.epoch, 0, forget=True)
    return opened
