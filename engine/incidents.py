"""Incidents: what must not pass unseen. Each has a unique cause, so it is written once."""

from collections.abc import Mapping

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.ids import now_ms

_INSERT = text(
    "INSERT INTO incidents (cause, kind, shard, detail, created_at_ms)"
    " VALUES (:cause, :kind, :shard, CAST(:detail AS jsonb), :now) ON CONFLICT (cause) DO NOTHING"
)


async def record_incident(
    session: AsyncSession,
    *,
    cause: str,
    kind: str,
    shard: int | None,
    detail: Mapping[str, object],
) -> None:
    """Write the incident unless one of that cause is there."""
    await session.execute(
        _INSERT,
        {
            "cause": cause,
            "kind": kind,
            "shard": shard,
            "detail": msgspec.json.encode(detail).decode(),
            "now": now_ms(),
        },
    )
