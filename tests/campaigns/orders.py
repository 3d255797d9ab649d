"""Orders as the settler would have written them, for tests that have no settler running."""

from typing import Any

from campaigns.order.models import Order
from engine.ids import new_nonce, now_ms, order_id_of, parse_claim_id
from tests.campaigns.server import PLAN, World

CREDIT = {"plan": PLAN, "credit": {}, "why": {}}


async def write_order(api: World, claim_id: str, **changes: Any) -> str:
    """The order row of a claim; its id. `changes` are columns."""
    parsed = parse_claim_id(claim_id)
    assert parsed is not None
    hot = await api.inventory.claim_state(parsed.shard, claim_id)
    now = now_ms()
    qty = int(hot.get("units", "1"))
    price_fen = int(hot.get("price_fen", "1000"))
    fields: dict[str, Any] = {
        "id": order_id_of(claim_id),
        "claim_id": claim_id,
        "shard": parsed.shard,
        "offer_id": hot.get("offer_id", "ofr_gone"),
        "campaign_id": hot.get("campaign_id", "cmp_gone"),
        "version": 1,
        "buyer_id": hot.get("buyer_id", "mbr_a"),
        "qty": qty,
        "units": qty,
        "price_id": hot.get("price_id", "prc_gone"),
        "unit_price_fen": price_fen,
        "amount_fen": price_fen * qty,
        "state": "open",
        "claim_state": "held",
        "claimed_at_ms": now,
        "expires_at_ms": int(hot.get("expires_at_ms", str(now))),
        "idem_key": "key-of-a-test",
        "body_hash": "0",
        "credit": CREDIT,
        **changes,
    }
    async with api.db.begin() as session:
        session.add(Order(**fields))
    return str(fields["id"])


async def write_paid_order(api: World, buyer_id: str, seq: int, **changes: Any) -> str:
    """A paid order of an offer nobody asks about any more; its id."""
    claim_id = f"clm-s0-e1-{seq}-{new_nonce()}"
    fields = {
        "buyer_id": buyer_id,
        "qty": 2,
        "units": 2,
        "amount_fen": 2_000,
        "paid_fen": 2_000,
        "state": "paid",
        "claim_state": "paid",
        "payment_id": f"pay_{claim_id}",
        "paid_at_ms": now_ms(),
        **changes,
    }
    return await write_order(api, claim_id, **fields)
