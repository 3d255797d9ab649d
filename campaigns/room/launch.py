"""Launching: a room's host opens an approved flash with a countdown.

The offer was published without a window. One transaction gives it one (by the row's lock, once),
commits the `open` command that every published offer has, and the room's event. After it the
command runs as on publishing, and is repeated by the worker until it is applied.
"""

import hashlib
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.campaign.models import CampaignVersion
from campaigns.catalog import Catalog
from campaigns.offer.models import LAUNCH_FIELD, Offer, OfferCommand, awaits_launch
from campaigns.offer.service import apply_soon
from campaigns.room.changes import add_commands, lock_room, publish_soon
from campaigns.room.parts import offer_card
from campaigns.room.schemas import LaunchIn, LaunchOut
from campaigns.room.service import Rooms, not_on_shelf
from campaigns.sku.models import Sku
from engine.errors import Conflict
from engine.ids import now_ms
from engine.tokens import Access


async def launch(
    rooms: Rooms, catalog: Catalog, who: Access, room_id: str, wanted: LaunchIn
) -> LaunchOut:
    """Open the offer after its countdown; a repeat answers what the first launch decided.

    Missing `room_not_found`; Conflict `room_state`, `not_launchable`, `already_launched`,
    `outside_campaign`, `campaign_cancelled`; Unprocessable `not_on_shelf`.
    """
    commands: list[str] = []
    async with rooms.db.begin() as session:
        room = await lock_room(session, who, room_id, "launch")
        if wanted.offer_id not in room.shelf:
            raise not_on_shelf()
        offer = await session.get_one(Offer, wanted.offer_id, with_for_update=True)
        if LAUNCH_FIELD not in offer.config:
            raise Conflict(
                "not_launchable",
                "This offer opens by its schedule.",
                "Nothing was changed. Only a flash that was approved for it is launched by a host.",
            )
        command_id = _command_id(offer.id)
        if awaits_launch(offer.config):
            if offer.state == "cancelled":
                raise Conflict(
                    "campaign_cancelled",
                    "This offer's campaign was cancelled.",
                    "Nothing was changed, and nothing of it is sold any more.",
                )
            total = await _give_window(session, offer, wanted.countdown_ms)
            session.add(_opening(who, room_id, offer, command_id, total))
            # `open` already: its window says that it begins later, as of any published offer.
            card = offer_card(offer, await session.get_one(Sku, offer.sku_id), "open")
            commands = await add_commands(session, who, room_id, "launch", [card])
            record_change(
                session,
                who.subject,
                "offer.launch",
                offer.id,
                room_id=room_id,
                command_id=command_id,
                countdown_ms=wanted.countdown_ms,
                starts_at_ms=offer.config["starts_at_ms"],
                ends_at_ms=offer.config["ends_at_ms"],
            )
        else:
            await _same_room(session, command_id, room_id)
        window = offer.config
    await publish_soon(rooms.db, rooms.inventory, rooms.logs, commands)
    in_effect = await apply_soon(rooms.db, rooms.inventory, [command_id])
    if commands:
        await catalog.refresh()
    return LaunchOut(
        command_id=command_id,
        offer_id=wanted.offer_id,
        starts_at_ms=window["starts_at_ms"],
        ends_at_ms=window["ends_at_ms"],
        in_effect=in_effect,
    )


async def _give_window(session: AsyncSession, offer: Offer, countdown_ms: int) -> int:
    """Set the offer's window, inside the campaign's; its units."""
    version = await session.get_one(CampaignVersion, (offer.campaign_id, offer.version))
    begins, ends = version.body["starts_at_ms"], version.body["ends_at_ms"]
    starts = now_ms() + countdown_ms
    if not begins <= starts < ends:
        raise Conflict(
            "outside_campaign",
            "The campaign is over." if starts >= ends else "The campaign has not begun.",
            "Nothing was changed: an offer is only open within its campaign's window.",
            starts_at_ms=begins,
            ends_at_ms=ends,
        )
    until = min(starts + offer.config[LAUNCH_FIELD], ends)
    offer.config = {**offer.config, "starts_at_ms": starts, "ends_at_ms": until}
    promised: dict[str, Any] = next(
        one for one in version.body["offers"] if one["offer_id"] == offer.id
    )
    return int(promised["total"])


def _command_id(offer_id: str) -> str:
    """One per offer: it is launched once, whoever asks."""
    return "cmd_" + hashlib.sha256(f"launch {offer_id}".encode()).hexdigest()[:32]


def _opening(who: Access, room_id: str, offer: Offer, command_id: str, total: int) -> OfferCommand:
    return OfferCommand(
        id=command_id,
        offer_id=offer.id,
        shard=offer.shard,
        kind="open",
        units=total,
        reason=_reason(room_id),
        actor=who.subject,
        created_at_ms=now_ms(),
    )


async def _same_room(session: AsyncSession, command_id: str, room_id: str) -> None:
    """A repeat by the same room is fine; another room came first otherwise."""
    reason = await session.scalar(select(OfferCommand.reason).where(OfferCommand.id == command_id))
    if reason != _reason(room_id):
        raise Conflict(
            "already_launched",
            "This offer was launched in another room.",
            "Nothing was changed. It is on sale there and on this room's shelf.",
        )


def _reason(room_id: str) -> str:
    return f"launch:{room_id}"
