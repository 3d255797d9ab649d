"""An offer that is gone: a hundred customers hold all of it, and everybody else asks for it.

What is measured is a refusal after the sale: authenticated, decoded, and told from memory.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from engine.errors import RefusedStart
from loadtests.lean import LeanClient

UNITS = 100
DRAFT: dict[str, Any] = {
    "sku_id": "SP1002",
    "total": UNITS,
    "prices": [{"price_fen": 990}],
    "per_order_max": 1,
    "per_buyer_max": 1,
}


class Gone(NamedTuple):
    """The offer, its price, and the tokens of customers who hold nothing of it."""

    offer_id: str
    price_id: str
    tokens: tuple[str, ...]


async def sell_out(base_url: str, tokens: Sequence[str], offer: dict[str, Any]) -> Gone:
    """The first customers claim one unit each; RefusedStart when they do not get all of it."""
    offer_id, price_id = offer["offer_id"], offer["price_ids"][0]
    body = msgspec.json.encode({"qty": 1, "price_id": price_id})
    client = LeanClient(base_url)
    try:
        for number, token in enumerate(tokens[: UNITS + 1]):
            answer = await client.request(
                *("POST", f"/v1/offers/{offer_id}/claims"),
                body=body,
                token=token,
                headers={"idempotency-key": f"gone-{number:05d}"},
            )
            if answer.status != (201 if number < UNITS else 409):
                raise RefusedStart("bench_failed", f"Selling out was answered {answer.status}.")
    finally:
        await client.close()
    return Gone(offer_id, price_id, tuple(tokens[UNITS:]))
