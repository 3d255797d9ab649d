"""Sold-out answers from memory: which offers are, and who may hold something of them.

When claim.lua has said `sold_out`, the process remembers the offer. From then on all its claims of
one loop turn share one read of the hot store (look.lua) that begins after the last of them came
in, so nothing is ever stale: a unit that came free before is seen. If it says plainly sold out,
and as many buyers have ever held something as this process has in its set, the set is exactly
theirs (it only grows within an epoch); whoever is not in it, and asks for the price and a quantity
that hold, is refused without a script of their own. Everybody else goes to claim.lua as ever.

So each refusal is what claim.lua would have said in that moment, but for one: a buyer whose units
in *other* offers of the campaign leave no room within its limit is told `sold_out` here, not
`limit_reached`. Both are true.
"""

import asyncio
import contextlib
from typing import NamedTuple

from campaigns.metrics import Metrics
from engine.errors import Unavailable
from engine.inventory import Inventory

REST_FACTOR = 9  # after a load of the set, times what it took: so loads cost a tenth at most


class Look(NamedTuple):
    """What one read said, for buyers that are not among `holders`."""

    price_id: str
    qty_max: int
    holders: set[str]


class _Asked:
    """A read that is queued or under way, and who shares it."""

    __slots__ = ("count", "epoch", "holders", "waiting", "writes")

    def __init__(self, writes: int, epoch: int, holders: set[str] | None) -> None:
        self.writes, self.epoch, self.holders = writes, epoch, holders
        self.count = -1 if holders is None else len(holders)
        self.waiting: list[asyncio.Future[Look | None]] = []


class Remembered:
    """One offer that was sold out a moment ago."""

    def __init__(self, inventory: Inventory, memory: "SoldOut", shard: int, offer_id: str) -> None:
        self.offer_id = offer_id
        self.holders: set[str] | None = None  # as it was in `epoch`, complete
        self.epoch = 0
        self.too_many_in = 0  # the epoch in which they are more than a process may keep
        self.shard = shard
        self._inventory, self._memory = inventory, memory
        self._loop = asyncio.get_running_loop()
        self._asked: _Asked | None = None

    async def refuses(self, buyer_id: str, qty: int, price_id: str) -> bool:
        """Whether this claim, made now, is told `sold_out`; False: claim.lua decides."""
        if self.holders is not None and buyer_id in self.holders:
            return False
        asked = self._asked
        if asked is not None and asked.writes == self._inventory.wire.writes:
            mine: asyncio.Future[Look | None] = self._loop.create_future()
            asked.waiting.append(mine)
            look = await mine
        else:
            look = await self._ask()
        return (
            look is not None
            and price_id == look.price_id
            and qty <= look.qty_max
            and buyer_id not in look.holders
        )

    async def _ask(self) -> Look | None:
        """Read for all who join until it is written out; None: nothing can be said."""
        look = asked = None
        try:
            epoch = self._inventory.epochs.of(self.shard)
            # Only a set that is complete before the read begins can be compared with it.
            known = self.holders if self.epoch == epoch else None
            asked = self._asked = _Asked(self._inventory.wire.writes, epoch, known)
            reply = await self._inventory.look(self.shard, self.offer_id, epoch=epoch)
            look = self._understood(asked, reply.what, reply.details)
        except Unavailable:
            pass  # claim.lua's way meets the same, and says it
        finally:
            if asked is not None:
                if self._asked is asked:
                    self._asked = None
                for one in asked.waiting:
                    if not one.done():
                        one.set_result(look)
        return look

    def _understood(self, asked: _Asked, what: str, details: tuple[str, ...]) -> Look | None:
        if what != "sold_out":
            self._memory.offers.pop(self.offer_id, None)  # until claim.lua says so again
            return None
        price_id, qty_max, holders = details
        if asked.holders is None or asked.count != int(holders):
            # Loaded only now that the shard was seen open in this epoch: a rebuild that goes on
            # meanwhile, with another set of as many, has another epoch.
            self._memory.load(self, asked.epoch)
            return None
        return Look(price_id, int(qty_max), asked.holders)


class SoldOut:
    """What a process remembers. `offers` are those to be asked; a claim looks there first."""

    def __init__(
        self, inventory: Inventory, metrics: Metrics, *, offers_max: int, holders_max: int
    ) -> None:
        self.offers: dict[str, Remembered] = {}
        self._inventory, self._metrics = inventory, metrics
        self._loop = asyncio.get_running_loop()
        self._loading: asyncio.Task[None] | None = None
        self._load_from = 0.0
        self._known: dict[str, Remembered] = {}  # also those that have units again; oldest first
        self._offers_max, self._holders_max = offers_max, holders_max

    def heard(self, shard: int, offer_id: str) -> None:
        """Claim.lua said `sold_out`."""
        if offer_id in self.offers:
            return
        known = self._known.get(offer_id)
        if known is None:
            if len(self._known) >= self._offers_max:
                self._forget(next(iter(self._known)))
            known = Remembered(self._inventory, self, shard, offer_id)
            self._known[offer_id] = known
        if known.too_many_in != self._inventory.epochs.of(shard):
            self.offers[offer_id] = known

    def load(self, known: Remembered, epoch: int) -> None:
        """Get its set anew, unless another one is being loaded or was a moment ago."""
        is_free = self._loading is None and self._loop.time() >= self._load_from
        if is_free and self._known.get(known.offer_id) is known:
            self._loading = self._loop.create_task(self._load(known, epoch), name="holders")

    async def close(self) -> None:
        """Stop what is being loaded."""
        if self._loading is not None:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading

    async def _load(self, known: Remembered, epoch: int) -> None:
        began = self._loop.time()
        try:
            holders = await self._inventory.holders(
                known.shard, known.offer_id, most=self._holders_max
            )
        except Unavailable:
            return
        finally:
            now = self._loop.time()
            self._loading, self._load_from = None, now + REST_FACTOR * (now - began)
        self._metrics.holders_loaded += 1
        known.holders, known.epoch = holders, epoch
        if holders is None:
            known.too_many_in = epoch
            self.offers.pop(known.offer_id, None)
        else:
            self._make_room(known, len(holders))

    def _make_room(self, known: Remembered, count: int) -> None:
        others = [one for one in self._known.values() if one is not known and one.holders]
        count += sum(len(one.holders or ()) for one in others)
        for one in others:
            if count <= self._holders_max:
                return
            count -= len(one.holders or ())
            one.holders = None
            self.offers.pop(one.offer_id, None)

    def _forget(self, offer_id: str) -> None:
        self.offers.pop(offer_id, None)
        del self._known[offer_id]
