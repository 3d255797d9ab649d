"""Words can be read in the light and in the dark: 4.5:1 on every page, on a phone and a desk."""

from typing import Any

import pytest

from cli.shop import sample_phone
from tests.browser.chromium import DESKTOP, PHONE, Screen
from tests.browser.conftest import NewScreen
from tests.browser.contrast import faint_words
from tests.browser.scene import is_shown, live_room, shows
from tests.browser.test_staff import staff_sign_in
from tests.browser.test_teams import TEAM, open_team
from tests.system.house import House
from tests.waiting import eventually


async def reads_well(screen: Screen, what: str) -> None:
    """Also once what slides in has come to rest."""

    async def none_is_faint() -> bool:
        assert await faint_words(screen) == [], what
        return True

    await eventually(none_is_faint, within_s=5, every_s=0.3)
    assert not await screen.is_wider_than_itself(), what


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_words_stand_out(house: House, screen: NewScreen, scheme: str) -> None:
    phone: dict[str, Any] = {**PHONE, "color_scheme": scheme}
    room = await live_room(house, 9, offer={**TEAM, "size": 2, "subsidy_max": 1})
    captain, guide = await screen(phone), await screen(phone)
    hq = await screen({**DESKTOP, "color_scheme": scheme})
    await captain.go("/")
    await reads_well(captain, "landing")
    team_id = await open_team(captain, room, sample_phone(541 if scheme == "dark" else 542))
    await reads_well(captain, "team")
    await captain.tap("to-my-order")
    await eventually(lambda: is_shown(captain, "order"), within_s=15)
    await reads_well(captain, "orders")
    await guide.go(f"/desk?room={room.room_id}")
    await staff_sign_in(guide, house.fresh.host.login, house.fresh.keys.guide)
    await eventually(lambda: is_shown(guide, "one-short"), within_s=20)
    await reads_well(guide, "desk")
    for at in ("stock", "pick-up"):
        await guide.go(f"/desk?at={at}")
        await reads_well(guide, at)
    await hq.go("/hq")
    await staff_sign_in(hq, "hq", house.fresh.keys.hq)
    await shows(hq, "laws-summary", "data-light", "kept", within_s=60)
    await reads_well(hq, "board")
    await hq.tap("open-refunds")
    await eventually(lambda: is_shown(hq, "refunds"), within_s=10)
    await reads_well(hq, "refunds")
    await hq.go(f"/t/{team_id}")
    await reads_well(hq, "sign-in on a desk")
