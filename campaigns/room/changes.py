"""How a room changes: its row locked, one step as data, its events committed beside it, then
published at once. What does not get through is repeated by the broadcaster.

Only its host or HQ may change a room; for everybody else it is not there.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.room.models import Room, RoomCommand
from campaigns.room.parts import missing_room
from campaigns.room.publishing import publish_command
from campaigns.room.states import Action, move
from engine.db import Database
from engine.errors import KaituanError, Unavailable
from engine.ids import new_id, now_ms
from engine.inventory import Inventory
from engine.room_events import AnyTopicEvent, part_of, to_json
from engine.rooms import RoomLogs
from engine.tokens import Access

log = logging.getLogger(__name__)

_ID_TRIES_MAX = 50


def may_change(who: Access, host_guide_id: str) -> bool:
    """Whether this is HQ, or the guide who hosts it (by the token's scope)."""
    return who.role == "hq" or (who.role == "guide" and who.scope == host_guide_id != "")


async def lock_room(session: AsyncSession, who: Access, room_id: str, action: Action) -> Room:
    """The room, locked, for a step that its state allows; `state` is still the one before it.

    Missing `room_not_found` also when it is another's; Conflict `room_state`.
    """
    room = await session.get(Room, room_id, with_for_update=True)
    if room is None or not may_change(who, room.host_guide_id):
        raise missing_room()
    move(room.state, action)
    return room


async def add_commands(
    session: AsyncSession, who: Access, room_id: str, kind: str, events: Sequence[AnyTopicEvent]
) -> list[str]:
    """The events of a decided change as rows, and their ids; the room is locked (or new).

    The ids are above all others of the room: by them the log knows what is newer.
    """
    last = await session.scalar(
        select(func.max(RoomCommand.id)).where(RoomCommand.room_id == room_id)
    )
    ids: list[str] = []
    for event in events:
        ids.append(await _id_above(ids[-1] if ids else last or ""))
        session.add(
            RoomCommand(
                id=ids[-1],
                room_id=room_id,
                kind=kind,
                part=part_of(event),
                event=to_json(event),
                actor=who.subject,
                created_at_ms=now_ms(),
            )
        )
    return ids


async def _id_above(last: str) -> str:
    """Ids of one millisecond are in no order, so another may take a moment."""
    for _ in range(_ID_TRIES_MAX):
        fresh = new_id("rcm")
        if fresh > last:
            return fresh
        await asyncio.sleep(0.001)
    raise Unavailable(
        "busy", "This room cannot be changed right now.", "Nothing was changed. Try again."
    )


async def publish_soon(
    db: Database, inventory: Inventory, logs: RoomLogs, command_ids: Iterable[str]
) -> None:
    """Put committed commands into the room's log now; the broadcaster repeats what must wait."""
    try:
        for command_id in command_ids:
            await publish_command(db, inventory, logs, command_id)
    except KaituanError as error:
        log.info("room commands wait for the broadcaster: %s", error.code)
