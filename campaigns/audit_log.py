"""The audit log: who did which privileged change to what, in the change's own transaction."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from engine.ids import now_ms
from engine.models import AuditRow


def record_change(
    session: AsyncSession, actor: str, action: str, subject: str, **detail: Any
) -> None:
    """One append-only row; `detail` is what changed, without secrets or phone numbers."""
    session.add(
        AuditRow(at_ms=now_ms(), actor=actor, action=action, subject=subject, detail=detail)
    )
