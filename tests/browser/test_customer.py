"""The customer's room page: bought in it, seen on another screen, honest in every state."""

import asyncio

from cli.shop import sample_phone
from tests.browser.chromium import Screen
from tests.browser.conftest import NewScreen
from tests.browser.scene import buy, claim, enter, live_room, shows, until_step
from tests.system.house import House
from tests.waiting import eventually


async def comments(screen: Screen) -> list[str]:
    """What people said, as the page shows it; without the page's own system lines."""
    found = screen.page.locator("[data-testid=comment]:not(.system)")
    return [text.strip() for text in await found.all_inner_texts()]


async def test_a_purchase_and_a_second_screen(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 5)
    mine, other = await screen(), await screen()
    await enter(mine, room)
    await enter(other, room)
    await shows(other, "stock", "data-available", "5", within_s=10)
    await claim(mine, sample_phone(301))
    # The second is the product's promise; a busy machine may take longer here.
    await shows(other, "stock", "data-available", "4", within_s=10)
    await mine.tap("buy-button")
    await until_step(mine, "pay")
    await mine.tap("buy-button")
    await until_step(mine, "paid")
    await mine.tap("buy-button")  # my orders
    await shows(mine, "order", "data-state", "paid", within_s=10)
    assert not await mine.is_wider_than_itself()


async def test_a_double_tap_neither_pays_nor_gives_up(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 3)
    mine = await screen()
    await enter(mine, room)
    await claim(mine, sample_phone(305))
    await mine.page.get_by_test_id("buy-cancel").dblclick()
    await mine.page.get_by_test_id("buy-button").dblclick()
    await until_step(mine, "pay")
    # A reload loses the sheet, not the unit: the orders' button says that one waits to be paid.
    await mine.page.reload()
    await shows(mine, "open-orders", "data-unpaid", "1", within_s=15)


async def test_the_hosts_pin_appears(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 5, pinned=False)
    viewer = await screen()
    await enter(viewer, room)
    assert await viewer.page.get_by_test_id("pinned").count() == 0
    await room.pin(house, room.sale.offer_id)
    await shows(viewer, "pinned", "data-offer", room.sale.offer_id, within_s=10)
    await room.pin(house, None)
    await eventually(lambda: _gone(viewer, "pinned"), within_s=10)


async def _gone(screen: Screen, testid: str) -> bool:
    return await screen.page.get_by_test_id(testid).count() == 0


async def test_ten_seconds_without_a_network_leave_no_gap(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 5)
    lost, never_cut = await screen(), await screen()
    await enter(lost, room)
    await enter(never_cut, room)
    await never_cut.page.locator("[data-testid=pinned] [data-testid=buy]").click()
    await never_cut.page.get_by_test_id("sign-in-phone").fill(sample_phone(311))
    await never_cut.tap("sign-in-send")
    await never_cut.tap("sign-in-enter")
    await until_step(never_cut, "choose")
    await never_cut.tap("buy-sheet-close")
    await lost.context.set_offline(True)
    for number in range(5):
        await never_cut.page.get_by_test_id("say-text").fill(f"第 {number + 1} 句")
        await never_cut.tap("say-send")
        await asyncio.sleep(2)
    assert await lost.value("connection", "data-connection") != "online"
    await lost.context.set_offline(False)
    lost.complaints.clear()  # the browser itself said that the network was gone
    await shows(lost, "connection", "data-connection", "online", within_s=30)

    async def same() -> bool:
        return await comments(lost) == await comments(never_cut)

    await eventually(same, within_s=10)
    assert [one for one in await comments(lost) if "第 5 句" in one]
    lost.complaints.clear()


async def test_sold_out_is_said(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 1, hold_ms=60_000)
    first, second = await screen(), await screen()
    await enter(first, room)
    await enter(second, room)
    await claim(first, sample_phone(321))
    await shows(second, "stock", "data-hope", "held", within_s=10)
    await first.tap("buy-button")
    await until_step(first, "pay")
    await first.tap("buy-button")
    await until_step(first, "paid")
    await shows(second, "stock", "data-hope", "gone", within_s=10)
    assert await second.page.get_by_test_id("stock-says").first.inner_text() == "已售罄"


async def test_a_late_payment_is_said_and_refunded(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 2, pay_ms=3_000)
    late = await screen()
    await enter(late, room)
    await claim(late, sample_phone(331))
    await late.tap("buy-button")
    await until_step(late, "pay")
    (attempt,) = await house.rows(
        "SELECT a.id, a.claim_id, a.amount_fen, o.buyer_id FROM payment_attempts a"
        " JOIN orders o ON o.claim_id = a.claim_id WHERE o.offer_id = $1",
        room.sale.offer_id,
    )
    buyer = house.buyer(attempt["buyer_id"])
    till = await buyer.begin_pay(attempt["claim_id"])
    assert till is not None
    await until_step(late, "released", within_s=60)
    assert await buyer.pay(till, attempt["claim_id"], ("paid_after_close",))
    await until_step(late, "late", within_s=60)
    await house.lawful("T8", "R1")


async def test_a_refund_is_said(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 2)
    mine = await screen()
    await enter(mine, room)
    await buy(mine, sample_phone(341))
    await mine.tap("buy-button")
    await mine.tap("refund-ask")
    await mine.tap("refund-sure")
    await shows(mine, "refund", "data-state", "done", within_s=30)
    await shows(mine, "order", "data-state", "refunded", within_s=30)
