"""After forming, on screens: the stocking list, goods that are there, the code, the counter."""

from typing import Any

from tests.browser.chromium import DESKTOP, Screen
from tests.browser.conftest import NewScreen
from tests.browser.scene import Room, buy, enter, is_shown, live_room, shows
from tests.browser.test_staff import staff_sign_in
from tests.system.house import House
from tests.waiting import eventually

REGULAR = {"sku_id": "SP1005", "kind": "regular", "ready_after_days": 2}  # SP1001 is for teams here


def line_of(screen: Screen, room: Room) -> Any:
    """The stocking line of the room's offer in the room's store."""
    offer = f"[data-offer='{room.sale.offer_id}'][data-store='S01']"
    return screen.page.locator(f"[data-testid=stocking-line]{offer}")


async def has(found: Any, attribute: str, value: str) -> bool:
    return bool(await found.count()) and await found.get_attribute(attribute) == value


async def fetch_in_store(customer: Screen) -> None:
    """From the paid sheet to the order's way; the room's store, where there is none yet."""
    await customer.tap("buy-button")  # my orders
    await eventually(lambda: is_shown(customer, "way"), within_s=15)
    if await is_shown(customer, "choose-store"):
        await customer.tap("choose-store")
    assert "约 2 天后可提货" in await customer.page.get_by_test_id("way-says").inner_text()


async def hand_over(guide: Screen, code: str) -> None:
    await guide.page.get_by_test_id("pick-up-code").fill(code.lower().replace("-", " "))
    await guide.tap("pick-up-go")


async def test_goods_arrive_and_are_handed_over_once(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 5, offer=REGULAR)
    customer, guide, hq = await screen(), await screen(), await screen(DESKTOP)
    await enter(customer, room)
    await buy(customer, "19900000361")
    await fetch_in_store(customer)
    await guide.go("/desk")
    await staff_sign_in(guide, house.fresh.host.login, house.fresh.keys.guide)
    await guide.tap("to-stock")
    line = line_of(guide, room)
    await eventually(lambda: has(line, "data-to-stock", "1"), within_s=20)
    await line.get_by_test_id("ready-ask").click()
    assert "1 件" in await line.get_by_test_id("ready-says").inner_text()
    await line.get_by_test_id("ready-sure").click()
    await eventually(lambda: has(line, "data-ready", "1"), within_s=15)
    assert not await guide.is_wider_than_itself()

    await eventually(lambda: is_shown(customer, "pick-up-qr"), within_s=20)
    code = await customer.value("way", "data-code") or ""
    assert not await customer.is_wider_than_itself()
    await guide.tap("back")
    await guide.tap("to-pick-up")
    await hand_over(guide, code)
    await shows(guide, "pick-up", "data-state", "done", within_s=15)
    assert await guide.value("pick-up-units", "data-units") == "1"
    await guide.tap("pick-up-next")
    await hand_over(guide, code)
    await shows(guide, "pick-up", "data-state", "already_handed_over", within_s=15)
    assert "已经提过货" in await guide.page.get_by_test_id("pick-up-says").inner_text()
    guide.complaints.clear()  # the browser itself tells of the 409
    await shows(customer, "order", "data-state", "fulfilled", within_s=15)

    await hq.go("/hq")
    await staff_sign_in(hq, "hq", house.fresh.keys.hq)
    await hq.tap("open-stock")
    await eventually(lambda: has(line_of(hq, room), "data-fulfilled", "1"), within_s=20)
    async with hq.page.expect_download() as file:
        await hq.tap("stocking-csv")
    assert (await file.value).suggested_filename == "stocking-list.csv"
