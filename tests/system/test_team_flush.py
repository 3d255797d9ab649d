"""The hot store is emptied in mid-sale, with teams in every state and a crowd on its ladder.

What was settled stays, seat by seat; what was not is said to be lost, its seat is free again;
a deadline that passed meanwhile is kept.
"""

from typing import Any

import pytest

from engine.ids import crowd_id_of, now_ms
from tests.system.house import House, Sale
from tests.system.teams import (
    Seat,
    lawful,
    money_of,
    opened,
    page_of,
    paid_up,
    pay,
    seated,
    team,
    team_sale,
    until_claims,
    until_money,
    until_team,
)
from tests.waiting import eventually

pytestmark = pytest.mark.slow

LADDER = [{"seats": 2, "price_fen": 3_000}, {"seats": 3, "price_fen": 2_800}]
CROWD_MS = 24_000


_DEADLINE = "SELECT deadline_ms FROM teams WHERE id = $1"


async def crowd_sale(house: House) -> Sale:
    """A crowd whose price falls with its third seat; it ends soon."""
    offer: dict[str, Any] = {"kind": "crowd", "prices": [], "steps": LADDER}
    ends = {"starts_at_ms": now_ms() - 1_000, "ends_at_ms": now_ms() + CROWD_MS}
    return await house.sale(30, offer=offer, **ends)


async def lost(house: House, seat: Seat) -> None:
    """It went down with the store, and is said to be."""
    seen = await house.buyer(seat.name).look(seat.claim_id)
    assert seen.get("code") == "claim_lost", seen


async def join_crowd(house: House, sale: Sale, name: str) -> Seat:
    """A paid seat of the crowd at the price in force."""
    shown = await house.buyer(name).offer(sale.offer_id)
    status, told = await house.buyer(name).seat(sale.offer_id, shown["price_id"], key=f"key-{name}")
    assert status == 201, told
    return await paid_up(house, Seat(name, told["claim_id"], told["team_id"]))


async def a_crowd_goes_on(house: House, sale: Sale, first: list[Seat]) -> None:
    """Its step is latched and its price holds; at its end the first get the difference."""
    crowd_id = crowd_id_of(sale.offer_id)
    found = await team(house, sale, crowd_id)
    assert (found["state"], found["step"], found["paid"]) == ("reached", "2", "3"), found
    late = house.buyer("crowd_old_price")
    status, told = await late.seat(sale.offer_id, sale.price_id, key="key-old-price")
    assert (status, told["code"], told["price_fen"]) == (409, "price_changed", 2_800)
    last = await join_crowd(house, sale, "crowd_last")
    await until_team(house, sale, crowd_id, "formed")

    async def booked() -> bool:
        for seat in first:
            state, _, refunds = await money_of(house, seat)
            assert (state, refunds) == ("paid", [("crowd_difference", 200, "done")]), seat
        return True

    await eventually(booked, every_s=0.2, within_s=60)
    assert (await money_of(house, last))[2] == []


async def test_everything_is_flushed_while_teams_are_forming(house: House) -> None:
    crowd = await crowd_sale(house)
    sale = await team_sale(house, 40)
    short = await team_sale(house, 10, offer={"term_ms": 4_000, "late": "refund"})
    full = await opened(house, sale, "captain_full")
    for name in ("full_1", "full_2"):
        await paid_up(house, await seated(house, sale, name, full.team_id))
    half = await opened(house, sale, "captain_half")
    to_pay = await page_of(house, await seated(house, sale, "half_1", half.team_id))
    near = await opened(house, sale, "captain_near")
    await paid_up(house, await seated(house, sale, "near_1", near.team_id))
    unpaid = await seated(house, sale, "captain_unpaid")
    ends = await opened(house, short, "captain_ends")
    climbed = [await join_crowd(house, crowd, f"crowd_{number}") for number in range(3)]
    await house.settled()
    epoch = await house.epoch(sale.shard)
    with house.frozen("settle"):
        gone = await seated(house, sale, "captain_gone")
        third = await seated(house, sale, "near_2", near.team_id)
        await pay(house, to_pay)
        await until_claims(house, [to_pay.seat], "paid")  # its claim.paid is not settled
        await house.ask("FLUSHALL")
        deadline_ms = int(await house.scalar(_DEADLINE, ends.team_id))
        await eventually(lambda: now_ms() > deadline_ms + 100)
    await house.until_ready()
    assert await house.epoch(sale.shard) > epoch
    await until_claims(house, [full, half, near, to_pay.seat], "paid")
    assert (await team(house, sale, full.team_id))["state"] == "formed"
    for seat in (gone, third):
        await lost(house, seat)
    again = await seated(house, sale, "near_2", near.team_id)  # the same key
    assert again.claim_id != third.claim_id
    await paid_up(house, again)
    await until_team(house, sale, near.team_id, "formed")
    await paid_up(house, await seated(house, sale, "half_2", half.team_id))
    await until_team(house, sale, half.team_id, "formed")
    await paid_up(house, unpaid)
    assert (await team(house, sale, unpaid.team_id))["state"] == "forming"
    opened_again = await seated(house, sale, "captain_gone")
    assert opened_again.team_id != gone.team_id
    await until_money(house, ends, "refunded", ends.team_id, "team_failed")
    await a_crowd_goes_on(house, crowd, climbed)
    await lawful(house, "I6", "T5")
