"""The kill switch: a published campaign is cancelled, with the effect it declared on open teams.

One transaction makes the campaign `cancelled` and commits a command for each of its offers; then
these run as any offer command does, and are repeated until they are applied, in any epoch. What
becomes of teams is the scripts' and workers/teams.py's.
"""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.campaign import service
from campaigns.campaign.models import Campaign
from campaigns.campaign.schemas import CampaignOut
from campaigns.campaign.states import move, refuse, shown
from campaigns.offer.models import Offer, OfferCommand, awaits_launch
from campaigns.offer.service import apply_soon
from engine.db import Database
from engine.ids import now_ms
from engine.inventory import Inventory
from engine.tokens import Access


async def cancel(
    db: Database, inventory: Inventory, who: Access, campaign_id: str, note: str
) -> CampaignOut:
    """Cancel a scheduled or running campaign; a repeat changes nothing and answers the same.

    Raises Missing `campaign_not_found`, Conflict `campaign_state`.
    """
    async with db.begin() as session:
        campaign = await service.lock(session, campaign_id)
        commands = await _cancel(session, who, campaign, note)
    await apply_soon(db, inventory, commands)
    return await service.get(db, campaign_id)


async def _cancel(session: AsyncSession, who: Access, campaign: Campaign, note: str) -> list[str]:
    """The commands to run, old ones for a repeat: all are idempotent."""
    # Locked in the settler's order; a host who is launching one of them waits, and is refused.
    query = select(Offer).where(Offer.campaign_id == campaign.id).order_by(Offer.id)
    offers = (await session.scalars(query.with_for_update())).all()
    if campaign.state == "cancelled":
        return [_command_id(one.id) for one in offers if not awaits_launch(one.config)]
    draft, now = service.read_draft(campaign), now_ms()
    after = move(campaign.state, "cancel")
    if shown(campaign.state, draft.starts_at_ms, draft.ends_at_ms, now) == "ended":
        raise refuse("ended", "cancel")
    campaign.state, campaign.cancel_note = after, note
    campaign.cancelled_at_ms, campaign.cancelled_by = now, who.subject
    commands = []
    for offer in offers:
        if awaits_launch(offer.config):
            offer.state = "cancelled"  # the hot store has never heard of it, and never will
            continue
        commands.append(
            OfferCommand(
                id=_command_id(offer.id),
                offer_id=offer.id,
                shard=offer.shard,
                kind="cancel",
                units=0,
                reason=note,
                actor=who.subject,
                created_at_ms=now,
            )
        )
    session.add_all(commands)
    record_change(
        session,
        who.subject,
        "campaign.cancel",
        campaign.id,
        note=note,
        on_cancel=draft.on_cancel,
        offers=[offer.id for offer in offers],
    )
    return [command.id for command in commands]


def _command_id(offer_id: str) -> str:
    """One per offer: whoever cancels, it is closed once."""
    return f"cancel-{offer_id}"
