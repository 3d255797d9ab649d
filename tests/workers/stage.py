"""A small stage for worker tests: a settler on the real stores and one published offer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import text

from campaigns.campaign.models import Campaign, CampaignVersion
from campaigns.offer.models import Offer, OfferCommand
from campaigns.people.models import Binding, Guide, GuideTerm, Member, Store
from campaigns.sku.models import Sku
from engine.db import Database
from engine.ids import new_id, now_ms
from engine.inventory import Inventory, OfferConfig, Reply
from engine.scripts import load_all
from engine.settings import Settings
from engine.shards import Epochs, shard_of
from engine.teams import Teams
from engine.waiting import Waiting
from engine.wire import Wire
from workers.settle.loop import Settler

PLAN = {
    "promoter_bps": 800,
    "upline_bps": 200,
    "store_bps": 1_000,
    "level_two": True,
    "cap_bps": 3_000,
}


@dataclass
class Stage:
    """Everything a worker test needs, on one shard."""

    db: Database
    wire: Wire
    epochs: Epochs
    inventory: Inventory
    settler: Settler
    settings: Settings

    @property
    def teams(self) -> Teams:
        """The commands on teams, over the stage's wire."""
        return Teams(self.wire, self.epochs)

    @property
    def waiting(self) -> Waiting:
        """The commands on waiting lists, over the stage's wire."""
        return Waiting(self.wire, self.epochs)

    async def settle(self) -> None:
        """Rounds until every shard is open and nothing is left to settle."""
        quiet = 0
        while quiet < 2:
            quiet = quiet + 1 if await self.settler.round() == 0 else 0
        await self.epochs.refresh()

    async def offer(self, total: int, **changes: object) -> Offer:
        """A published offer of `total` units at 990 fen, open in the hot state and settled."""
        offer, command = await self.planned_offer(total, **changes)
        await self.open(offer, command)
        await self.settle()
        return offer

    async def open(self, offer: Offer, command: OfferCommand) -> None:
        """Run the script of an opening; a repeat is harmless."""
        await self.inventory.offer_open(
            offer.shard,
            offer.id,
            command_id=command.id,
            config=msgspec.convert(offer.config, OfferConfig),
            total=command.units,
        )

    async def offer_beside(self, first: Offer, total: int, **changes: object) -> Offer:
        """Another open and settled offer of `first`'s campaign, with its rules but `changes`."""
        config = msgspec.structs.replace(msgspec.convert(first.config, OfferConfig), **changes)
        offer = Offer(
            id=new_id("ofr"),
            campaign_id=first.campaign_id,
            version=1,
            shard=first.shard,
            kind=config.kind,
            sku_id="sku-1",
            state="scheduled",
            config=msgspec.to_builtins(config),
            total=0,
            held=0,
            sold=0,
        )
        command = OfferCommand(
            id=new_id("cmd"),
            offer_id=offer.id,
            shard=offer.shard,
            kind="open",
            units=total,
            reason="",
            actor="hq",
            created_at_ms=now_ms(),
        )
        async with self.db.begin() as session:
            session.add(offer)
            await session.flush()
            session.add(command)
        await self.open(offer, command)
        await self.settle()
        return offer

    async def planned_offer(self, total: int, **changes: object) -> tuple[Offer, OfferCommand]:
        """The rows of a published offer whose `offer_open` has not run yet."""
        campaign_id, now = new_id("cmp"), now_ms()
        shard = shard_of(campaign_id, self.settings.shards)
        config = msgspec.structs.replace(default_config(campaign_id), **changes)
        offer = Offer(
            id=new_id("ofr"),
            campaign_id=campaign_id,
            version=1,
            shard=shard,
            kind=config.kind,
            sku_id="sku-1",
            state="scheduled",
            config=msgspec.to_builtins(config),
            total=0,
            held=0,
            sold=0,
        )
        command = OfferCommand(
            id=new_id("cmd"),
            offer_id=offer.id,
            shard=shard,
            kind="open",
            units=total,
            reason="",
            actor="hq",
            created_at_ms=now,
        )
        async with self.db.begin() as session:
            if await session.get(Sku, "sku-1") is None:
                session.add(Sku(id="sku-1", name="茶", shelf_price_fen=2000, mall_price_fen=1900))
                await session.flush()
            session.add(
                Campaign(
                    id=campaign_id,
                    name="夜场",
                    state="scheduled",
                    draft={},
                    version=1,
                    shard=shard,
                    created_by="hq",
                    created_at_ms=now,
                    review_note="",
                )
            )
            await session.flush()
            session.add(
                CampaignVersion(
                    campaign_id=campaign_id,
                    version=1,
                    body={"split_plan": PLAN},
                    published_by="hq",
                    published_at_ms=now,
                )
            )
            session.add(offer)
            await session.flush()
            session.add(command)
        return offer, command

    async def claim(
        self, offer: Offer, buyer: str, *, qty: int = 1, key: str = "k-1", traits: str = ""
    ) -> Reply:
        """One claim at the offer's only price."""
        return await self.inventory.claim(
            offer.shard,
            offer_id=offer.id,
            campaign_id=offer.campaign_id,
            buyer_id=buyer,
            qty=qty,
            price_id="p1",
            key=f"{key}-{buyer}",
            body_hash=f"h{qty}",
            traits=traits,
        )

    async def wait(
        self, offer: Offer, buyer: str, *, qty: int = 1, key: str = "w-1", traits: str = ""
    ) -> Reply:
        """One wish for the offer's waiting list, at its only price."""
        return await self.waiting.join(
            offer.shard,
            offer_id=offer.id,
            campaign_id=offer.campaign_id,
            buyer_id=buyer,
            qty=qty,
            price_id="p1",
            key=f"{key}-{buyer}",
            body_hash=f"h{qty}",
            touch="room:r|1",
            traits=traits,
        )

    async def seat(
        self,
        offer: Offer,
        buyer: str,
        team_id: str = "",
        *,
        qty: int = 1,
        key: str = "k",
        **more: Any,
    ) -> Reply:
        """One seat at price `p1`, in a new team when none is named; `more` as `Teams.seat`."""
        return await self.teams.seat(
            offer.shard,
            offer_id=offer.id,
            campaign_id=offer.campaign_id,
            buyer_id=buyer,
            qty=qty,
            team_id=team_id,
            **{"price_id": "p1", "key": f"{key}-{buyer}", "body_hash": f"h{qty}", **more},
        )

    async def scalar(self, sql: str, **given: object) -> object:
        """One value out of the database."""
        async with self.db.begin() as session:
            return await session.scalar(text(sql), given)

    async def run(self, sql: str, **given: object) -> None:
        """One statement in one transaction."""
        async with self.db.begin() as session:
            await session.execute(text(sql), given)

    async def people(self) -> None:
        """Store s1, guides g1 (recruited by g2) and g2, member m1 bound to g1 since ever."""
        async with self.db.begin() as session:
            session.add(
                Store(id="s1", name="店", city="杭州", address="路", latitude=30.0, longitude=120.0)
            )
            session.add_all([Guide(id="g1", name="甲"), Guide(id="g2", name="乙")])
            session.add(
                Member(id="m1", nickname="某", phone_hash="h", phone_cipher=b"c", phone_shown="138")
            )
            await session.flush()
            session.add_all(
                [
                    GuideTerm(guide_id="g2", from_ms=0, store_id="s1", recruiter_id=None),
                    GuideTerm(guide_id="g1", from_ms=0, store_id="s1", recruiter_id="g2"),
                    Binding(member_id="m1", from_ms=0, guide_id="g1"),
                ]
            )


