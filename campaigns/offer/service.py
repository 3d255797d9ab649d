"""HQ's commands on published offers: committed first, then run, repeated until they are applied."""

import hashlib
import logging
from collections.abc import Iterable
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.catalog import missing_offer
from campaigns.offer.models import Offer, OfferCommand, awaits_launch
from campaigns.offer.schemas import CommandOut
from engine.db import Database
from engine.errors import Conflict, KaituanError, Unprocessable
from engine.ids import now_ms
from engine.inventory import Inventory, OfferConfig, Reply
from engine.tokens import Access

log = logging.getLogger(__name__)

_IN_EFFECT = ("opened", "restocked", "closed", "done")


async def apply_offer_command(
    db: Database, inventory: Inventory, command_id: str, *, epoch: int | None = None
) -> str:
    """Run the script of a committed command; the reply's word (`done` when it ran before).

    `epoch`: of the SQL statement that found the command, so that nothing read before a rebuild
    is repeated after it. Unavailable when the hot store cannot be reached.
    """
    async with db.begin() as session:
        row = (
            await session.execute(
                select(OfferCommand, Offer.config)
                .join(Offer, Offer.id == OfferCommand.offer_id)
                .where(OfferCommand.id == command_id)
            )
        ).one()
        command, config = row
        cancels = await _cancels(session, command)
    if command.applied_seq is not None:
        return "done"
    reply = await _run(inventory, command, config, epoch)
    if cancels is not None:
        await apply_offer_command(db, inventory, cancels, epoch=epoch)
    return reply.what


async def _cancels(session: AsyncSession, command: OfferCommand) -> str | None:
    """The cancellation that an opening waited for too long: nobody shall claim in between."""
    if command.kind != "open":
        return None
    found: str | None = await session.scalar(
        select(OfferCommand.id).where(
            OfferCommand.offer_id == command.offer_id,
            OfferCommand.kind == "cancel",
            OfferCommand.applied_seq.is_(None),
        )
    )
    return found


async def _run(
    inventory: Inventory, command: OfferCommand, config: dict[str, object], epoch: int | None
) -> Reply:
    shard, offer_id = command.shard, command.offer_id
    match command.kind:
        case "open":
            return await inventory.offer_open(
                shard,
                offer_id,
                command_id=command.id,
                config=msgspec.convert(config, OfferConfig),
                total=command.units,
                epoch=epoch,
            )
        case "restock":
            return await inventory.offer_restock(
                shard, offer_id, command_id=command.id, units=command.units, epoch=epoch
            )
        case "close":
            state = "frozen" if command.reason == "guard" else "closed"
            return await inventory.offer_close(
                shard, offer_id, command_id=command.id, state=state, epoch=epoch
            )
        case "cancel":
            return await inventory.offer_close(
                shard, offer_id, command_id=command.id, state="cancelled", epoch=epoch
            )
        case _:
            raise AssertionError(f"offer command {command.id} is a {command.kind!r}")


async def apply_soon(db: Database, inventory: Inventory, command_ids: Iterable[str]) -> bool:
    """Run committed commands now; False when some must wait for the worker's repeats."""
    in_effect = True
    for command_id in command_ids:
        try:
            word = await apply_offer_command(db, inventory, command_id)
        except KaituanError as error:
            word = error.code
        if word not in _IN_EFFECT:
            log.info("offer command %s waits: %s", command_id, word)
            in_effect = False
    return in_effect


async def restock(
    db: Database,
    inventory: Inventory,
    who: Access,
    offer_id: str,
    *,
    key: str,
    units: int,
    reason: str,
) -> CommandOut:
    """Add units once per key; Missing `offer_not_found`, Unprocessable `key_reused`.

    Conflict `offer_closed` when nobody could buy them any more; a repeat of a key keeps its answer.
    """
    return await _order(
        db, inventory, who, offer_id, kind="restock", key=key, units=units, reason=reason
    )


async def close(
    db: Database, inventory: Inventory, who: Access, offer_id: str, *, key: str, reason: str
) -> CommandOut:
    """Take no new claims; held and paying ones go their way. Errors as `restock`."""
    return await _order(
        db, inventory, who, offer_id, kind="close", key=key, units=0, reason=f"hq: {reason}"
    )


async def _order(
    db: Database,
    inventory: Inventory,
    who: Access,
    offer_id: str,
    *,
    kind: str,
    key: str,
    units: int,
    reason: str,
) -> CommandOut:
    # The id comes from the key, so that a repeated request finds its row instead of a second one.
    digest = hashlib.sha256(f"{who.subject} {offer_id} {key}".encode()).hexdigest()[:32]
    command_id = f"cmd_{digest}"
    async with db.begin() as session:
        offer = await session.get(Offer, offer_id)
        if offer is None:
            raise missing_offer()
        if awaits_launch(offer.config):
            raise Conflict(
                "not_launched",
                "This offer waits for its host to launch it.",
                "Nothing was changed. Launch it in its room first.",
            )
        values = {
            "id": command_id,
            "offer_id": offer_id,
            "shard": offer.shard,
            "kind": kind,
            "units": units,
            "reason": reason,
            "actor": who.subject,
            "created_at_ms": now_ms(),
        }
        added = await _write_once(session, values)
        if added and kind == "restock" and not _on_sale(offer):
            raise Conflict(
                "offer_closed",
                "This offer takes no more claims.",
                "Nothing was added: nobody could buy it. Publish a new campaign for these units.",
            )
    in_effect = await apply_soon(db, inventory, [command_id])
    return CommandOut(
        command_id=command_id, offer_id=offer_id, kind=kind, units=units, in_effect=in_effect
    )


def _on_sale(offer: Offer) -> bool:
    """Whether it may still be bought, now or later."""
    return offer.state in ("scheduled", "open") and now_ms() < offer.config["ends_at_ms"]


async def _write_once(session: AsyncSession, values: dict[str, Any]) -> bool:
    """The command and its audit row; False for a repeat, `key_reused` for another content."""
    added = await session.scalar(
        insert(OfferCommand).values(values).on_conflict_do_nothing().returning(OfferCommand.id)
    )
    content = {name: values[name] for name in ("kind", "units", "reason")}
    if added is not None:
        action, offer_id = f"offer.{values['kind']}", values["offer_id"]
        record_change(
            session, values["actor"], action, offer_id, command_id=values["id"], **content
        )
        return True
    stored = await session.get_one(OfferCommand, values["id"])
    if content != {name: getattr(stored, name) for name in content}:
        raise Unprocessable(
            "key_reused",
            "This Idempotency-Key belongs to another request.",
            "Nothing was changed by this one; use a new key.",
            command_id=values["id"],
        )
    return False
