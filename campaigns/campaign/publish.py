"""Publishing: the approved draft becomes an immutable version, its offers, and their commands.

All rows are committed before any script runs. Offers that a host launches get no command yet
(campaigns/room/launch.py). The scripts then run at once, and whatever does
not get through (a shard that reopens) is repeated by the worker from the committed commands.
"""

import logging

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.campaign import service
from campaigns.campaign.group_terms import group_terms
from campaigns.campaign.models import Campaign, CampaignVersion
from campaigns.campaign.schemas import CampaignIn, CampaignOut, OfferIn
from campaigns.campaign.states import move
from campaigns.offer.models import (
    GUARANTEE_FIELD,
    LAUNCH_FIELD,
    READY_FIELD,
    STORES_FIELD,
    Offer,
    OfferCommand,
)
from campaigns.offer.service import apply_soon
from engine.db import Database
from engine.ids import new_id, now_ms
from engine.inventory import Inventory, OfferConfig
from engine.settings import Settings
from engine.shards import shard_of
from engine.tokens import Access

log = logging.getLogger(__name__)


async def publish(
    db: Database, inventory: Inventory, settings: Settings, who: Access, campaign_id: str
) -> CampaignOut:
    """Publish an approved campaign and open its offers on their shard.

    Raises Missing, Conflict `campaign_state`, Unprocessable `campaign_invalid` (its SKUs' prices,
    the clock or what else is on sale may have moved since the review). Two publishers of one SKU
    wait for each other: the second sees the first's offers, and is refused if they conflict.
    """
    async with db.begin() as session:
        campaign = await service.lock(session, campaign_id)
        after = move(campaign.state, "publish")
        draft = service.read_draft(campaign)
        await service.check_rules(session, settings, draft)
        campaign.state = after
        campaign.version = 1
        campaign.shard = shard_of(campaign_id, settings.shards)
        offers = [_offer(campaign, draft, offer, settings) for offer in draft.offers]
        session.add(_version(campaign, draft, offers, who))
        session.add_all(offers)
        await session.flush()  # no relationships: the commands' foreign keys need the offers first
        commands = _open_commands(session, draft, offers, who)
        record_change(
            session,
            who.subject,
            "campaign.publish",
            campaign_id,
            version=campaign.version,
            offers=[offer.id for offer in offers],
        )
    await apply_soon(db, inventory, commands)
    return await service.get(db, campaign_id)


def _offer(campaign: Campaign, draft: CampaignIn, offer: OfferIn, settings: Settings) -> Offer:
    assert campaign.shard is not None
    offer_id = new_id("ofr")
    by_host = offer.launch == "host"
    prices, team = group_terms(offer_id, offer)
    config = OfferConfig(
        campaign_id=campaign.id,
        version=campaign.version,
        kind=offer.kind,
        # Until its host launches it, an offer's window is empty and lies at the campaign's end.
        starts_at_ms=draft.ends_at_ms if by_host else draft.starts_at_ms,
        ends_at_ms=draft.ends_at_ms,
        hold_ms=draft.hold_ms or settings.hold_ms,
        pay_ms=draft.pay_ms or settings.pay_ms,
        per_order_max=offer.per_order_max,
        per_buyer_max=offer.per_buyer_max,
        per_campaign_max=draft.per_campaign_max,
        keep_until_ms=draft.ends_at_ms + settings.idem_keep_ms,
        late=offer.late or {"team": "new", "crowd": "seat"}.get(offer.kind, draft.late),
        prices=prices,
        team=team,
        on_cancel=draft.on_cancel,
        audience=offer.audience,
    )
    kept = msgspec.to_builtins(config)
    kept[STORES_FIELD] = list(draft.stores)
    if offer.kind != "flash":
        kept[READY_FIELD] = offer.ready_after_days
    if offer.upgrade_guarantee:
        kept[GUARANTEE_FIELD] = True
    if by_host:
        kept[LAUNCH_FIELD] = offer.duration_ms
    return Offer(
        id=offer_id,
        campaign_id=campaign.id,
        version=campaign.version,
        shard=campaign.shard,
        kind=offer.kind,
        sku_id=offer.sku_id,
        state="scheduled",
        config=kept,
        total=0,  # the settler adds what `offer.opened` says
        held=0,
        sold=0,
    )


def _version(
    campaign: Campaign, draft: CampaignIn, offers: list[Offer], who: Access
) -> CampaignVersion:
    """Everything that was promised, as it was promised; `split_plan` is what the settler reads."""
    body = msgspec.to_builtins(draft)
    for sent, offer in zip(body["offers"], offers, strict=True):
        sent["offer_id"] = offer.id
        sent["config"] = offer.config
    return CampaignVersion(
        campaign_id=campaign.id,
        version=campaign.version,
        body=body,
        published_by=who.subject,
        published_at_ms=now_ms(),
    )


def _open_commands(
    session: AsyncSession, draft: CampaignIn, offers: list[Offer], who: Access
) -> list[str]:
    commands = [
        OfferCommand(
            id=new_id("cmd"),
            offer_id=offer.id,
            shard=offer.shard,
            kind="open",
            units=wanted.total,
            actor=who.subject,
            created_at_ms=now_ms(),
        )
        for wanted, offer in zip(draft.offers, offers, strict=True)
        if wanted.launch == "schedule"
    ]
    session.add_all(commands)
    return [command.id for command in commands]
