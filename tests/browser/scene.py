"""What the browser tests play with: a live room with one offer, and a customer's taps in it."""

from typing import Any, NamedTuple

from engine.ids import now_ms
from tests.browser.chromium import Screen
from tests.system.house import House, Sale
from tests.waiting import eventually


class Room(NamedTuple):
    """A live room with one offer on its shelf, pinned."""

    room_id: str
    sale: Sale

    async def pin(self, house: House, offer_id: str | None) -> None:
        await house.fresh.hq.ask("PUT", f"/v1/rooms/{self.room_id}/pin", {"offer_id": offer_id})


async def live_room(house: House, units: int, *, pinned: bool = True, **changes: Any) -> Room:
    """HQ schedules a room for the first guide and lets it go live."""
    sale = await house.sale(units, **{"per_order_max": 1, "per_buyer_max": 1, **changes})
    body = {
        "title": "晚八点",
        "store_id": "S01",
        "host_guide_id": "G001",
        "starts_at_ms": now_ms(),
        "offers": [sale.offer_id],
    }
    hq = house.fresh.hq
    room = Room((await hq.ask("POST", "/v1/rooms", body))["room_id"], sale)
    await hq.ask("POST", f"/v1/rooms/{room.room_id}/live")
    if pinned:
        await room.pin(house, sale.offer_id)
    return room


async def shows(screen: Screen, testid: str, attribute: str, value: str, within_s: float) -> None:
    """Wait until an element has this attribute."""

    async def has_it() -> bool:
        return await screen.value(testid, attribute) == value

    await eventually(has_it, within_s=within_s, every_s=0.05)


async def is_shown(screen: Screen, testid: str) -> bool:
    """Whether the element is there."""
    return await screen.page.get_by_test_id(testid).count() > 0


async def enter(screen: Screen, room: Room) -> None:
    """Open the room's page and wait until it follows the room."""
    await screen.go(f"/r/{room.room_id}")

    async def is_live() -> bool:
        return await screen.value("room", "data-connection") == "online"

    await eventually(is_live, within_s=30)


async def sign_in(screen: Screen, phone: str) -> None:
    """By the code that development mode fills in; the form is open."""
    await screen.page.get_by_test_id("sign-in-phone").fill(phone)
    await screen.tap("sign-in-send")
    await screen.tap("sign-in-enter")


async def until_step(screen: Screen, *steps: str, within_s: float = 30) -> str:
    """Wait until the buy sheet is at one of these steps; which."""
    seen = ""

    async def is_there() -> bool:
        nonlocal seen
        seen = await screen.value("buy-state", "data-step") or ""
        return seen in steps

    await eventually(is_there, within_s=within_s)
    return seen


async def buy(screen: Screen, phone: str) -> None:
    """Tap the pinned card, sign in, claim, pay in the sandbox; ends when the page says paid."""
    await claim(screen, phone)
    await screen.tap("buy-button")
    await until_step(screen, "pay")
    await screen.tap("buy-button")
    await until_step(screen, "paid")


async def claim(screen: Screen, phone: str) -> None:
    """Tap the pinned card, sign in and claim one unit; ends when the order is written."""
    await screen.page.locator("[data-testid=pinned] [data-testid=buy]").click()
    await sign_in(screen, phone)
    await until_step(screen, "choose")
    await screen.tap("buy-button")
    await until_step(screen, "ordered")
