"""Each state machine walked from its beginning to its ends, as its people see it over HTTP.

One story is one way through a machine; all stories of a module run at the same time. The scripts'
own machines (tests/engine) show that no other transition exists.
"""

import json
from typing import Any

import pytest

from cli.demo.staff import Refused, StaffClient
from engine.ids import now_ms
from tests.system.house import House
from tests.system.teams import (
    Seat,
    each,
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

STORE = "S01"


async def claimed(house: House, name: str, **changes: Any) -> tuple[Seat, str]:
    """A claim of one unit of a sale of its own, and the sale's offer."""
    sale = await house.sale(3, **changes)
    status, told = await house.buyer(name).try_claim(
        sale.offer_id, sale.price_id, key=f"key-{name}"
    )
    assert status == 201, told
    return Seat(name, told["claim_id"], ""), sale.offer_id


async def order_of(house: House, seat: Seat) -> str:
    """Its order's id, once it is written."""

    async def is_written() -> str:
        return str((await house.buyer(seat.name).look(seat.claim_id)).get("order_id") or "")

    return await eventually(is_written)


async def until_order(house: House, seat: Seat, state: str) -> None:
    """Wait until the order is so."""

    await order_of(house, seat)

    async def is_so() -> bool:
        assert (await money_of(house, seat))[0] == state
        return True

    await eventually(is_so, every_s=0.2, within_s=60)


# -- claim: held → paying → paid → returned, exit released


async def claim_is_let_go(house: House) -> None:
    seat, _ = await claimed(house, "let_go")
    assert await house.buyer("let_go").cancel(seat.claim_id) == "released"
    await until_order(house, seat, "released")


async def claim_lapses(house: House) -> None:
    seat, _ = await claimed(house, "lapses", hold_ms=1_000)
    await until_claims(house, [seat], "released")


async def claim_is_closed(house: House) -> None:
    seat, _ = await claimed(house, "closed", pay_ms=1_500)
    await page_of(house, seat)
    await until_claims(house, [seat], "paying")
    assert await house.buyer("closed").cancel(seat.claim_id) == "claim_not_held"
    await until_claims(house, [seat], "released")


async def claim_is_paid_and_returned(house: House) -> None:
    seat, _ = await claimed(house, "returned")
    await until_claims(house, [seat], "held")
    await paid_up(house, seat)
    await until_order(house, seat, "paid")
    assert await house.buyer("returned").refund(await order_of(house, seat), 1)
    await until_claims(house, [seat], "returned")
    await until_order(house, seat, "refunded")


async def test_claims(house: House) -> None:
    await each(
        claim_is_let_go(house),
        claim_lapses(house),
        claim_is_closed(house),
        claim_is_paid_and_returned(house),
    )


# -- order: open → paid → ready → fulfilled; a team's becomes ready only when its team formed


async def ask(house: House, name: str, method: str, path: str, body: Any = None) -> dict[str, Any]:
    answer = await house.buyer(name)._ask(method, path, body)
    document: dict[str, Any] = json.loads(answer.body)
    return document


async def test_orders(house: House) -> None:
    hq = house.fresh.hq
    sale = await team_sale(house, 10, offer={"size": 2, "ready_after_days": 2})
    captain = await seated(house, sale, "order_captain")
    order_id = await order_of(house, captain)
    await until_order(house, captain, "open")
    chosen = await ask(
        *(house, captain.name, "PUT", f"/v1/orders/{order_id}/pick-up-store"), {"store_id": STORE}
    )
    assert chosen["state"] == "open", chosen
    await paid_up(house, captain)
    await until_order(house, captain, "paid")
    ready = {"offer_id": sale.offer_id, "store_id": STORE}
    with pytest.raises(Refused, match="not_formed"):
        await hq.ask("POST", "/v1/stocking-list/ready", ready)
    await paid_up(house, await seated(house, sale, "order_second", captain.team_id))
    await until_team(house, sale, captain.team_id, "formed")

    async def is_listed() -> bool:
        page = await hq.ask("GET", f"/v1/stocking-list?store_id={STORE}&offer_id={sale.offer_id}")
        return bool(page["lines"])

    await eventually(is_listed)
    await hq.ask("POST", "/v1/stocking-list/ready", ready)
    await until_order(house, captain, "ready")
    shown = await ask(house, captain.name, "GET", f"/v1/orders/{order_id}/pick-up")
    guide = StaffClient(house.settings.public_url)
    try:
        host = next(host for host in house.fresh.shop.hosts if host.store_id == STORE)
        await guide.sign_in(host.login, house.fresh.keys.guide)
        handed = await guide.ask("POST", "/v1/pick-ups", {"code": shown["code"]})
        assert (handed["order_id"], handed["units"]) == (order_id, 1)
        with pytest.raises(Refused, match="already_handed_over"):
            await guide.ask("POST", "/v1/pick-ups", {"code": shown["code"]})
    finally:
        await guide.close()
    await until_order(house, captain, "fulfilled")


# -- team: opening → forming | failed; forming → formed | closing → formed | failed


async def team_dissolves(house: House) -> None:
    sale = await team_sale(house, 10, hold_ms=1_000)
    seat = await seated(house, sale, "dissolves")
    assert (await team(house, sale, seat.team_id))["state"] == "opening"
    assert (await until_team(house, sale, seat.team_id, "failed"))["paid"] == "0"


async def team_forms(house: House) -> None:
    sale = await team_sale(house, 10)
    first = await seated(house, sale, "forms_0")
    assert (await team(house, sale, first.team_id))["state"] == "opening"
    await paid_up(house, first)
    assert (await until_team(house, sale, first.team_id, "forming"))["paid"] == "1"
    others = [await seated(house, sale, f"forms_{n}", first.team_id) for n in (1, 2)]
    await each(*(paid_up(house, one) for one in others))
    assert (await until_team(house, sale, first.team_id, "formed"))["paid"] == "3"
    await each(*(until_money(house, one, "paid", first.team_id) for one in (first, *others)))


async def team_closes_and_fails(house: House) -> None:
    sale = await team_sale(house, 10, offer={"term_ms": 3_000, "late": "refund"})
    first = await opened(house, sale, "fails")
    await until_team(house, sale, first.team_id, "failed")
    await until_money(house, first, "refunded", first.team_id, "team_failed")


async def test_teams(house: House) -> None:
    """`closing → formed` is test_team_deadlines."""
    await each(team_dissolves(house), team_forms(house), team_closes_and_fails(house))


# -- crowd: forming → reached → closing → formed, or forming → closing → failed


async def crowd(house: House, name: str, paid: int, lasts_ms: int) -> list[Seat]:
    """A crowd that `paid` buyers have joined, with steps at two and three seats."""
    steps = [{"seats": 2, "price_fen": 2_000}, {"seats": 3, "price_fen": 1_500}]
    offer = {
        "sku_id": "SP1031",
        **{"kind": "crowd", "prices": [], "steps": steps, "late": "refund"},
        "closing_max_ms": 10_000,
    }
    sale = await house.sale(9, offer=offer, per_buyer_max=1, ends_at_ms=now_ms() + lasts_ms)
    seats = []
    for number in range(paid):
        who = f"{name}_{number}"
        price_id = (await ask(house, who, "GET", f"/v1/offers/{sale.offer_id}"))["price_id"]
        status, told = await house.buyer(who).seat(sale.offer_id, price_id, key=f"key-{who}")
        assert status == 201, told
        seat = Seat(who, told["claim_id"], told["team_id"])
        state = (await team(house, sale, seat.team_id))["state"]
        assert state == ("forming" if number < 2 else "reached"), number
        seats.append(await paid_up(house, seat))
    await until_team(house, sale, seats[0].team_id, "formed" if paid > 1 else "failed")
    return seats


async def crowd_forms(house: House) -> None:
    seats = await crowd(house, "crowd", 3, 15_000)

    async def is_so() -> bool:
        for seat, back in zip(seats, (500, 500, 500), strict=True):  # all claimed at the first step
            state, _, refunds = await money_of(house, seat)
            assert state == "paid"
            assert refunds == [("crowd_difference", back, "done")], seat
        return True

    await eventually(is_so, every_s=0.3, within_s=60)


async def crowd_fails(house: House) -> None:
    (seat,) = await crowd(house, "lonely", 1, 6_000)

    async def is_back() -> bool:
        state, _, refunds = await money_of(house, seat)
        assert (state, [(fen, done) for _, fen, done in refunds]) == ("refunded", [(2_000, "done")])
        return True

    await eventually(is_back, every_s=0.3, within_s=60)


async def test_crowds(house: House) -> None:
    await each(crowd_forms(house), crowd_fails(house))


# -- availability: available / held / sold_pending / gone


async def test_availability(house: House) -> None:
    sale = await house.sale(1)
    name = "available"

    async def until(state: str) -> None:
        async def is_so() -> bool:
            seen = await ask(house, name, "GET", f"/v1/offers/{sale.offer_id}")
            assert seen["availability"]["state"] == state
            return True

        await eventually(is_so)

    await until("available")
    status, told = await house.buyer(name).try_claim(
        sale.offer_id, sale.price_id, key="key-available"
    )
    assert status == 201, told
    seat = Seat(name, told["claim_id"], "")
    await until("held")
    page = await page_of(house, seat)
    await until("sold_pending")
    await pay(house, page)
    await until_claims(house, [seat], "paid")
    await until("gone")


async def test_all_of_it_keeps_the_laws(house: House) -> None:
    await lawful(house, "T5")
