"""Scheduling rooms and running them. Each change is one transaction: the row, its audit row and
its events; a repeat that asks for what is so already changes nothing.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.offer.models import Offer
from campaigns.people.attribution import guide_term_at
from campaigns.people.models import Guide, Store
from campaigns.problems import FieldError
from campaigns.room.changes import add_commands, lock_room, publish_soon
from campaigns.room.models import Room
from campaigns.room.parts import (
    missing_room,
    pin_event,
    room_event,
    shelf_event,
    shelf_offers,
)
from campaigns.room.schemas import RoomIn, RoomList, RoomView
from campaigns.room.states import MOVES, Action
from engine.db import Database
from engine.errors import Unprocessable
from engine.ids import new_id, now_ms
from engine.inventory import Inventory
from engine.room_events import AnyTopicEvent, Host, RoomStore
from engine.rooms import RoomLogs
from engine.tokens import Access

LISTED_MAX = 50  # live, paused and to come, each
ENDED_MAX = 10


class Rooms(NamedTuple):
    """What a change of a room needs."""

    db: Database
    inventory: Inventory
    logs: RoomLogs
    shelf_max: int


async def create(rooms: Rooms, who: Access, wanted: RoomIn) -> RoomView:
    """Schedule a room; Unprocessable `room_invalid` names every field that does not fit."""
    async with rooms.db.begin() as session:
        host_id, store_id = await _check(session, rooms, who, wanted)
        room = Room(
            id=new_id("rm"),
            title=wanted.title,
            store_id=store_id,
            host_guide_id=host_id,
            state="scheduled",
            starts_at_ms=wanted.starts_at_ms,
            shelf=list(wanted.offers),
            created_by=who.subject,
            created_at_ms=now_ms(),
        )
        session.add(room)
        await session.flush()  # no relationships: the command's foreign key needs the room first
        said = await room_event(session, room)
        # It has no log yet: this command is what begins one.
        commands = await add_commands(session, who, room.id, "create", [said])
        record_change(
            session,
            who.subject,
            "room.create",
            room.id,
            title=room.title,
            store_id=room.store_id,
            host_guide_id=host_id,
            offers=room.shelf,
        )
    await publish_soon(rooms.db, rooms.inventory, rooms.logs, commands)
    return _view(room, said.host, said.store)


async def get(db: Database, room_id: str) -> RoomView:
    """One room; Missing `room_not_found`."""
    async with db.begin() as session:
        return await _seen(session, room_id)


async def list_rooms(db: Database, host_guide_id: str | None) -> RoomList:
    """Live, paused, to come, and the last that ended; of one host, if given."""
    query = _named()
    if host_guide_id is not None:
        query = query.where(Room.host_guide_id == host_guide_id)
    soonest, latest = Room.starts_at_ms.asc(), Room.ended_at_ms.desc()
    found: list[RoomView] = []
    async with db.begin() as session:
        for state, order, most in (
            ("live", soonest, LISTED_MAX),
            ("paused", soonest, LISTED_MAX),
            ("scheduled", soonest, LISTED_MAX),
            ("ended", latest, ENDED_MAX),
        ):
            rows = query.where(Room.state == state).order_by(order, Room.id).limit(most)
            found += [_of_row(row) for row in (await session.execute(rows))]
    return RoomList(tuple(found), now_ms())


async def step(rooms: Rooms, who: Access, room_id: str, action: Action) -> RoomView:
    """live, pause or end; Missing `room_not_found`, Conflict `room_state`."""
    commands: list[str] = []
    async with rooms.db.begin() as session:
        room = await lock_room(session, who, room_id, action)
        before, after = room.state, MOVES[room.state, action]
        if after != before:
            room.state = after
            if after == "live" and room.went_live_at_ms is None:
                room.went_live_at_ms = now_ms()
            if after == "ended":
                room.ended_at_ms = now_ms()
            said = await room_event(session, room)
            commands = await add_commands(session, who, room_id, action, [said])
            record_change(session, who.subject, f"room.{action}", room_id, before=before)
        view = await _seen(session, room_id)
    await publish_soon(rooms.db, rooms.inventory, rooms.logs, commands)
    return view


async def put_shelf(rooms: Rooms, who: Access, room_id: str, offer_ids: Sequence[str]) -> RoomView:
    """Replace the shelf; what is pinned and not on it any more is unpinned.

    Missing `room_not_found`, Conflict `room_state`, Unprocessable `room_invalid`.
    """
    commands: list[str] = []
    async with rooms.db.begin() as session:
        room = await lock_room(session, who, room_id, "shelf")
        _refuse(await _wrong_offers(session, rooms, offer_ids))
        before = list(room.shelf)
        if list(offer_ids) != before:
            room.shelf = list(offer_ids)
            added = [one for one in offer_ids if one not in before]
            cards = await shelf_offers(session, rooms.inventory, added)
            events: list[AnyTopicEvent] = [shelf_event(room), *(one.card for one in cards)]
            if room.pin is not None and room.pin not in room.shelf:
                room.pin = None
                events.append(pin_event(room))
            commands = await add_commands(session, who, room_id, "shelf", events)
            record_change(
                session, who.subject, "room.shelf", room_id, before=before, after=room.shelf
            )
        view = await _seen(session, room_id)
    await publish_soon(rooms.db, rooms.inventory, rooms.logs, commands)
    return view


async def put_pin(rooms: Rooms, who: Access, room_id: str, offer_id: str | None) -> RoomView:
    """Show an offer of the shelf, or none. Errors as `put_shelf`; `not_on_shelf` for another."""
    commands: list[str] = []
    async with rooms.db.begin() as session:
        room = await lock_room(session, who, room_id, "pin")
        if offer_id is not None and offer_id not in room.shelf:
            raise not_on_shelf()
        if offer_id != room.pin:
            before, room.pin = room.pin, offer_id
            commands = await add_commands(session, who, room_id, "pin", [pin_event(room)])
            record_change(session, who.subject, "room.pin", room_id, before=before, after=offer_id)
        view = await _seen(session, room_id)
    await publish_soon(rooms.db, rooms.inventory, rooms.logs, commands)
    return view


def not_on_shelf() -> Unprocessable:
    """An offer that is not among those of the room."""
    return Unprocessable(
        "not_on_shelf",
        "This offer is not on the room's shelf.",
        "Nothing was changed. Put it on the shelf first.",
    )


async def _check(
    session: AsyncSession, rooms: Rooms, who: Access, wanted: RoomIn
) -> tuple[str, str]:
    """The host's and the store's id; Unprocessable `room_invalid` with all that does not fit."""
    errors = []
    host_id = wanted.host_guide_id or (who.scope if who.role == "guide" else "")
    if not host_id:
        errors.append(FieldError("host_guide_id", "Say which guide hosts it."))
    elif who.role == "guide" and host_id != who.scope:
        errors.append(FieldError("host_guide_id", "A guide hosts only their own rooms."))
    elif await session.get(Guide, host_id) is None:
        errors.append(FieldError("host_guide_id", f"There is no guide {host_id}."))
    if who.role == "guide":
        term = await guide_term_at(session, who.scope, now_ms())
        store_id = wanted.store_id or (term.store_id if term else "")
        if term is None or term.store_id != store_id:
            # Whether another store exists is not told.
            errors.append(FieldError("store_id", "This is not the store you work in."))
    elif not (store_id := wanted.store_id or ""):
        errors.append(FieldError("store_id", "Say in which store it is."))
    elif await session.get(Store, store_id) is None:
        errors.append(FieldError("store_id", f"There is no store {store_id}."))
    _refuse([*errors, *await _wrong_offers(session, rooms, wanted.offers)])
    return host_id, store_id


async def _wrong_offers(
    session: AsyncSession, rooms: Rooms, offer_ids: Sequence[str]
) -> list[FieldError]:
    if len(offer_ids) > rooms.shelf_max:
        return [FieldError("offers", f"A shelf holds at most {rooms.shelf_max} offers.")]
    known = set(await session.scalars(select(Offer.id).where(Offer.id.in_(offer_ids))))
    errors = []
    for index, offer_id in enumerate(offer_ids):
        if offer_id not in known:
            errors.append(FieldError(f"offers[{index}]", f"There is no offer {offer_id}."))
        elif offer_id in offer_ids[:index]:
            errors.append(FieldError(f"offers[{index}]", f"{offer_id} is on it twice."))
    return errors


def _refuse(errors: Sequence[FieldError]) -> None:
    if errors:
        raise Unprocessable(
            "room_invalid",
            "This room cannot be so.",
            " ".join(f"{error.field}: {error.message}" for error in errors[:5])
            + " Nothing was changed.",
            errors=list(errors),
        )


def _named() -> "Select[Room, str, str]":
    return (
        select(Room, Guide.name, Store.name)
        .join(Guide, Guide.id == Room.host_guide_id)
        .join(Store, Store.id == Room.store_id)
    )


async def _seen(session: AsyncSession, room_id: str) -> RoomView:
    row = (await session.execute(_named().where(Room.id == room_id))).one_or_none()
    if row is None:
        raise missing_room()
    return _of_row(row)


def _of_row(row: tuple[Room, str, str]) -> RoomView:
    room, guide, store = row
    return _view(room, Host(room.host_guide_id, guide), RoomStore(room.store_id, store))


def _view(room: Room, host: Host, store: RoomStore) -> RoomView:
    return RoomView(
        room_id=room.id,
        title=room.title,
        state=room.state,
        host=host,
        store=store,
        starts_at_ms=room.starts_at_ms,
        went_live_at_ms=room.went_live_at_ms,
        ended_at_ms=room.ended_at_ms,
        shelf=tuple(room.shelf),
        pin=room.pin,
        server_time_ms=now_ms(),
    )
