"""A launched flash, settled: every law holds by its new window, and a rebuild brings it back."""

import msgspec

from campaigns.campaign import service as campaigns
from campaigns.campaign.publish import publish
from campaigns.campaign.schemas import CampaignIn, OfferIn, PriceIn, ReviewIn
from campaigns.catalog import Catalog
from campaigns.offer.models import Offer
from campaigns.room import service
from campaigns.room.launch import launch
from campaigns.room.schemas import LaunchIn, RoomIn
from campaigns.room.service import Rooms
from campaigns.sku.models import Sku
from engine.audit.run import run_audit
from engine.ids import now_ms
from engine.ledger.splits import SplitPlan
from engine.rooms import RoomLogs
from engine.tokens import Access
from tests.waiting import eventually
from tests.workers.stage import PLAN, Stage

HQ = Access("stf_hq", "hq", "", "k1", 2**53)
HOUR_MS = 3_600_000


async def waiting_offer(stage: Stage) -> Offer:
    """A published flash of 5 units for its host to launch, for ten minutes."""
    async with stage.db.begin() as session:
        session.add(Sku(id="sku-1", name="茶", shelf_price_fen=2000, mall_price_fen=1900))
    draft = CampaignIn(
        name="夜场",
        starts_at_ms=now_ms() - HOUR_MS,
        ends_at_ms=now_ms() + HOUR_MS,
        offers=[
            OfferIn(
                sku_id="sku-1",
                total=5,
                prices=[PriceIn(price_fen=990)],
                launch="host",
                duration_ms=600_000,
            )
        ],
        split_plan=msgspec.convert(PLAN, SplitPlan),
    )
    made = await campaigns.create(stage.db, HQ, draft)
    await campaigns.submit(stage.db, stage.settings, HQ, made.id)
    await campaigns.review(stage.db, HQ, made.id, ReviewIn(decision="approve"))
    published = await publish(stage.db, stage.inventory, stage.settings, HQ, made.id)
    async with stage.db.begin() as session:
        return await session.get_one(Offer, published.offers[0].offer_id)


async def buy(stage: Stage, offer: Offer, buyer: str) -> str:
    """The word that the claim script answers."""
    reply = await stage.inventory.claim(
        offer.shard,
        offer_id=offer.id,
        campaign_id=offer.campaign_id,
        buyer_id=buyer,
        qty=1,
        price_id=offer.config["prices"][0][0],
        key=f"key-{buyer}",
        body_hash="h",
    )
    return reply.what


async def test_the_laws_and_a_rebuild_know_the_launched_window(stage: Stage) -> None:
    await stage.people()
    offer = await waiting_offer(stage)
    await stage.settle()
    assert await buy(stage, offer, "m1") == "unknown_offer"
    rooms = Rooms(stage.db, stage.inventory, RoomLogs(stage.wire, settings=stage.settings), 100)
    room = await service.create(
        rooms,
        HQ,
        RoomIn(title="夜", store_id="s1", host_guide_id="g1", starts_at_ms=0, offers=[offer.id]),
    )
    await service.step(rooms, HQ, room.room_id, "live")
    asked = LaunchIn(offer_id=offer.id, countdown_ms=3_000)  # buying below must be sooner
    said = await launch(rooms, Catalog(stage.db), HQ, room.room_id, asked)
    assert said.in_effect
    assert await buy(stage, offer, "m1") == "not_open"

    async def sold() -> bool:
        return await buy(stage, offer, "m1") in ("held", "stored")

    await eventually(sold)
    await stage.settle()
    report = await run_audit(stage.db, stage.wire, stale_ms=0)
    assert report.broken == (), report.lines()
    assert report.law("I9").checked > 0

    await stage.wire.call("FLUSHALL")
    await stage.settle()
    hot = await stage.inventory.offer_state(offer.shard, offer.id)
    window = (str(said.starts_at_ms), str(said.ends_at_ms))
    assert (hot["starts_at_ms"], hot["ends_at_ms"], hot["held"]) == (*window, "1")
    again = await launch(rooms, Catalog(stage.db), HQ, room.room_id, asked)
    assert (again.starts_at_ms, again.command_id) == (said.starts_at_ms, said.command_id)
    assert await buy(stage, offer, "m2") == "held"
    await stage.settle()
    assert (await run_audit(stage.db, stage.wire, stale_ms=0)).broken == ()
