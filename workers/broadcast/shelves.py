"""Which rooms show which offers: a copy of the rooms' shelves, read anew all the time.

A stale copy is harmless: whoever learns of a new pair of room and offer compares what the room
says of it with what is so (rooms.py).
"""

from sqlalchemy import text

from engine.db import Database
from engine.ids import now_ms

ROOMS_MAX = 5_000
ENDED_MS = 3_600_000  # so long an ended room is still told what became of its offers

_ROOMS = text(
    "SELECT id, state, shelf FROM rooms WHERE state <> 'ended' OR ended_at_ms > :since"
    " ORDER BY state IN ('live', 'paused') DESC, starts_at_ms DESC, id LIMIT :most"
)

_SHARDS = text("SELECT id, shard FROM offers WHERE id = ANY(CAST(:ids AS text[]))")


class Shelves:
    """room → its state and offers; offer → its rooms."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.offers: dict[str, tuple[str, ...]] = {}
        self.ended: set[str] = set()
        self._rooms: dict[str, list[str]] = {}
        self._shards: dict[str, int] = {}  # of offers; an offer never moves

    async def refresh(self) -> None:
        """Read now."""
        asked = {"since": now_ms() - ENDED_MS, "most": ROOMS_MAX}
        async with self._db.begin() as session:
            rows = (await session.execute(_ROOMS, asked)).all()
            fresh = {one for _, _, shelf in rows for one in shelf} - self._shards.keys()
            if fresh:
                found = await session.execute(_SHARDS, {"ids": sorted(fresh)})
                self._shards.update((offer_id, shard) for offer_id, shard in found)
        self.offers = {room_id: tuple(shelf) for room_id, _, shelf in rows}
        self.ended = {room_id for room_id, state, _ in rows if state == "ended"}
        self._rooms = {}
        for room_id, offers in self.offers.items():
            for offer_id in offers:
                self._rooms.setdefault(offer_id, []).append(room_id)

    def rooms_of(self, offer_id: str) -> list[str]:
        """The rooms on whose shelf the offer is."""
        return self._rooms.get(offer_id, [])

    def of_shard(self, shard: int) -> set[str]:
        """All offers of a shard that any room shows."""
        return {one for one in self._rooms if self._shards.get(one) == shard}
