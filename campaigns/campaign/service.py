"""Drafting and reviewing campaigns. Each change is one transaction with its audit row."""

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.campaign import rules
from campaigns.campaign.cancel_words import campaign_says
from campaigns.campaign.models import Campaign
from campaigns.campaign.schemas import (
    CampaignIn,
    CampaignOut,
    CampaignPage,
    Cancelled,
    PublishedOffer,
    ReviewIn,
)
from campaigns.campaign.states import Action, move, shown
from campaigns.offer.models import Offer
from campaigns.offer.on_sale import prices_on_sale
from campaigns.people.models import Store
from campaigns.sku.models import Sku
from engine.db import Database
from engine.errors import BadInput, Missing
from engine.ids import new_id, now_ms
from engine.settings import Settings
from engine.tokens import Access


def missing_campaign() -> Missing:
    """No such campaign."""
    return Missing("campaign_not_found", "There is no such campaign.", "Look at the list.")


async def create(db: Database, who: Access, draft: CampaignIn) -> CampaignOut:
    """A new draft. What it promises is checked when it is submitted."""
    campaign = Campaign(
        id=new_id("cmp"),
        name=draft.name,
        state="draft",
        draft=msgspec.to_builtins(draft),
        version=0,
        created_by=who.subject,
        created_at_ms=now_ms(),
        review_note="",
    )
    async with db.begin() as session:
        session.add(campaign)
        record_change(session, who.subject, "campaign.create", campaign.id, name=draft.name)
    return _out(campaign, ())


async def edit(db: Database, who: Access, campaign_id: str, draft: CampaignIn) -> CampaignOut:
    """Replace the draft; Conflict `campaign_state` once it is in review or published."""
    async with db.begin() as session:
        campaign = await lock(session, campaign_id)
        campaign.state = _step(session, who, campaign, "edit")
        campaign.name = draft.name
        campaign.draft = msgspec.to_builtins(draft)
    return _out(campaign, ())


async def submit(db: Database, settings: Settings, who: Access, campaign_id: str) -> CampaignOut:
    """Into review; Unprocessable `campaign_invalid` names every rule it breaks."""
    async with db.begin() as session:
        campaign = await lock(session, campaign_id)
        draft = read_draft(campaign)
        after = _step(session, who, campaign, "submit")
        await check_rules(session, settings, draft)
        campaign.state = after
        campaign.review_note = ""
    return _out(campaign, ())


async def review(db: Database, who: Access, campaign_id: str, decision: ReviewIn) -> CampaignOut:
    """Approve or reject; BadInput `note_missing` when a rejection does not say why."""
    if decision.decision == "reject" and not decision.note.strip():
        raise BadInput(
            "note_missing", "A rejection needs a note.", "Say in `note` what has to change."
        )
    async with db.begin() as session:
        campaign = await lock(session, campaign_id)
        campaign.state = _step(session, who, campaign, decision.decision, note=decision.note)
        campaign.review_note = decision.note
    return _out(campaign, ())


async def get(db: Database, campaign_id: str) -> CampaignOut:
    """One campaign; Missing `campaign_not_found`."""
    async with db.begin() as session:
        campaign = await session.get(Campaign, campaign_id)
        if campaign is None:
            raise missing_campaign()
        offers = await session.scalars(
            select(Offer).where(Offer.campaign_id == campaign_id).order_by(Offer.id)
        )
        return _out(campaign, offers.all())


async def page(db: Database, *, limit: int, after: str | None, state: str | None) -> CampaignPage:
    """Newest first (ids sort by birth), without their offers; `after` is the last id seen.

    `state` filters by what is stored: a running or ended campaign is `scheduled` here.
    """
    query = select(Campaign).order_by(Campaign.id.desc()).limit(limit + 1)
    if after is not None:
        query = query.where(Campaign.id < after)
    if state is not None:
        query = query.where(Campaign.state == state)
    async with db.begin() as session:
        found = (await session.scalars(query)).all()
    shown_now = tuple([_out(campaign, ()) for campaign in found[:limit]])
    return CampaignPage(shown_now, found[limit - 1].id if len(found) > limit else None)


async def lock(session: AsyncSession, campaign_id: str) -> Campaign:
    """The campaign, locked for a change; Missing `campaign_not_found`."""
    campaign = await session.get(Campaign, campaign_id, with_for_update=True)
    if campaign is None:
        raise missing_campaign()
    return campaign


def read_draft(campaign: Campaign) -> CampaignIn:
    """The stored draft in its shape."""
    return msgspec.convert(campaign.draft, CampaignIn)


async def check_rules(session: AsyncSession, settings: Settings, draft: CampaignIn) -> None:
    """Lock the SKUs in sorted order, so that no price moves under us, and check all rules.

    The same locks let one of two publishers of a SKU wait for the other, whose offers it then
    reads: a statement of its own, begun after the locks, sees what was committed meanwhile.
    """
    sku_ids = {offer.sku_id for offer in draft.offers}
    skus = await session.scalars(
        select(Sku).where(Sku.id.in_(sku_ids)).order_by(Sku.id).with_for_update()
    )
    references = {
        sku.id: rules.Reference(sku.shelf_price_fen, sku.mall_price_fen, sku.floor_price_fen)
        for sku in skus
    }
    known = set(await session.scalars(select(Store.id).where(Store.id.in_(draft.stores))))
    on_sale = await prices_on_sale(
        session, sku_ids, from_ms=draft.starts_at_ms, until_ms=draft.ends_at_ms
    )
    rules.check(draft, references, known, on_sale, rules.terms_of(settings), now_ms())


def _step(
    session: AsyncSession, who: Access, campaign: Campaign, action: Action, **detail: str
) -> str:
    """The state after `action`, with its audit row."""
    after = move(campaign.state, action)
    record_change(
        session, who.subject, f"campaign.{action}", campaign.id, before=campaign.state, **detail
    )
    return after


def _out(campaign: Campaign, offers: Sequence[Offer]) -> CampaignOut:
    draft = read_draft(campaign)
    return CampaignOut(
        id=campaign.id,
        state=shown(campaign.state, draft.starts_at_ms, draft.ends_at_ms, now_ms()),
        version=campaign.version,
        shard=campaign.shard,
        review_note=campaign.review_note,
        created_by=campaign.created_by,
        created_at_ms=campaign.created_at_ms,
        draft=draft,
        on_cancel_says=campaign_says(
            draft.on_cancel, is_cancelled=campaign.cancelled_at_ms is not None
        ),
        cancelled=_cancelled(campaign),
        offers=tuple([published(offer) for offer in offers]),
    )


def _cancelled(campaign: Campaign) -> Cancelled | None:
    if campaign.cancelled_at_ms is None or campaign.cancelled_by is None:
        return None
    return Cancelled(
        by=campaign.cancelled_by, at_ms=campaign.cancelled_at_ms, note=campaign.cancel_note
    )


def published(offer: Offer) -> PublishedOffer:
    """An offer row for HQ."""
    prices: Iterable[Sequence[str]] = offer.config["prices"]
    team = offer.config.get("team") or {}
    captain_price = team.get("captain_price")
    return PublishedOffer(
        offer_id=offer.id,
        kind=offer.kind,
        sku_id=offer.sku_id,
        state=offer.state,
        audience=offer.config.get("audience", "all"),
        total=offer.total,
        held=offer.held,
        sold=offer.sold,
        price_ids=tuple([price[0] for price in prices]),
        captain_price_id=captain_price[0] if captain_price else None,
        crowd_id=team.get("crowd_id") or None,
    )
