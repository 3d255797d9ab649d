"""HQ's hands: refunds under way, a seat that the merchant fills, a campaign that is cancelled."""

from cli.shop import sample_phone
from tests.browser.chromium import DESKTOP, Screen
from tests.browser.conftest import NewScreen
from tests.browser.scene import buy, enter, is_shown, live_room, shows
from tests.browser.test_staff import staff_sign_in
from tests.browser.test_teams import TEAM, open_team
from tests.system.house import House
from tests.waiting import eventually


async def board(screen: NewScreen, house: House) -> Screen:
    hq = await screen(DESKTOP)
    await hq.go("/hq")
    await staff_sign_in(hq, "hq", house.fresh.keys.hq)
    await eventually(lambda: is_shown(hq, "tile-orders"), within_s=20)
    return hq


async def test_refunds_are_seen_with_age_and_tries(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 2)
    mine = await screen()
    await enter(mine, room)
    await buy(mine, sample_phone(451))
    await mine.tap("buy-button")
    await mine.tap("refund-ask")
    await mine.tap("refund-sure")
    await shows(mine, "refund", "data-state", "done", within_s=30)
    order_id = await mine.value("order", "data-order") or ""
    hq = await board(screen, house)
    await hq.tap("open-refunds")
    await eventually(lambda: is_shown(hq, "refund-row"), within_s=15)
    await hq.page.get_by_test_id("refunds-cause").select_option("after_sale")
    await hq.tap("refunds-done")
    row = hq.page.locator("[data-testid=refund-row]", has_text=order_id)
    await eventually(row.count, within_s=15)
    assert await row.get_attribute("data-state") == "done"
    assert int(await row.get_attribute("data-tries") or 0) >= 1
    async with hq.page.expect_download() as file:
        await hq.tap("refunds-csv")
    assert (await file.value).suggested_filename == "refunds.csv"
    await hq.page.get_by_test_id("refunds-cause").select_option("rejected")
    await shows(hq, "refunds", "data-count", "0", within_s=15)


async def test_hq_fills_the_last_seat(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 9, offer={**TEAM, "size": 2, "subsidy_max": 2})
    captain = await screen()
    team_id = await open_team(captain, room, sample_phone(461))
    hq = await board(screen, house)
    await eventually(lambda: is_shown(hq, f"teams-of-{room.sale.offer_id}"), within_s=30)
    await hq.tap(f"teams-of-{room.sale.offer_id}")
    await shows(hq, "subsidy", "data-left", "2", within_s=15)
    row = hq.page.locator(f"[data-testid=subsidy-team][data-team='{team_id}']")
    await row.get_by_test_id("subsidy-ask").click()
    assert "¥39.90" in await row.get_by_test_id("subsidy-says").inner_text()
    await row.get_by_test_id("subsidy-reason").fill("差一位")
    await row.get_by_test_id("subsidy-sure").click()
    await shows(hq, "subsidy", "data-left", "1", within_s=15)
    await shows(captain, "team", "data-state", "formed", within_s=20)
    what = captain.page.locator("[data-testid=seat][data-what=merchant]")
    assert "商家补位" in await what.inner_text()


async def test_a_campaign_is_cancelled_with_its_effect_said(
    house: House, screen: NewScreen
) -> None:
    room = await live_room(house, 9, offer={**TEAM, "size": 2}, on_cancel="refund")
    captain = await screen()
    await open_team(captain, room, sample_phone(471))
    hq = await board(screen, house)
    await hq.tap("open-campaigns")
    await hq.tap(f"campaign-{room.sale.campaign_id}-cancel")
    assert "全额退款" in await hq.page.get_by_test_id("cancel-says").inner_text()
    await hq.page.get_by_test_id("cancel-note").fill("供应商断货")
    await hq.tap("cancel-sure")
    mine = f"campaign-{room.sale.campaign_id}"
    await shows(hq, mine, "data-state", "cancelled", within_s=20)
    await shows(captain, "team", "data-step", "refunded", within_s=60)
