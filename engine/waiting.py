"""The typed commands on waiting lists: who waits for units of an offer of which none is free.

Each script that frees units serves the list itself (engine/lua/includes/waiting.lua); an entry's
claim is a claim like any other, held under the entry's own key.
"""

from typing import NamedTuple

from engine import keys
from engine.commands import Commands, Reply

WAIT_MAX = 10_000  # as the setting of that name


class Place(NamedTuple):
    """An entry: what was asked for, and how many are before it."""

    qty: int
    price_id: str
    key: str
    place: int
    before: int


class Waiting(Commands):
    """Commands on waiting lists over one wire."""

    async def join(
        self,
        shard: int,
        *,
        offer_id: str,
        campaign_id: str,
        buyer_id: str,
        qty: int,
        price_id: str,
        key: str,
        body_hash: str,
        touch: str = "",
        traits: str = "",
        wait_max: int = WAIT_MAX,
    ) -> Reply:
        """waiting (place), held|stored (claim_id, price_id, price_fen, expires_at_ms), or why not.

        May be repeated: who waits already keeps their place, and their entry as it is.
        """
        return await self._run(
            "wait_join",
            shard,
            None,
            offer=keys.offers(shard) + offer_id,
            offer_limits=keys.limits(shard) + offer_id,
            campaign_limits=keys.limits(shard) + campaign_id,
            idem=keys.idem(shard, buyer_id, offer_id, key),
            offer_id=offer_id,
            buyer_id=buyer_id,
            qty=qty,
            price_id=price_id,
            key=key,
            body_hash=body_hash,
            touch=touch,
            traits=traits,
            lag_max_ms=self._lag_max_ms,
            wait_max=wait_max,
        )

    async def leave(self, shard: int, offer_id: str, buyer_id: str) -> Reply:
        """left | not_waiting (units that the buyer holds or has bought)."""
        return await self._run("wait_leave", shard, None, offer_id=offer_id, buyer_id=buyer_id)

    async def look(self, shard: int, offer_id: str, after: str = "0") -> Reply:
        """looked (next): serve and skip behind the place `after`, a bounded number; `next` is ""
        when there is nothing to be looked at behind it."""
        return await self._run("wait_look", shard, None, offer_id=offer_id, after=after)

    async def place_of(self, shard: int, offer_id: str, buyer_id: str) -> Place | None:
        """The buyer's entry; None when they do not wait."""
        key = keys.waits(shard) + offer_id
        entry = await self.wire.call("HGET", f"{key}:entries", buyer_id)
        found = await self.wire.call("ZRANK", key, buyer_id, "WITHSCORE")
        if entry is None or found is None:  # or left between the two looks
            return None
        qty, price_id, with_key, _ = entry.decode().split("|", 3)
        return Place(int(qty), price_id, with_key, int(found[1]), int(found[0]))
