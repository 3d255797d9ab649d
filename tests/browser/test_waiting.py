"""The waiting list in the buy sheet: join, place, leave, and a unit that comes free is held."""

import asyncio

from cli.shop import sample_phone
from tests.browser.chromium import Screen
from tests.browser.conftest import NewScreen
from tests.browser.scene import Room, claim, enter, live_room, shows, sign_in, until_step
from tests.system.house import House
from tests.waiting import eventually


async def look_at(screen: Screen, room: Room, phone: str) -> None:
    """Open the buy sheet and sign in."""
    await enter(screen, room)
    await screen.page.locator("[data-testid=pinned] [data-testid=buy]").click()
    await sign_in(screen, phone)
    await shows(screen, "waiting", "data-state", "none", within_s=15)


async def give_up(screen: Screen, testid: str) -> None:
    """Twice, a moment apart: the second press is the answer to what the first one asked."""
    await screen.tap(testid)
    await asyncio.sleep(0.8)
    await screen.tap(testid)


async def test_what_comes_free_is_held_for_who_waits(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 1, hold_ms=120_000)
    first, second, third = await screen(), await screen(), await screen()
    await enter(first, room)
    await claim(first, sample_phone(521))
    await look_at(second, room, sample_phone(522))

    async def terms_are_told() -> bool:
        return "120 秒" in await second.page.get_by_test_id("waiting").inner_text()

    await eventually(terms_are_told, within_s=15)
    await second.tap("buy-button")
    await shows(second, "waiting", "data-state", "waiting", within_s=10)
    await shows(second, "waiting", "data-before", "0", within_s=10)
    await look_at(third, room, sample_phone(523))
    await third.tap("buy-button")
    await shows(third, "waiting", "data-before", "1", within_s=10)
    await give_up(third, "wait-leave")
    await shows(third, "waiting", "data-state", "none", within_s=10)

    await give_up(first, "buy-cancel")
    await until_step(second, "ordered")
    await second.tap("buy-button")
    await until_step(second, "pay")
    await second.tap("buy-button")
    await until_step(second, "paid")
    assert not await second.is_wider_than_itself()
    # The place may have been asked for in the moment in which it became a claim: a 404 then.
    second.complaints[:] = [one for one in second.complaints if "404" not in one]


async def test_who_closed_the_sheet_is_called_back(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 1, hold_ms=120_000)
    first, second = await screen(), await screen()
    await enter(first, room)
    await claim(first, sample_phone(531))
    await look_at(second, room, sample_phone(532))
    await second.tap("buy-button")
    await shows(second, "waiting", "data-state", "waiting", within_s=10)
    await second.tap("buy-sheet-close")
    await give_up(first, "buy-cancel")
    await until_step(second, "ordered")
    second.complaints[:] = [one for one in second.complaints if "404" not in one]
