"""What buyers see of an offer: price by the clock, live stock, and what they can hope for."""

import asyncio
from typing import Any

from sqlalchemy import func, select

from campaigns.catalog import Catalog, Listed
from campaigns.offer.audience import WORDS
from campaigns.offer.groups import crowd_terms, price_now, team_terms
from campaigns.offer.landing import guarantee_says, late_says
from campaigns.offer.models import Offer
from campaigns.offer.schemas import Availability, NextPrice, OfferPage, OfferView
from campaigns.order.models import Order
from campaigns.waiting.models import Wait
from engine.db import Database
from engine.errors import Unavailable
from engine.ids import now_ms
from engine.inventory import Inventory
from engine.teams import Teams


async def view_offer(
    db: Database, inventory: Inventory, teams: Teams, catalog: Catalog, offer_id: str
) -> OfferView:
    """One published offer; Missing `offer_not_found`."""
    return await _view(db, inventory, teams, await catalog.find(offer_id))


async def list_offers(
    db: Database,
    inventory: Inventory,
    teams: Teams,
    catalog: Catalog,
    *,
    campaign_id: str | None,
    limit: int,
    after: str | None,
) -> OfferPage:
    """Offers on sale or to come, newest first; `after` is the last id seen."""
    now = now_ms()
    listed = sorted(
        (
            offer
            for offer in catalog.offers.values()
            if offer.config.ends_at_ms > now
            and campaign_id in (None, offer.config.campaign_id)
            and (after is None or offer.offer_id < after)
        ),
        key=lambda offer: offer.offer_id,
        reverse=True,
    )
    page = listed[:limit]
    views = await asyncio.gather(*[_view(db, inventory, teams, offer) for offer in page])
    return OfferPage(tuple(views), page[-1].offer_id if len(listed) > limit else None)


async def _view(db: Database, inventory: Inventory, teams: Teams, listed: Listed) -> OfferView:
    config, now = listed.config, now_ms()
    state, availability = await _availability(db, inventory, listed)
    crowd = await crowd_terms(db, teams, listed)
    price_id, price_fen = price_now(config, crowd, now)
    later = [price for price in config.prices if price[2] > max(now, config.starts_at_ms)]
    return OfferView(
        offer_id=listed.offer_id,
        campaign_id=config.campaign_id,
        campaign_name=listed.campaign_name,
        sku_id=listed.sku_id,
        sku_name=listed.sku_name,
        kind=config.kind,
        phase=_phase(listed, state, now),
        price_id=price_id,
        price_fen=price_fen,
        next_price=NextPrice(later[0][1], later[0][2]) if later else None,
        shelf_price_fen=listed.shelf_price_fen,
        mall_price_fen=listed.mall_price_fen,
        starts_at_ms=config.starts_at_ms,
        ends_at_ms=config.ends_at_ms,
        launch_ms=listed.launch_ms,
        server_time_ms=now,
        availability=availability,
        per_order_max=config.per_order_max,
        per_buyer_max=config.per_buyer_max,
        per_campaign_max=config.per_campaign_max,
        hold_ms=config.hold_ms,
        pay_ms=config.pay_ms,
        audience=config.audience,
        audience_says=WORDS[config.audience].says,
        late=config.late,
        late_says=late_says(config.kind, config.late),
        guarantee_says=guarantee_says(config.kind, listed.guaranteed),
        stores=listed.stores,
        ready_after_days=listed.ready_after_days,
        team=team_terms(config),
        crowd=crowd,
    )


def _phase(listed: Listed, state: str, now: int) -> str:
    goes_on = state == "finishing" and listed.config.kind == "crowd"
    if state not in ("scheduled", "open") and not goes_on:
        return "closed"
    if listed.waits:
        return "waiting" if now < listed.config.ends_at_ms else "ended"
    if now < listed.config.starts_at_ms:
        return "upcoming"
    return "open" if now < listed.config.ends_at_ms else "ended"


async def _availability(
    db: Database, inventory: Inventory, listed: Listed
) -> tuple[str, Availability]:
    """The offer's state and stock: from the hot store, else as last settled."""
    try:
        hot = await inventory.offer_state(listed.shard, listed.offer_id)
    except Unavailable:
        hot = {}
    live = bool(hot)
    if live:
        state = hot["state"]
        total, held, sold = int(hot["total"]), int(hot["held"]), int(hot["sold"])
        waiting = int(hot.get("waiting", "0"))
    else:
        async with db.begin() as session:
            offer = await session.get_one(Offer, listed.offer_id)
            listed_waits = select(func.count()).where(Wait.offer_id == listed.offer_id)
            waiting = await session.scalar(listed_waits) or 0
        state, total, held, sold = offer.state, offer.total, offer.held, offer.sold
    word, until = "available", None
    available = total - held - sold
    if available <= 0 and (live or total):
        word, until = await _hope(db, listed.offer_id) if held else ("gone", None)
    return state, Availability(
        state=word,
        available=available,
        held=held,
        sold=sold,
        total=total,
        waiting=waiting,
        may_return_until_ms=until,
        live=live,
    )


async def _hope(db: Database, offer_id: str) -> tuple[str, int | None]:
    """Held units may lapse by their deadlines; units being paid seldom come back."""
    longest: Any = select(  # a maximum of no rows is NULL
        func.max(Order.expires_at_ms).filter(Order.claim_state == "held"),
        func.max(Order.pay_expires_at_ms).filter(Order.claim_state == "paying"),
    ).where(Order.offer_id == offer_id, Order.claim_state.in_(("held", "paying")))
    async with db.begin() as session:
        held_until, paying_until = (await session.execute(longest)).one()
    if held_until is None and paying_until is not None:
        return "sold_pending", paying_until
    return "held", held_until