def default_config(campaign_id: str) -> OfferConfig:
    """On sale for an hour, two per buyer, one price `p1` of 990 fen."""
    now = now_ms()
    return OfferConfig(
        campaign_id=campaign_id,
        version=1,
        kind="flash",
        starts_at_ms=now - 60_000,
        ends_at_ms=now + 3_600_000,
        hold_ms=60_000,
        pay_ms=120_000,
        per_order_max=2,
        per_buyer_max=2,
        per_campaign_max=2,
        keep_until_ms=now + 7 * 86_400_000,
        late="refund",
        prices=(("p1", 990, 0),),
    )


@asynccontextmanager
async def open_stage(db: Database, valkey_url: str, **changes: object) -> AsyncIterator[Stage]:
    """A stage on an opened store; `changes` are settings."""
    settings = msgspec.structs.replace(Settings(shards=2), **changes)
    scripts = load_all()
    wire = Wire(valkey_url, scripts.values())
    epochs = Epochs(db, every_ms=100)
    inventory = Inventory(wire, epochs, scripts, settle_lag_max_ms=settings.settle_lag_max_ms)
    await wire.start()
    stage = Stage(db, wire, epochs, inventory, Settler(db, inventory, settings), settings)
    try:
        await stage.settle()
        await epochs.start()
        yield stage
    finally:
        await epochs.close()
        await wire.close()


@asynccontextmanager
async def settling(stage: Stage) -> AsyncIterator[None]:
    """The settler's loop runs while inside."""
    stop = asyncio.Event()
    task = asyncio.create_task(stage.settler.run(stop))
    try:
        yield
    finally:
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await task
