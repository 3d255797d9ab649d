"""Whose claim it is: from its own claim.held, else the hot store, else its order."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import text

from engine import keys
from engine.db import Database
from engine.events import SeatFilled
from engine.inventory import Inventory
from workers.broadcast.translate import AboutClaim, ClaimEvent, begun_here

_FIELDS = ("buyer_id", "units", "price_fen", "expires_at_ms")
_ORDERS = text(
    "SELECT claim_id, buyer_id, units, unit_price_fen, expires_at_ms FROM orders"
    " WHERE claim_id = ANY(CAST(:ids AS text[]))"
)


async def about_claims(
    db: Database, inventory: Inventory, shard: int, claims: Sequence[ClaimEvent | SeatFilled]
) -> dict[str, AboutClaim]:
    """claim_id → what is known of it; a claim that nobody knows any more is left out."""
    known = begun_here(claims)
    asked = sorted({event.claim_id for event in claims} - known.keys())
    if not asked:
        return known
    prefix = keys.claims(shard)
    found = await asyncio.gather(
        *(inventory.wire.call("HMGET", prefix + claim_id, *_FIELDS) for claim_id in asked)
    )
    forgotten = []
    for claim_id, fields in zip(asked, found, strict=True):
        if None in fields:
            forgotten.append(claim_id)
        else:
            buyer, units, price, expires = (field.decode() for field in fields)
            known[claim_id] = AboutClaim(buyer, int(units), int(price), int(expires))
    if forgotten:
        async with db.begin() as session:
            rows = (await session.execute(_ORDERS, {"ids": forgotten})).all()
        for claim_id, buyer, units, price_fen, expires_at_ms in rows:
            known[claim_id] = AboutClaim(buyer, units, price_fen, expires_at_ms)
    return known
