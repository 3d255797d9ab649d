"""Sold-out answers from memory: which offers are, and who may hold something of them.

When claim.lua has said `sold_out`, the process remembers the offer. From then on all its claims of
one loop turn share one read of the hot store (look.lua) that begins after the last of them came
in, so nothing is ever stale: a unit that came free before is seen. If it says plainly sold out,
and as many buyers have ever held something as this process has in its set, the set is exactly
theirs (it only grows within an epoch); whoever is not in it, and asks for the price and a quantity
that hold, is refused without a script of their own. Everybody else goes to claim.lua as ever.

So each refusal is what claim.lua would have said in that moment, but for one: who has no room left
within a limit of the *campaign* (units in its other offers, the right of a new customer used up) is
told `sold_out` here, not `limit_reached`. Both are true.
"""

import asyncio
import contextlib
from typing import NamedTuple

import hiredis

from campaigns.metrics import Metrics
from engine.errors import Unavailable
from engine.inventory import Inventory
from engine.offers import Audience
from engine.tokens import Access

REST_FACTOR = 9  # after a load of the set, times what it took: so loads cost a tenth at most


class Look(NamedTuple):
    """What one read said, for buyers that are not among `holders`."""

    price_id: str
    qty_max: int
    holders: set[str]

    def refuses(self, buyer_id: str, qty: int, price_id: str) -> bool:
        """Whether claim.lua would have said `sold_out` to this claim."""
        return price_id == self.price_id and qty <= self.qty_max and buyer_id not in self.holders


class _Asked:
    """A read that is queued or under way, with the set that was complete before it began."""

    __slots__ = ("epoch", "holders", "waiting", "writes")

    def __init__(self, writes: int, epoch: int, holders: set[str] | None) -> None:
        self.writes, self.epoch, self.holders = writes, epoch, holders
        self.waiting: list[asyncio.Future[Look | None]] = []


class Remembered:
    """One offer that was sold out a moment ago."""

    def __init__(self, inventory: Inventory, memory: "SoldOut", shard: int, offer_id: str) -> None:
        self.shard, self.offer_id = shard, offer_id
        self.holders: set[str] = set()  # as it was in `epoch`, complete
        self.epoch = 0  # none
        self.too_many_in = 0  # the epoch in which they are more than a process may keep
        self._inventory, self._memory, self._wire = inventory, memory, inventory.wire
        self._new_future = asyncio.get_running_loop().create_future
        self._asked: _Asked | None = None

    def may_refuse(self, who: Access, audience: Audience) -> bool:
        """Whether a look can answer this buyer: no holder, and nobody the offer is not for."""
        return who.subject not in self.holders and (
            audience == "all" or audience[0] in who.all_traits
        )

    def look(self) -> asyncio.Future[Look | None]:
        """What a read says that begins after this call; None: claim.lua decides.

        The read is one for all who ask until it is written out. Each has a future of their own:
        who is cancelled takes no other along.
        """
        mine: asyncio.Future[Look | None] = self._new_future()
        asked = self._asked
        if asked is None or asked.writes != self._wire.writes:
            asked = self._ask()
        if asked is None:
            mine.set_result(None)
        else:
            asked.waiting.append(mine)
        return mine

    def _ask(self) -> _Asked | None:
        try:
            epoch = self._inventory.epochs.of(self.shard)
            reply = self._inventory.look(self.shard, self.offer_id)
        except Unavailable:
            return None  # claim.lua's way meets the same, and says it
        known = self.holders if self.epoch == epoch else None
        asked = self._asked = _Asked(self._wire.writes, epoch, known)
        reply.add_done_callback(lambda told: self._answer(asked, told))
        return asked

    def _answer(self, asked: _Asked, told: "asyncio.Future[list[bytes]]") -> None:
        if self._asked is asked:
            self._asked = None
        look = None
        try:
            look = self._understood(asked, told.result())
        except (Unavailable, hiredis.ReplyError, asyncio.CancelledError):
            pass  # likewise
        finally:
            for one in asked.waiting:
                if not one.done():
                    one.set_result(look)

    def _understood(self, asked: _Asked, reply: list[bytes]) -> Look | None:
        if reply[0] != b"sold_out":
            self._memory.offers.pop(self.offer_id, None)  # until claim.lua says so again
            return None
        holders, count = asked.holders, int(reply[3])
        if holders is None or len(holders) != count:
            # Loaded only now that the shard was seen open in this epoch: a rebuild that goes on
            # meanwhile, with another set of as many, has another epoch.
            self._memory.load(self, asked.epoch)
            return None
        return Look(reply[1].decode(), int(reply[2]), holders)


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
        if holders is None:
            known.holders, known.epoch, known.too_many_in = set(), 0, epoch
            self.offers.pop(known.offer_id, None)
        else:
            known.holders, known.epoch = holders, epoch
            self._make_room(known)

    def _make_room(self, known: Remembered) -> None:
        count = sum(len(one.holders) for one in self._known.values())
        for one in self._known.values():
            if count <= self._holders_max:
                return
            if one is not known:
                count -= len(one.holders)
                one.holders, one.epoch = set(), 0
                self.offers.pop(one.offer_id, None)

    def _forget(self, offer_id: str) -> None:
        self.offers.pop(offer_id, None)
        del self._known[offer_id]
