"""`make screenshots`: pictures of the four pages over the real stack, into docs/screenshots/.

Customers of the sample chain really watch, talk, buy and pay meanwhile; nothing is drawn.
"""

import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from cli.demo.audience import Audience
from cli.demo.doors import open_doors
from cli.shop import keep_doors
from cli.tokens import sample_tokens
from tests.browser.chromium import DESKTOP, PHONE, Screen, find, launched, pages_are_built
from tests.system.house import House, lived_in, opened_house

OUT = Path(__file__).parents[2] / "docs" / "screenshots"
VIEWERS, BUYERS = 60, 90
SHOPPING_S = 60.0


async def shop_for(house: House, offers: list[str], number: int) -> None:
    """One customer, some time in the minute: claims, and mostly pays."""
    rng = random.Random(number)
    await asyncio.sleep(rng.random() * SHOPPING_S)
    buyer, offer_id = house.buyer(f"M{number:05}"), rng.choice(offers)
    page = await buyer.offer(offer_id)
    status, held = await buyer.claim(offer_id, rng.randint(1, 2), page["price_id"])
    if status == 201 and rng.random() < 0.8:
        till = await buyer.begin_pay(held["claim_id"])
        if till is not None:
            await buyer.pay(till, held["claim_id"])


async def shown(browser: Browser, house: House, room_id: str) -> dict[str, Screen]:
    """The four pages, each as its people see it, open on screens of their own."""
    shots: tuple[tuple[str, str, dict[str, Any], str], ...] = (
        ("landing", "/", PHONE, ""),
        ("room", f"/r/{room_id}", PHONE, ""),
        ("desk", f"/desk?room={room_id}", PHONE, "demo-g001"),
        ("board", "/hq", DESKTOP, "demo-hq"),
    )
    screens: dict[str, Screen] = {}
    for name, path, device, door in shots:
        screen = screens[name] = await Screen.open(browser, house.settings.public_url, device)
        await screen.go(path)
        if door:
            await screen.tap(door)
    return screens


async def evening(house: House, browser: Browser) -> None:
    """A room with viewers and buyers, and its pictures."""
    fresh = house.fresh
    keep_doors(fresh.supervisor.place.folder, fresh.shop, fresh.keys)
    room_id = await open_doors(house.settings, fresh.shop, fresh.keys)
    shelf = (await fresh.hq.ask("GET", f"/v1/rooms/{room_id}"))["shelf"]
    bearers = [one.token for one in await sample_tokens(house.settings, VIEWERS // 2)]
    audience = Audience(house.settings, room_id, house.history, seed=1)
    try:
        await audience.start(VIEWERS, bearers)
        await audience.all_joined()
        await audience.go()
        screens = await shown(browser, house, room_id)
        await asyncio.gather(*(shop_for(house, shelf[:2], one) for one in range(1, BUYERS + 1)))
        for name, screen in screens.items():
            await screen.page.bring_to_front()
            await asyncio.sleep(2)  # for what arrives each second, and for charts to come to rest
            await screen.page.screenshot(path=OUT / f"{name}.png")
            print(f"docs/screenshots/{name}.png {screen.complaints or ''}".rstrip())
    finally:
        await audience.stop()


async def _main(chromium: str) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as history:
        async with (
            opened_house(law_check_every_ms=15_000) as whole,
            lived_in(whole, Path(history)) as house,
            launched(chromium) as browser,
        ):
            await evening(house, browser)


def main() -> int:
    """0 when all pictures are taken, 1 when there is no browser or no page."""
    chromium = find()
    if chromium is None or not pages_are_built():
        print("No pictures: they need Chromium (and Chinese fonts), and the pages (make pages).")
        return 1
    asyncio.run(_main(chromium))
    return 0


if __name__ == "__main__":
    sys.exit(main())
