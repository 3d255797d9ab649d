"""Rooms, what was changed in them, and the last check of each law.

PostgreSQL first: a change of a room commits its row and a command in one transaction, is then
published, and then marked. The broadcaster publishes what was left unmarked: the log knows each
command id, and refuses one that is older than what it has of that part.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class Room(Base):
    """A live session. `state`: scheduled, live, paused or ended; `shelf`: offer ids in order.

    Whoever changes a room locks its row first and makes the command's id behind that lock, so
    that the ids of one room are in the order of its changes.
    """

    __tablename__ = "rooms"
    __table_args__ = (Index("rooms_by_start", "starts_at_ms"),)

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    store_id: Mapped[str] = mapped_column(ForeignKey("stores.id"))
    host_guide_id: Mapped[str] = mapped_column(ForeignKey("guides.id"))
    state: Mapped[str] = mapped_column(Text, default="scheduled")
    starts_at_ms: Mapped[int] = mapped_column(BigInteger)
    went_live_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    ended_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    shelf: Mapped[list[str]] = mapped_column(JSONB, default=list)
    pin: Mapped[str | None] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(Text)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)


class RoomCommand(Base):
    """A decided change as its topic event; `part` and `event` as engine/room_events.py has them."""

    __tablename__ = "room_commands"
    __table_args__ = (
        Index("room_commands_by_room", "room_id", "id"),
        Index("room_commands_due", "id", postgresql_where=text("published_at_ms IS NULL")),
    )

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    room_id: Mapped[str] = mapped_column(ForeignKey("rooms.id"))
    kind: Mapped[str] = mapped_column(Text)
    part: Mapped[str] = mapped_column(Text)
    event: Mapped[dict[str, Any]] = mapped_column(JSONB)
    actor: Mapped[str] = mapped_column(Text)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    published_at_ms: Mapped[int | None] = mapped_column(BigInteger)


class LawCheck(Base):
    """When a law was last checked, on how many facts, and what was found."""

    __tablename__ = "law_checks"

    law: Mapped[str] = mapped_column(Text, primary_key=True)
    ok: Mapped[bool] = mapped_column(Boolean)
    checked: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[str] = mapped_column(Text, default="")
    at_ms: Mapped[int] = mapped_column(BigInteger)
