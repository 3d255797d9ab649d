"""The waiting lists' keys, from the entries that are settled, in the order of their places.

Who joined after the last settled event is not in them: that was lost with the hot store, and they
are told so when they look.
"""

from collections import Counter
from collections.abc import Collection, Sequence

from sqlalchemy import Row, text

from engine import keys

Command = list[str]

WAITS = text(
    "SELECT offer_id, buyer_id, qty, price_id, idem_key, body_hash, touch, place FROM waits"
    " WHERE shard = :shard ORDER BY offer_id, place"
)


class RebuiltWaits:
    """Entries of the offers that are kept."""

    def __init__(self, shard: int, rows: Sequence[Row[tuple[object, ...]]], kept: Collection[str]):
        self._prefix = keys.waits(shard)
        self._rows = [row for row in rows if row.offer_id in kept]
        self._waiting = Counter(row.offer_id for row in self._rows)
        self._places = {row.offer_id: row.place for row in self._rows}  # the last of each

    def offer_fields(self, offer_id: str) -> dict[str, str]:
        """What the list makes of its offer's hash."""
        if not self._waiting[offer_id]:
            return {}
        last = str(self._places[offer_id])
        return {"waiting": str(self._waiting[offer_id]), "wait_place": last}

    def commands(self) -> list[Command]:
        """The lists themselves."""
        commands = []
        for row in self._rows:
            key, asked = self._prefix + row.offer_id, (row.qty, row.price_id, row.idem_key)
            entry = "|".join(str(part) for part in (*asked, row.body_hash, row.touch))
            commands.append(["ZADD", key, str(row.place), row.buyer_id])
            commands.append(["HSET", f"{key}:entries", row.buyer_id, entry])
        return commands
