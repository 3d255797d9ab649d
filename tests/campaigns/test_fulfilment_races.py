"""Goods that arrive while an order is changed: where it waits, and how much, is as it is then."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from tests.campaigns.server import World
from tests.campaigns.standing import regular, write_standing
from tests.waiting import eventually

_CHOSEN = "INSERT INTO pick_ups (order_id, store_id, chosen_by) VALUES (:id, 'store_b', 'mbr_1')"
_ASKED_BACK = (
    "INSERT INTO refunds (id, payment_id, order_id, cause, amount_fen, units, state, requested_by,"
    " created_at_ms, next_at_ms, lease_until_ms, tries, last_error)"
    " SELECT 'rfd_' || id, payment_id, id, 'after_sale:x', 1, qty, 'due', 'stf_hq', 0, 0, 0, 0, ''"
    " FROM orders WHERE id = :id"
)
_WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND wait_event_type = 'Lock'"
)


@pytest.mark.parametrize("change", [_CHOSEN, _ASKED_BACK])
async def test_the_goods_come_while_an_order_is_changed(api: World, change: str) -> None:
    offer = await regular(api)
    order_id = await write_standing(api, offer, "mbr_1", "store_a")
    other = await write_standing(api, offer, "mbr_2", "store_a")

    async def is_waiting() -> bool:
        async with api.db.begin() as session:
            return bool(await session.scalar(_WAITING))

    async with api.db.begin() as session:  # as everybody who changes an order
        await session.execute(
            text("SELECT 1 FROM orders WHERE id = :id FOR UPDATE"), {"id": order_id}
        )
        await session.execute(text(change), {"id": order_id})
        asked = {"offer_id": offer["offer_id"], "store_id": "store_a"}
        goods = asyncio.create_task(
            api.http.post("/v1/stocking-list/ready", json=asked, headers=api.auth("stf_hq", "hq"))
        )
        await eventually(is_waiting)
    answer = await goods
    assert (answer.status_code, answer.json()["orders"]) == (200, 1), answer.text
    states: dict[str, Any] = {}
    async with api.db.begin() as session:
        for one in (order_id, other):
            found = await session.execute(
                text(
                    "SELECT o.state, p.store_id, p.ready_at_ms IS NOT NULL FROM orders o"
                    " LEFT JOIN pick_ups p ON p.order_id = o.id WHERE o.id = :id"
                ),
                {"id": one},
            )
            states[one] = tuple(found.one())
    assert states[other] == ("ready", "store_a", True)
    chosen = "store_b" if change == _CHOSEN else None
    assert states[order_id] == ("paid", chosen, False)
