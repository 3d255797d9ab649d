"""The rows behind the stream: positions, epochs, archive, dead letters, incidents, audit log.

Who writes them: the settler (positions, epochs, batches, dead letters), whoever sees something
that must not pass unseen (incidents), every privileged change (audit log, append-only).
"""

from typing import Any

from sqlalchemy import BigInteger, Identity, Index, LargeBinary, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.db import Base


class ShardPosition(Base):
    """How far a shard is settled. `UPDATE … WHERE epoch AND seq` must hit one row per batch.

    `run_id` is the hot store's process that the current epoch was opened on. `state` is
    `open`, `reopening` (a rebuild is under way) or `sealed` (a gap; only a person goes on).
    """

    __tablename__ = "shard_position"

    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)
    run_id: Mapped[str] = mapped_column(Text, default="")
    state: Mapped[str] = mapped_column(Text, default="reopening")
    updated_at_ms: Mapped[int] = mapped_column(BigInteger)


class ShardEpoch(Base):
    """One life of a shard's stream. `last_seq` is known once it is closed.

    `snapshot` is msgpack of the hot state with which the epoch opened.
    """

    __tablename__ = "shard_epochs"

    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    opened_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    closed_at_ms: Mapped[int | None] = mapped_column(BigInteger)
    last_seq: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(Text)
    snapshot: Mapped[bytes | None] = mapped_column(LargeBinary)


class EventBatch(Base):
    """Settled events as they came: msgpack of `[[seq, {field: value}], …]`."""

    __tablename__ = "event_batches"

    shard: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    epoch: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    first_seq: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    last_seq: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    orphaned: Mapped[bool] = mapped_column(default=False, server_default=text("false"))


class RoomLogBatch(Base):
    """A piece of a topic's log as it was: msgpack of `[[offset, origin, part, event], …]`."""

    __tablename__ = "room_log_batches"

    topic: Mapped[str] = mapped_column(Text, primary_key=True)
    epoch: Mapped[str] = mapped_column(Text, primary_key=True)
    first_offset: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    last_offset: Mapped[int] = mapped_column(BigInteger)
    payload: Mapped[bytes] = mapped_column(LargeBinary)


class DeadLetter(Base):
    """An event that could not be settled, and the later ones of its claim. Open = audit red."""

    __tablename__ = "dead_letters"
    __table_args__ = (Index("dead_letters_claim", "claim_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    shard: Mapped[int] = mapped_column(SmallInteger)
    epoch: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)
    claim_id: Mapped[str | None] = mapped_column(Text)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    error: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, default="open")
    note: Mapped[str] = mapped_column(Text, default="")
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    resolved_at_ms: Mapped[int | None] = mapped_column(BigInteger)


class Incident(Base):
    """Something that must not pass unseen; `cause` is unique, so it is written once."""

    __tablename__ = "incidents"

    cause: Mapped[str] = mapped_column(Text, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    shard: Mapped[int | None] = mapped_column(SmallInteger)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at_ms: Mapped[int] = mapped_column(BigInteger)
    resolved_at_ms: Mapped[int | None] = mapped_column(BigInteger)


class AuditRow(Base):
    """Who did which privileged change to what; append-only for the application."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    detail: Mapped[dict[str, Any]] = mapped_column(JSONB)
