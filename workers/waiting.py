"""Looks at waiting lists, offer by offer: what scripts that free units may have left over.

Those who wait for an offer that is over are told so; after a rebuild, or behind entries that want
more than is free, units find whom they fit. Each call looks at a bounded number of entries.
"""

from sqlalchemy import text

from engine.errors import Unavailable
from engine.waiting import Waiting
from workers.loop import Parts

_LISTS = text(
    "SELECT DISTINCT offer_id, shard FROM waits WHERE offer_id > :after ORDER BY offer_id"
    " LIMIT :limit"
)


class WaitWatch:
    """Goes through all lists in turns; it remembers where it was left."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        inventory, most = parts.inventory, parts.settings.wait_scan_max
        self._waiting = Waiting(inventory.wire, inventory.epochs, wait_scan_max=most)
        self._after = ""

    async def run_once(self) -> int:
        """The next lists; how many there were."""
        most = self._parts.settings.wait_look_max
        async with self._parts.db.begin() as session:
            found = await session.execute(_LISTS, {"after": self._after, "limit": most})
            lists = found.all()
        self._after = lists[-1].offer_id if len(lists) == most else ""
        unreachable = None
        for offer_id, shard in lists:
            try:
                await self._through(shard, offer_id, most)
            except Unavailable as error:
                unreachable = error
        if unreachable is not None and not self._parts.inventory.wire.connected:
            raise unreachable
        return len(lists)

    async def _through(self, shard: int, offer_id: str, calls_max: int) -> None:
        after = "0"
        for _ in range(calls_max):
            reply = await self._waiting.look(shard, offer_id, after)
            after = reply.details[0] if reply.what == "looked" else ""
            if not after:
                return
