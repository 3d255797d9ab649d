"""Alarms: incident rows for what a loop cannot end by itself, and their end when it did.

One row per cause. An alarm that comes back opens its row again; the audit and a person see the
open ones.
"""

import logging
from typing import Any

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from engine.ids import now_ms
from engine.models import Incident

log = logging.getLogger(__name__)


async def raise_alarm(
    session: AsyncSession, cause: str, *, kind: str, shard: int | None, detail: dict[str, Any]
) -> None:
    """Open the incident `cause`, in the caller's transaction."""
    log.error("%s: %s %s", kind, cause, detail)
    await session.execute(
        insert(Incident)
        .values(cause=cause, kind=kind, shard=shard, detail=detail, created_at_ms=now_ms())
        .on_conflict_do_update(
            index_elements=["cause"], set_={"resolved_at_ms": None, "detail": detail}
        )
    )


async def end_alarm(session: AsyncSession, *causes: str) -> None:
    """Close those incidents of `causes` that are open, in the caller's transaction."""
    await session.execute(
        update(Incident)
        .where(Incident.cause.in_(causes), Incident.resolved_at_ms.is_(None))
        .values(resolved_at_ms=now_ms())
        .execution_options(synchronize_session=False)
    )
