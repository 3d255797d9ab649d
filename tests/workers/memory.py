"""API processes on a stage, as far as claims go: a wire, epochs and a memory of their own each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from campaigns.catalog import Catalog
from campaigns.claim.hot import HotClaims, body_hash
from campaigns.claim.replies import Answer
from campaigns.claim.schemas import ClaimIn
from campaigns.claim.sold_out import SoldOut
from campaigns.metrics import Metrics
from campaigns.offer.models import Offer
from engine.ids import now_ms
from engine.inventory import Inventory, Reply
from engine.scripts import load_all
from engine.shards import Epochs
from engine.teams import Teams
from engine.tokens import Access, TokenKeys
from engine.wire import Wire
from tests.waiting import eventually
from tests.workers.stage import Stage

HOLDERS_MAX = 1_000
SECRET = "a secret for tests only"


@dataclass
class Process:
    """Claims through one process's handler, as `HotClaims` decides them."""

    stage: Stage
    inventory: Inventory
    hot: HotClaims
    memory: SoldOut
    metrics: Metrics

    async def claim(
        self,
        offer: Offer,
        buyer: str,
        *,
        qty: int = 1,
        key: str = "k-1",
        price_id: str = "p1",
        traits: str = "",
    ) -> Answer:
        """One claim; `key` is made the buyer's own."""
        who = Access(buyer, "customer", "", "k1", now_ms() + 60_000, traits=traits)
        wanted = ClaimIn(qty=qty, price_id=price_id)
        return await self.hot.decide(who, offer.id, f"{key}-{buyer}", wanted)

    async def remembers(self, offer: Offer, traits: str = "") -> None:
        """Wait until a stranger is refused from memory."""

        async def is_quick() -> bool:
            before = self.metrics.from_memory
            await self.claim(offer, "stranger", traits=traits)
            return self.metrics.from_memory > before

        await eventually(is_quick)

    async def knows(self, offer: Offer, epoch: int) -> None:
        """Wait until this process has heard of the shard's new epoch."""
        await eventually(lambda: self.inventory.epochs.of(offer.shard) == epoch)

    async def rest(self) -> None:
        """Wait until nothing is being loaded and a load may begin."""
        loop = asyncio.get_running_loop()
        await eventually(lambda: self.memory._loading is None)
        await asyncio.sleep(max(0.0, self.memory._load_from - loop.time()))


async def plainly(
    stage: Stage, offer: Offer, buyer: str, *, qty: int = 1, key: str = "k-1", price_id: str = "p1"
) -> Reply:
    """What claim.lua itself says to the claim of that name."""
    return await stage.inventory.claim(
        offer.shard,
        offer_id=offer.id,
        campaign_id=offer.campaign_id,
        buyer_id=buyer,
        qty=qty,
        price_id=price_id,
        key=f"{key}-{buyer}",
        body_hash=body_hash(ClaimIn(qty=qty, price_id=price_id)),
    )


@asynccontextmanager
async def process(
    stage: Stage, url: str, *, offers_max: int = 100, holders_max: int = HOLDERS_MAX
) -> AsyncIterator[Process]:
    """One more process on the stage's stores."""
    scripts = load_all()
    wire = Wire(url, scripts.values())
    epochs = Epochs(stage.db, every_ms=20)
    lag_max_ms = stage.settings.settle_lag_max_ms
    inventory = Inventory(wire, epochs, scripts, settle_lag_max_ms=lag_max_ms)
    teams = Teams(wire, epochs, scripts)
    metrics, catalog = Metrics(), Catalog(stage.db)
    memory = SoldOut(inventory, metrics, offers_max=offers_max, holders_max=holders_max)
    tokens = TokenKeys.from_setting(SECRET)
    await wire.start()
    try:
        await epochs.start()
        hot = HotClaims(inventory, teams, catalog, tokens, metrics, memory, body_bytes_max=1_000)
        yield Process(stage, inventory, hot, memory, metrics)
    finally:
        await memory.close()
        await epochs.close()
        await wire.close()
