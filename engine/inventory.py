"""The typed commands: each method is one script of the same name, its reply a value.

A reply's first word says what happened (the `@returns` of the script); the rest are its
details as strings. `reopening` also wakes the process's epochs. Every method may be repeated:
scripts are idempotent by claim key, attempt, fact, refund or command id.
"""

from collections.abc import Awaitable
from typing import Any

import hiredis
import msgspec

from engine import keys
from engine.errors import Unavailable
from engine.ids import new_nonce
from engine.prepared import Prepared
from engine.scripts import Script, load_all
from engine.shards import Epochs
from engine.wire import Wire

_CLAIM_FREE = ("idem", "nonce", "buyer_id", "qty", "price_id", "key", "body_hash", "touch")


class Reply(msgspec.Struct, frozen=True):
    """`what` as the script's `@returns` names it, and its details."""

    what: str
    details: tuple[str, ...] = ()


class OfferConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What `offer_open` tells the hot store; also kept in PostgreSQL for a rebuild.

    `prices` are (price_id, unit price in fen, valid from_ms), the first valid from 0.
    `late` is the landing of a late payment: `refund` or `retake`.
    """

    campaign_id: str
    version: int
    kind: str
    starts_at_ms: int
    ends_at_ms: int
    hold_ms: int
    pay_ms: int
    per_order_max: int
    per_buyer_max: int
    per_campaign_max: int
    keep_until_ms: int
    late: str
    prices: tuple[tuple[str, int, int], ...]

    def flat(self) -> dict[str, str]:
        """The hash's fields. Prices as `price_id|fen|from_ms …`, newest first: a sorted set of
        them cost the claim script 8 to 20 µs more than reading one more field."""
        fields = {name: str(value) for name, value in msgspec.structs.asdict(self).items()}
        listed = sorted(self.prices, key=lambda price: price[2], reverse=True)
        fields["prices"] = " ".join(f"{price_id}|{fen}|{since}" for price_id, fen, since in listed)
        return fields

    def json(self) -> str:
        """What the script decodes: all strings, so that JSON cannot round a number."""
        return msgspec.json.encode(self.flat()).decode()


class Inventory:
    """Commands on the hot state over one wire."""

    def __init__(
        self,
        wire: Wire,
        epochs: Epochs,
        scripts: dict[str, Script] | None = None,
        *,
        settle_lag_max_ms: int = 10_000,
        did_keep_ms: int = 86_400_000,
        prepared_max: int = 4_096,
    ) -> None:
        self.wire = wire
        self.epochs = epochs
        self._scripts = scripts or load_all()
        self._prepared: dict[tuple[int, int, str, str, str], Prepared] = {}
        self._prepared_max = prepared_max
        self._lag_max_ms = settle_lag_max_ms
        self._did_keep_ms = did_keep_ms

    async def _ask(self, command: tuple[str | int, ...]) -> Reply:
        return await self._reply(self.wire.call(*command))

    async def _reply(self, answer: Awaitable[list[bytes]]) -> Reply:
        try:
            raw = await answer
        except hiredis.ReplyError as error:
            raise self._mend(error) from error
        what = raw[0].decode()
        if what == "reopening":
            self.epochs.doubt()
        return Reply(what, tuple([part.decode() for part in raw[1:]]))

    def _mend(self, error: hiredis.ReplyError) -> Exception:
        text = str(error)
        if text.startswith("NOSCRIPT"):  # somebody flushed the scripts: a new connection loads them
            self.wire.hang_up()
            return Unavailable("busy", "Try again in a moment with the same key")
        if text.startswith(("OOM", "MISCONF", "READONLY", "LOADING", "BUSY", "NOREPLICAS")):
            return Unavailable("busy", "The hot store takes nothing new right now; try again")
        return AssertionError(text)  # a script of ours failed: a bug, and it must be seen

    def _fence(self, shard: int, epoch: int | None) -> dict[str, Any]:
        known = self.epochs.of(shard) if epoch is None else epoch
        return {
            "meta": keys.meta(shard),
            "epoch": known,
            "run_id": self.wire.run_id,
        }

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
    ) -> Reply:
        """held|stored (claim_id, price_id, price_fen, expires_at_ms) or why not."""
        about = (shard, self.epochs.of(shard), self.wire.run_id, offer_id, campaign_id)
        prepared = self._prepared.get(about) or self._prepare(about)
        packed = prepared.pack(
            keys.idem(shard, buyer_id, offer_id, key),
            new_nonce(),
            buyer_id,
            str(qty),
            price_id,
            key,
            body_hash,
            touch,
        )
        return await self._reply(self.wire.send(packed))

    def _prepare(self, about: tuple[int, int, str, str, str]) -> Prepared:
        """All of a claim's command that only depends on the offer and the fence."""
        shard, epoch, run_id, offer_id, campaign_id = about
        limits = keys.limits(shard)
        fixed: dict[str, str | int] = {
            "meta": keys.meta(shard),
            "events": keys.events(shard, epoch),
            "offer": keys.offers(shard) + offer_id,
            "offer_limits": limits + offer_id,
            "campaign_limits": limits + campaign_id,
            "holds": keys.holds(shard) + offer_id,
            "deadlines": keys.deadlines(shard),
            "claims": keys.claims(shard),
            "epoch": epoch,
            "run_id": run_id,
            "shard": shard,
            "offer_id": offer_id,
            "lag_max_ms": self._lag_max_ms,
        }
        if len(self._prepared) >= self._prepared_max:
            self._prepared.clear()  # also forgets what belongs to older epochs
        made = self._prepared[about] = Prepared(self._scripts["claim"], fixed, _CLAIM_FREE)
        return made

    async def pay_begin(
        self, shard: int, claim_id: str, attempt_id: str, *, epoch: int | None = None
    ) -> Reply:
        """paying (pay_expires_at_ms), other_attempt (attempt_id), or the state that forbids it."""
        fence = self._fence(shard, epoch)
        return await self._ask(
            self._scripts["pay_begin"].command(
                **fence,
                events=keys.events(shard, fence["epoch"]),
                offers=keys.offers(shard),
                deadlines=keys.deadlines(shard),
                claims=keys.claims(shard),
                claim_id=claim_id,
                attempt_id=attempt_id,
            )
        )

    def _state(self, shard: int, fence: dict[str, Any]) -> dict[str, Any]:
        """The keys that all commands on a claim's units share."""
        return {
            **fence,
            "events": keys.events(shard, fence["epoch"]),
            "offers": keys.offers(shard),
            "limits": keys.limits(shard),
            "claims": keys.claims(shard),
        }

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
        """paid | retaken | late (why) | refused (why) | done | unknown."""
        return await self._ask(
            self._scripts["pay_confirm"].command(
                **self._state(shard, self._fence(shard, epoch)),
                holds=keys.holds(shard),
                deadlines=keys.deadlines(shard),
                did=keys.did(shard, fact_id),
                claim_id=claim_id,
                attempt_id=attempt_id,
                fact_id=fact_id,
                verdict=verdict,
                did_keep_ms=self._did_keep_ms,
            )
        )

    async def release(
        self, shard: int, claim_id: str, *, attempt_id: str, why: str, epoch: int | None = None
    ) -> Reply:
        """released, or the state that the receipt does not fit."""
        return await self._ask(
            self._scripts["release"].command(
                **self._state(shard, self._fence(shard, epoch)),
                holds=keys.holds(shard),
                deadlines=keys.deadlines(shard),
                claim_id=claim_id,
                attempt_id=attempt_id,
                why=why,
            )
        )

    async def sweep(self, shard: int, batch: int) -> Reply:
        """swept (released, looked_at): lapsed holds of one shard, at most `batch`."""
        return await self._ask(
            self._scripts["sweep"].command(
                **self._state(shard, self._fence(shard, None)),
                holds=keys.holds(shard),
                deadlines=keys.deadlines(shard),
                batch=batch,
            )
        )

    async def give_back(
        self, shard: int, claim_id: str, *, units: int, refund_id: str, epoch: int | None = None
    ) -> Reply:
        """returned (left) | done | not_paid (state) | too_many (left) | unknown."""
        return await self._ask(
            self._scripts["give_back"].command(
                **self._state(shard, self._fence(shard, epoch)),
                did=keys.did(shard, refund_id),
                claim_id=claim_id,
                units=units,
                refund_id=refund_id,
                did_keep_ms=self._did_keep_ms,
            )
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
        fence = self._fence(shard, epoch)
        return await self._ask(
            self._scripts["offer_open"].command(
                **fence,
                events=keys.events(shard, fence["epoch"]),
                offers=keys.offers(shard),
                offer_id=offer_id,
                command_id=command_id,
                config=config.json(),
                total=total,
            )
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
        fence = self._fence(shard, epoch)
        return await self._ask(
            self._scripts["offer_restock"].command(
                **fence,
                events=keys.events(shard, fence["epoch"]),
                offers=keys.offers(shard),
                did=keys.did(shard, command_id),
                offer_id=offer_id,
                command_id=command_id,
                units=units,
                did_keep_ms=self._did_keep_ms,
            )
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
        """closed | done | unknown."""
        fence = self._fence(shard, epoch)
        return await self._ask(
            self._scripts["offer_close"].command(
                **fence,
                events=keys.events(shard, fence["epoch"]),
                offers=keys.offers(shard),
                did=keys.did(shard, command_id),
                offer_id=offer_id,
                command_id=command_id,
                state=state,
                did_keep_ms=self._did_keep_ms,
            )
        )

    async def settled(self, shard: int, seq: int, *, epoch: int) -> Reply:
        """settled (seq): PostgreSQL holds everything up to here."""
        events = keys.events(shard, epoch)
        return await self._ask(
            self._scripts["settled"].command(**self._fence(shard, epoch), events=events, seq=seq)
        )

    async def hash_of(self, key: str) -> dict[str, str]:
        """A hash of the hot state as strings; empty when there is none."""
        flat: list[bytes] = await self.wire.call("HGETALL", key)
        texts = [part.decode() for part in flat]
        return dict(zip(texts[::2], texts[1::2], strict=True))

    async def claim_state(self, shard: int, claim_id: str) -> dict[str, str]:
        """The claim's hash; empty when the hot store knows none of that id."""
        return await self.hash_of(keys.claims(shard) + claim_id)

    async def offer_state(self, shard: int, offer_id: str) -> dict[str, str]:
        """The offer's hash; empty when it is not open yet."""
        return await self.hash_of(keys.offers(shard) + offer_id)
