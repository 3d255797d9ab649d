"""The typed commands on stock: offers, claims, payments. Each method is one script of that name."""

import asyncio

import hiredis

from engine import keys
from engine.commands import Commands, Reply
from engine.ids import new_nonce
from engine.offers import OfferConfig

__all__ = ["Inventory", "OfferConfig", "Reply"]

_CLAIM_FREE = (
    *("idem", "nonce", "buyer_id", "qty", "price_id", "key", "body_hash", "touch", "traits"),
)


class Inventory(Commands):
    """Commands on the hot state over one wire."""

    async def claim(
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
    ) -> Reply:
        """held|stored (claim_id, price_id, price_fen, expires_at_ms) or why not.

        `traits` as `Access.all_traits` has them.
        """
        idem = keys.idem(shard, buyer_id, offer_id, key)
        packed = self._ready("claim", (shard, offer_id, campaign_id), _CLAIM_FREE).pack(
            idem, new_nonce(), buyer_id, str(qty), price_id, key, body_hash, touch, traits
        )
        return await self._reply(self.wire.send(packed))

    def look(self, shard: int, offer_id: str) -> "asyncio.Future[list[bytes]]":
        """sold_out (price_id, qty_max, holders), which holds for any buyer without an entry in the
        offer's limits and at most that many units at that price; or look_closer | reopening.

        The read is queued when this returns: whoever asks while `wire.writes` still stands may
        share its reply. Raises Unavailable when it cannot be sent.
        """
        return self.wire.send(self._ready("look", (shard, offer_id, ""), ()).pack())

    async def holders(self, shard: int, offer_id: str, *, most: int) -> set[str] | None:
        """Everybody who ever held units of the offer in this epoch; None when more than `most`.

        Entries are never removed, so whoever was there at the call is in the set.
        """
        found: set[str] = set()
        cursor = b"0"
        while True:
            try:
                cursor, flat = await self.wire.call(
                    "HSCAN", keys.limits(shard) + offer_id, cursor, "COUNT", 1_000
                )
            except hiredis.ReplyError as error:
                raise self._mend(error) from error
            found.update([one.decode() for one in flat[::2]])
            if len(found) > most:
                return None
            if cursor == b"0":
                return found

    async def pay_begin(
        self, shard: int, claim_id: str, attempt_id: str, *, epoch: int | None = None
    ) -> Reply:
        """paying (pay_expires_at_ms), other_attempt (attempt_id), or the state that forbids it."""
        return await self._run("pay_begin", shard, epoch, claim_id=claim_id, attempt_id=attempt_id)

    async def pay_confirm(
        self,
        shard: int,
        claim_id: str,
        *,
        attempt_id: str,
        fact_id: str,
        verdict: str,
        epoch: int | None = None,
    ) -> Reply:
        """paid | retaken | landed (how, team_id) | late (why) | refused (why) | done | unknown."""
        return await self._run(
            "pay_confirm",
            shard,
            epoch,
            did=keys.did(shard, fact_id),
            claim_id=claim_id,
            attempt_id=attempt_id,
            fact_id=fact_id,
            verdict=verdict,
        )

    async def release(
        self, shard: int, claim_id: str, *, attempt_id: str, why: str, epoch: int | None = None
    ) -> Reply:
        """released, or the state that the receipt does not fit."""
        return await self._run(
            "release", shard, epoch, claim_id=claim_id, attempt_id=attempt_id, why=why
        )

    async def sweep(self, shard: int, batch: int) -> Reply:
        """swept (released, looked_at): lapsed holds of one shard, at most `batch`."""
        return await self._run("sweep", shard, None, batch=batch)

    async def give_back(
        self, shard: int, claim_id: str, *, units: int, refund_id: str, epoch: int | None = None
    ) -> Reply:
        """returned (left) | done | not_paid (state) | too_many (left) | unknown."""
        did = keys.did(shard, refund_id)
        return await self._run(
            "give_back", shard, epoch, did=did, claim_id=claim_id, units=units, refund_id=refund_id
        )

    async def offer_open(
        self,
        shard: int,
        offer_id: str,
        *,
        command_id: str,
        config: OfferConfig,
        total: int,
        epoch: int | None = None,
    ) -> Reply:
        """opened | done."""
        return await self._run(
            "offer_open",
            shard,
            epoch,
            offer_id=offer_id,
            command_id=command_id,
            config=config.json(),
            total=total,
        )

    async def offer_restock(
        self,
        shard: int,
        offer_id: str,
        *,
        command_id: str,
        units: int,
        epoch: int | None = None,
    ) -> Reply:
        """restocked (total) | done | unknown."""
        return await self._run(
            "offer_restock",
            shard,
            epoch,
            did=keys.did(shard, command_id),
            offer_id=offer_id,
            command_id=command_id,
            units=units,
        )

    async def offer_close(
        self,
        shard: int,
        offer_id: str,
        *,
        command_id: str,
        state: str = "closed",
        epoch: int | None = None,
    ) -> Reply:
        """closed | done | unknown; `state` is closed, frozen or cancelled."""
        return await self._run(
            "offer_close",
            shard,
            epoch,
            did=keys.did(shard, command_id),
            offer_id=offer_id,
            command_id=command_id,
            state=state,
        )

    async def settled(self, shard: int, seq: int, *, epoch: int) -> Reply:
        """settled (seq): PostgreSQL holds everything up to here."""
        return await self._run("settled", shard, epoch, seq=seq)

    async def claim_state(self, shard: int, claim_id: str) -> dict[str, str]:
        """The claim's hash; empty when the hot store knows none of that id."""
        return await self.hash_of(keys.claims(shard) + claim_id)

    async def offer_state(self, shard: int, offer_id: str) -> dict[str, str]:
        """The offer's hash; empty when it is not open yet."""
        return await self.hash_of(keys.offers(shard) + offer_id)
