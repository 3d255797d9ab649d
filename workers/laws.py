"""Checks the laws on a timer and writes down what was found, for the board's lights.

It is the audit itself, on facts older than a stated lag; a law without its source (clients'
histories, the provider's bill) gets no row. An audit reads much, so it takes at most a tenth of
the time: the larger the evening, the longer the wait. Of many workers one checks at a time. Logs
of rooms that ended days ago are left to `kaituan audit`: each event costs some 80 µs.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from campaigns.room.models import LawCheck
from engine.audit.report import LawResult
from engine.audit.run import run_audit
from engine.ids import now_ms
from workers.loop import Parts

log = logging.getLogger(__name__)

LAWS_MAX: Final = 1_000  # more than there are: a check is never followed by the next at once
SHARE: Final = 10  # one part checking, nine parts not
ROOMS_MS: Final = 2 * 86_400_000  # so long after its end a room's log is read again and again
DETAIL_CHARS_MAX: Final = 1_000


class LawChecks:
    """The check with its own pace; a bell does not hurry it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._next_ms = 0
        self._broken: frozenset[str] = frozenset()

    async def run_once(self) -> int:
        """Check all laws if it is time; how many have a result."""
        now, every_ms = now_ms(), self._parts.settings.law_check_every_ms
        if now < self._next_ms or now - await self._last_ms() < every_ms:
            return 0
        began = time.monotonic()
        report = await run_audit(
            self._parts.db, self._parts.inventory.wire, rooms_since_ms=now - ROOMS_MS
        )
        took_ms = round((time.monotonic() - began) * 1000)
        self._next_ms = now_ms() + max(every_ms, SHARE * took_ms) - took_ms
        checked = [one for one in report.laws if one.ok is not None]
        await self._write(checked)
        self._tell(frozenset(report.broken), took_ms)
        return len(checked)

    async def _last_ms(self) -> int:
        async with self._parts.db.begin() as session:
            return await session.scalar(select(func.max(LawCheck.at_ms))) or 0

    async def _write(self, checked: Sequence[LawResult]) -> None:
        at_ms = now_ms()
        rows = [
            {
                "law": one.law,
                "ok": one.ok,
                "checked": one.checked,
                "detail": " ".join((one.sentence, *one.problems))[:DETAIL_CHARS_MAX],
                "at_ms": at_ms,
            }
            for one in checked
        ]
        if not rows:
            return
        fresh = insert(LawCheck).values(rows)
        changed = {name: fresh.excluded[name] for name in ("ok", "checked", "detail", "at_ms")}
        async with self._parts.db.begin() as session:
            await session.execute(fresh.on_conflict_do_update(index_elements=["law"], set_=changed))

    def _tell(self, broken: frozenset[str], took_ms: int) -> None:
        """One line when the set of broken laws changes."""
        if broken == self._broken:
            return
        self._broken = broken
        if broken:
            log.error("laws broken: %s (checked in %d ms)", ", ".join(sorted(broken)), took_ms)
        else:
            log.info("all laws hold again")
