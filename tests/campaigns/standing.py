"""Orders that stand, as settler and crowd's loop would have written them, and their teams."""

import itertools
from typing import Any

from campaigns.refund.models import Refund
from campaigns.team.models import Team
from engine.ids import new_id, now_ms
from tests.campaigns.orders import CREDIT, write_paid_order
from tests.campaigns.server import World

_SEQ = itertools.count(500_000)


def credit_of(store_id: str | None) -> dict[str, Any]:
    """A credit snapshot with this store."""
    return {**CREDIT, "credit": {"store_id": store_id}}


async def write_standing(
    api: World, offer: dict[str, Any], buyer_id: str, store_id: str | None, **changes: Any
) -> str:
    """A paid order of two units that stands; its id."""
    fields = {"offer_id": offer["offer_id"], "credit": credit_of(store_id), "split_fen": 2_000}
    return await write_paid_order(api, buyer_id, next(_SEQ), **{**fields, **changes})


async def write_team(api: World, offer: dict[str, Any], state: str, **changes: Any) -> str:
    """A team of the offer, decided and booked when its state is formed or failed; its id."""
    now = now_ms()
    decided = now if state in ("formed", "failed") else None
    fields: dict[str, Any] = {
        "id": new_id("tem"),
        "shard": 0,
        "offer_id": offer["offer_id"],
        "campaign_id": "cmp_x",
        "version": 1,
        "kind": offer["kind"],
        "opener_id": "mbr_x",
        "captain_id": "mbr_x",
        "size": 0 if offer["kind"] == "crowd" else 2,
        "state": state,
        "why": "",
        "paid": 2,
        "subsidy": 0,
        "step": 0,
        "opened_at_ms": now,
        "deadline_ms": now + 1_000,
        "decided_at_ms": decided,
        "booked_at_ms": decided,
        **changes,
    }
    async with api.db.begin() as session:
        session.add(Team(**fields))
    return str(fields["id"])


async def write_refund(api: World, order_id: str | None, **changes: Any) -> str:
    """A refund intent of an order (or of a payment without one); its id."""
    now = now_ms()
    payment_id = f"pay_{new_id('x')}"
    if order_id is not None:
        payment_id = "pay_" + order_id.replace("ord-", "clm-")
    fields: dict[str, Any] = {
        "id": new_id("rfd"),
        "payment_id": payment_id,
        "order_id": order_id,
        "cause": f"after_sale:{new_id('req')}",
        "amount_fen": 1_000,
        "state": "due",
        "requested_by": "system",
        "created_at_ms": now,
        "next_at_ms": now,
        **changes,
    }
    async with api.db.begin() as session:
        session.add(Refund(**fields))
    return str(fields["id"])


async def regular(api: World, **changes: Any) -> dict[str, Any]:
    """A published regular offer that is ready after two days."""
    offer = {"kind": "regular", "ready_after_days": 2, **changes.pop("offer", {})}
    published = await api.campaign(offer=offer, **changes)
    found: dict[str, Any] = published["offers"][0]
    return found
