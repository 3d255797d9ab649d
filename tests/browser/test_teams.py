"""Teams on phones: opened by one, joined by a shared link, formed on every screen; a failed one
says where the money is; a crowd's steps are seen as they are reached.
"""

import asyncio
from typing import Any

from cli.shop import sample_phone
from engine.ids import now_ms
from tests.browser.chromium import DESKTOP, Screen
from tests.browser.conftest import NewScreen
from tests.browser.scene import Room, enter, is_shown, live_room, shows, sign_in, until_step
from tests.system.house import House
from tests.waiting import eventually

TEAM = {"kind": "team", "size": 3, "term_ms": 1_800_000, "seat_qty": 1}


async def pay(screen: Screen) -> None:
    """From a held seat to the paid one."""
    await until_step(screen, "ordered")
    await screen.tap("buy-button")
    await until_step(screen, "pay")
    await screen.tap("buy-button")
    await until_step(screen, "paid")


async def open_team(screen: Screen, room: Room, phone: str, *, consent: bool = False) -> str:
    """Open a team from the room's shelf, pay, and follow the button to its page; its id."""
    await enter(screen, room)
    await screen.page.locator("[data-testid=pinned] [data-testid=buy]").click()
    await sign_in(screen, phone)
    await until_step(screen, "choose")
    if consent:
        await screen.tap("consent")
    await screen.tap("buy-button")
    await pay(screen)
    await screen.tap("buy-button")  # my team
    await eventually(lambda: is_shown(screen, "team"), within_s=10)
    team_id = await screen.value("team", "data-team")
    assert team_id
    await shows(screen, "team", "data-state", "forming", within_s=15)
    return team_id


async def join(screen: Screen, team_id: str, phone: str) -> None:
    """Follow the shared link, sign in, take a seat and pay."""
    await screen.go(f"/t/{team_id}")
    await sign_in(screen, phone)
    await eventually(lambda: is_shown(screen, "team-button"), within_s=15)
    assert await screen.value("team-button", "data-opens") == "seat"
    await screen.tap("team-button")
    await until_step(screen, "choose")
    await screen.tap("buy-button")
    await pay(screen)
    await screen.tap("buy-button")


async def test_a_shared_team_forms_on_all_screens(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 9, offer=TEAM)
    captain, second, third = await screen(), await screen(), await screen(DESKTOP)
    team_id = await open_team(captain, room, sample_phone(401))
    await shows(captain, "team", "data-live", "true", within_s=15)
    assert await captain.value("seats", "data-paid") == "1"
    await captain.tap("team-button")  # invite
    link = await captain.page.get_by_test_id("team-link").input_value()
    assert link == f"{house.settings.public_url}/t/{team_id}"
    for what in ("qr", "poster"):
        await captain.tap(f"show-{what}")
        await until_drawn(captain.page.get_by_test_id(f"{what}-picture"))
    await captain.tap("invite-sheet-close")
    await join(second, team_id, sample_phone(402))
    await shows(captain, "seats", "data-paid", "2", within_s=15)
    await join(third, team_id, sample_phone(403))
    for one in (captain, second, third):
        await shows(one, "team", "data-state", "formed", within_s=15)
        assert not await one.is_wider_than_itself()
    await house.lawful("T1")


async def until_drawn(picture: Any) -> None:
    async def is_drawn() -> bool:
        return bool(await picture.evaluate("(one) => one.complete && one.naturalWidth > 0"))

    await eventually(is_drawn, within_s=10)


async def test_a_failed_team_shows_its_refund(house: House, screen: NewScreen) -> None:
    offer = {**TEAM, "term_ms": 12_000, "closing_max_ms": 2_000}
    room = await live_room(house, 9, offer=offer)
    captain = await screen()
    team_id = await open_team(captain, room, sample_phone(411))
    await shows(captain, "team", "data-state", "failed", within_s=40)
    await shows(captain, "team", "data-step", "refunded", within_s=40)
    says = await captain.page.get_by_test_id("my-says").inner_text()
    assert "已退回 ¥39.90" in says
    await captain.tap("to-my-teams")
    card = captain.page.locator(f"[data-testid=my-team][data-team={team_id}]")
    await eventually(lambda: _has(card, "data-state", "failed"), within_s=10)
    await house.lawful("T6")


