"""From a committed room command to its room's log: at once by the API, else by the broadcaster.

May be done by both at the same time and repeated at will: the log takes each command once, and
none behind a newer one of the same part.
"""

import msgspec
from sqlalchemy import select, update

from campaigns.room.models import RoomCommand
from campaigns.room.parts import open_room_log
from engine.db import Database
from engine.ids import now_ms
from engine.inventory import Inventory
from engine.room_events import TopicEvent, room_topic
from engine.rooms import RoomLogs


async def publish_command(
    db: Database, inventory: Inventory, logs: RoomLogs, command_id: str
) -> str:
    """Bring a committed command into its room's log, and mark it published; the part it is of.

    Unavailable: the hot store is away; the broadcaster repeats it.
    """
    async with db.begin() as session:
        command = await session.get(RoomCommand, command_id)
    if command is None or command.published_at_ms is not None:
        return ""
    event = TopicEvent(command.id, command.part, _text(command.event))
    topic = room_topic(command.room_id)
    reply = await logs.publish(topic, [event], command_id=command.id)
    if reply.what == "no_log":  # begun anew, it contains the command's effect
        await open_room_log(db, inventory, logs, command.room_id)
        await logs.publish(topic, [event], command_id=command.id)
    async with db.begin() as session:
        await session.execute(
            update(RoomCommand)
            .where(RoomCommand.id == command_id, RoomCommand.published_at_ms.is_(None))
            .values(published_at_ms=now_ms())
        )
    return command.part


async def unpublished(db: Database, *, older_than_ms: int, limit: int) -> list[str]:
    """Commands, oldest first, that were committed so long ago and are not marked."""
    due = (
        select(RoomCommand.id)
        .where(
            RoomCommand.published_at_ms.is_(None),
            RoomCommand.created_at_ms <= now_ms() - older_than_ms,
        )
        .order_by(RoomCommand.id)
        .limit(limit)
    )
    async with db.begin() as session:
        return list(await session.scalars(due))


def _text(event: dict[str, object]) -> str:
    return msgspec.json.encode(event).decode()
