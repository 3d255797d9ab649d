"""The guide's desk and HQ's board: what is done here is seen in the room, and in figures."""

from engine.ids import now_ms
from tests.browser.chromium import DESKTOP, PHONE, Screen
from tests.browser.conftest import NewScreen
from tests.browser.scene import Room, buy, enter, is_shown, live_room, shows
from tests.system.house import HOUR_MS, House, Sale
from tests.waiting import eventually


async def staff_sign_in(screen: Screen, login: str, password: str) -> None:
    """With the password, as where there is no demo."""
    await screen.page.get_by_test_id("login").fill(login)
    await screen.page.get_by_test_id("password").fill(password)
    await screen.tap("sign-in")


async def scheduled_room(house: House) -> Room:
    """A room that has not begun, with a flash that its host launches."""
    hq = house.fresh.hq
    draft = {
        "name": "主播秒杀",
        "starts_at_ms": now_ms() - 1_000,
        "ends_at_ms": now_ms() + HOUR_MS,
        "per_campaign_max": 1,
        "offers": [
            {
                "sku_id": "SP1003",
                "total": 10,
                "prices": [{"price_fen": 1_490}],
                "launch": "host",
                "duration_ms": HOUR_MS // 2,
            }
        ],
    }
    (offer,) = await house.fresh.publish(draft)
    sale = Sale("", offer["offer_id"], offer["price_ids"][0], 0)
    body = {
        "title": "开播前",
        "store_id": "S01",
        "host_guide_id": "G001",
        "starts_at_ms": now_ms() + 60_000,
        "offers": [sale.offer_id],
    }
    return Room((await hq.ask("POST", "/v1/rooms", body))["room_id"], sale)


async def test_a_guide_goes_live_pins_and_launches(house: House, screen: NewScreen) -> None:
    room = await scheduled_room(house)
    guide, viewer = await screen(), await screen()
    await enter(viewer, room)
    await guide.go("/desk")
    await staff_sign_in(guide, house.fresh.host.login, house.fresh.keys.guide)
    await guide.tap(f"my-room-{room.room_id}")
    await guide.tap("go-live")
    await shows(viewer, "room", "data-state", "live", within_s=10)
    await guide.tap(f"pin-{room.sale.offer_id}")
    await shows(viewer, "pinned", "data-offer", room.sale.offer_id, within_s=10)
    await guide.tap(f"launch-{room.sale.offer_id}")
    await guide.tap("launch-confirm")
    await shows(viewer, "countdown", "data-phase", "upcoming", within_s=10)
    await shows(viewer, "countdown", "data-phase", "open", within_s=90)
    assert not await guide.is_wider_than_itself()
    assert not await viewer.is_wider_than_itself()


async def test_the_board_shows_what_was_sold(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 3)
    board, customer = await screen(DESKTOP), await screen()
    await board.go("/hq")
    await staff_sign_in(board, "hq", house.fresh.keys.hq)

    async def paid() -> int:
        return int(await board.value("tile-paid-value", "data-value") or 0)

    await eventually(lambda: is_shown(board, "board"), within_s=20)
    before = await paid()
    await enter(customer, room)
    await buy(customer, "19900000351")

    async def counted() -> bool:
        return await paid() > before

    await eventually(counted, within_s=20)
    await shows(board, "laws-summary", "data-light", "kept", within_s=60)


async def test_pages_at_360_px_do_not_scroll_sideways(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 3)
    for path in ("/", f"/r/{room.room_id}", "/desk", "/hq"):
        for locale in ("zh-CN", "en"):
            one = await screen(PHONE, locale=locale)
            await one.go(path)
            await one.page.wait_for_load_state("networkidle")
            assert not await one.is_wider_than_itself(), f"{path} in {locale}"


async def test_the_board_fits_a_phone(house: House, screen: NewScreen) -> None:
    board = await screen(PHONE)
    await board.go("/hq")
    await staff_sign_in(board, "hq", house.fresh.keys.hq)
    await eventually(lambda: is_shown(board, "tile-orders"), within_s=20)
    assert not await board.is_wider_than_itself()