async def _has(found: Any, attribute: str, value: str) -> bool:
    return bool(await found.count()) and bool(await found.get_attribute(attribute) == value)


async def test_an_open_team_is_joined_from_the_shelf(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 9, offer={**TEAM, "size": 2})
    captain, other = await screen(), await screen()
    team_id = await open_team(captain, room, sample_phone(421))
    await enter(other, room)
    await other.page.locator("[data-testid=pinned] [data-testid=buy]").click()
    await sign_in(other, sample_phone(422))
    row = other.page.locator(f"[data-testid=open-team][data-team={team_id}]")
    await eventually(lambda: _has(row, "data-team", team_id), within_s=15)
    await row.get_by_test_id("join-team").click()
    await pay(other)
    await shows(captain, "team", "data-state", "formed", within_s=15)
    # Who comes too late is told so, and shown what else there is.
    late = await screen()
    await late.go(f"/t/{team_id}")
    await sign_in(late, sample_phone(423))
    await shows(late, "team", "data-state", "formed", within_s=15)
    await shows(late, "team-button", "data-opens", "other", within_s=10)


async def test_a_crowd_reaches_its_threshold_live(house: House, screen: NewScreen) -> None:
    steps = [{"seats": 2, "price_fen": 3_900}, {"seats": 3, "price_fen": 3_500}]
    offer = {"kind": "crowd", "prices": [], "steps": steps}
    room = await live_room(house, 9, offer=offer)
    first, second = await screen(), await screen()
    for one, phone in ((first, sample_phone(431)), (second, sample_phone(432))):
        await enter(one, room)
        await one.page.locator("[data-testid=pinned] [data-testid=buy]").click()
        await sign_in(one, phone)
        await until_step(one, "choose")
        await one.tap("buy-button")
        await pay(one)
    await first.tap("buy-button")  # the crowd's page
    await shows(first, "team", "data-state", "reached", within_s=15)
    await shows(first, "crowd", "data-paid", "2", within_s=15)
    assert await first.value("ladder-step", "data-on") == "true"
    assert not await first.is_wider_than_itself()


async def test_what_is_shown_before_paying(house: House, screen: NewScreen) -> None:
    """The landing of a late payment and the consent are on the sheet, and nothing is ticked."""
    room = await live_room(house, 9, offer={**TEAM, "late": "other"})
    mine = await screen()
    await enter(mine, room)
    await mine.page.locator("[data-testid=pinned] [data-testid=buy]").click()
    await eventually(lambda: is_shown(mine, "landing-late"), within_s=10)
    assert await mine.value("landing-late", "data-late") == "other"
    assert not await mine.page.get_by_test_id("consent").is_checked()
    assert not await mine.is_wider_than_itself()


async def test_an_unknown_team_is_said(house: House, screen: NewScreen) -> None:
    lost = await screen()
    await lost.go(f"/t/tem-s1-e1-{now_ms()}-0123456789abcdef")
    await sign_in(lost, sample_phone(441))
    await asyncio.sleep(1)
    assert "没有这个团" in await lost.page.get_by_test_id("team").inner_text()
    lost.complaints.clear()  # the browser itself tells of the 404


async def test_a_conflicting_price_is_refused_with_its_reason(
    house: House, screen: NewScreen
) -> None:
    sale = await house.sale(9, offer={**TEAM, "sku_id": "SP1004", "prices": [{"price_fen": 990}]})
    hq = await screen(DESKTOP)
    await hq.go("/hq")
    await hq.tap("demo-hq")
    await hq.tap("open-campaigns")
    await hq.tap("campaign-new")
    fill = {"name": "后来的", "sku": "SP1004", "total": "50", "steps": "10 9.95\n20 9.50"}
    await hq.page.get_by_test_id("campaign-kind").select_option("crowd")
    for field, value in fill.items():
        await hq.page.get_by_test_id(f"campaign-{field}").fill(value)
    await hq.tap("campaign-create")
    mine = hq.page.locator("[data-testid=campaigns] li", has_text="后来的")
    await mine.get_by_role("button").click()  # submit
    said = hq.page.get_by_test_id("campaigns-say")
    await said.wait_for(timeout=15_000)
    assert sale.offer_id in await said.inner_text()
    hq.complaints.clear()  # the browser itself tells of the 422
