"""Ways between a team's pages: the guide's nudge, the order's link there and back, a rescue."""

import asyncio

from cli.shop import sample_phone
from tests.browser.chromium import Screen
from tests.browser.conftest import NewScreen
from tests.browser.scene import is_shown, live_room, shows
from tests.browser.test_staff import staff_sign_in
from tests.browser.test_teams import TEAM, join, open_team
from tests.system.house import House
from tests.waiting import eventually


async def test_a_team_that_misses_one_is_nudged(house: House, screen: NewScreen) -> None:
    room = await live_room(house, 9, offer={**TEAM, "size": 2})
    captain, guide, friend = await screen(), await screen(), await screen()
    team_id = await open_team(captain, room, sample_phone(501))
    await guide.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await guide.go(f"/desk?room={room.room_id}")
    await staff_sign_in(guide, house.fresh.host.login, house.fresh.keys.guide)
    await shows(guide, "one-short", "data-count", "1", within_s=20)
    await guide.tap("nudge")

    async def copied() -> bool:
        text = await guide.page.evaluate("navigator.clipboard.readText()")
        return bool(text == f"{house.settings.public_url}/t/{team_id}")

    await eventually(copied, within_s=10)
    assert not await guide.is_wider_than_itself()
    await join(friend, team_id, sample_phone(502))
    await shows(captain, "team", "data-state", "formed", within_s=15)

    async def gone() -> bool:
        return not await is_shown(guide, "one-short")

    await eventually(gone, within_s=20)
    # From the team to its order, and back.
    await captain.tap("to-my-order")
    await eventually(lambda: is_shown(captain, "order-team"), within_s=15)
    await captain.tap("order-team")
    await shows(captain, "team", "data-team", team_id, within_s=10)


async def test_a_rescued_members_old_link_leads_to_the_new_team(
    house: House, screen: NewScreen
) -> None:
    offer = {**TEAM, "size": 2, "term_ms": 30_000, "closing_max_ms": 5_000}
    room = await live_room(house, 9, offer=offer)
    both = [await screen(), await screen()]
    teams = await asyncio.gather(
        *(
            open_team(one, room, sample_phone(511 + number), consent=True)
            for number, one in enumerate(both)
        )
    )
    moved: list[Screen] = []

    async def one_moved() -> bool:
        moved[:] = [one for one in both if await is_shown(one, "to-new-team")]
        return bool(moved)

    await eventually(one_moved, within_s=60)
    (old,) = moved
    other = teams[1 - both.index(old)]
    await old.tap("to-new-team")
    await shows(old, "team", "data-team", other, within_s=10)
    await shows(old, "team", "data-state", "formed", within_s=15)
    # The old link on another phone knows nothing of the purchase, and yet leads on.
    await old.page.evaluate(
        "for (const key of Object.keys(sessionStorage))"
        " if (key.startsWith('kaituan.press')) sessionStorage.removeItem(key)"
    )
    await old.go(f"/t/{teams[both.index(old)]}")
    await eventually(lambda: is_shown(old, "to-new-team"), within_s=15)
