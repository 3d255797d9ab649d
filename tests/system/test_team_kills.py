"""Teams while a process is killed with -9 at each named point of their lives.

Three stories, each ends as declared whoever died when: a team forms; a team fails with a payment
under way at its deadline; a payment comes after its close receipt and lands.
"""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from tests.system.house import House
from tests.system.teams import (
    lawful,
    opened,
    page_of,
    paid_up,
    pay,
    seated,
    switches,
    tale,
    team_sale,
    until_claims,
    until_closed,
    until_money,
    until_team,
)
from tests.waiting import eventually

pytestmark = pytest.mark.slow

POINTS = (
    "captain_holds",
    "captain_pays",
    "captain_paid",
    "members_hold",
    "last_pays",
    "formed",
    "closing",
    "failed",
    "closed",
    "late",
)
VICTIMS = ("valkey", "settle", "worker", "api-1", "api-2", "postgres")
MIXED = {
    "captain_holds": "settle",
    "captain_pays": "valkey",
    "captain_paid": "api-1",
    "members_hold": "valkey",
    "last_pays": "settle",
    "formed": "api-2",
    "closing": "worker",
    "failed": "settle",
    "closed": "worker",
    "late": "valkey",
}
Strike = Callable[[str], Awaitable[None]]


def striker(house: House, schedule: Mapping[str, str]) -> Strike:
    """Kills whom the schedule names at a point, and goes on when all is well again."""

    async def strike(point: str) -> None:
        name = schedule.get(point)
        if name is None:
            return
        old = house.kill(name)
        await house.until_back(name, old)
        await house.until_ready()

    return strike


async def one_forms(house: House, who: str, strike: Strike) -> None:
    """Three buyers, three payments; the last is struck between provider and callback."""
    sale = await team_sale(house, 20)
    captain = await seated(house, sale, f"captain_{who}")
    await strike("captain_holds")
    paying = await page_of(house, captain)
    await strike("captain_pays")
    await pay(house, paying)
    await until_claims(house, [captain], "paid")
    await strike("captain_paid")
    members = [
        await seated(house, sale, f"member_{who}_{number}", captain.team_id) for number in (1, 2)
    ]
    await strike("members_hold")
    await paid_up(house, members[0])
    last = await page_of(house, members[1])
    await pay(house, last)
    await strike("last_pays")
    await until_team(house, sale, captain.team_id, "formed")
    await strike("formed")
    for seat in (captain, *members):
        await until_money(house, seat, "paid", captain.team_id)
    told = await tale(house, sale)
    assert (told.most, dict(told.ends)) == (3, {"team.formed full": 1}), told


async def one_fails(house: House, who: str, strike: Strike) -> None:
    """Two of three have paid; that the second has, is learnt only after the deadline."""
    sale = await team_sale(house, 20, offer={"term_ms": 5_000, "closing_max_ms": 60_000})
    captain = await opened(house, sale, f"captain_{who}")
    member = await page_of(house, await seated(house, sale, f"member_{who}", captain.team_id))
    attempts = [member.page["attempt_id"]]
    asked = {"count": 10_000, "operations": ["query", "close"], "attempts": attempts}
    await switches(house, failing=asked)
    try:
        await pay(house, member, "lost")
        await until_team(house, sale, captain.team_id, "closing")
        await strike("closing")
    finally:
        await switches(house)
    await until_team(house, sale, captain.team_id, "failed")
    await strike("failed")
    for seat in (captain, member.seat):
        await until_money(house, seat, "refunded", captain.team_id, "team_failed")
    told = await tale(house, sale)
    assert dict(told.ends) == {"team.failed deadline": 1}, told

    async def all_is_back() -> bool:  # units come back behind the money
        return (await house.stock(sale))["available"] == 20

    await eventually(all_is_back, every_s=0.1, within_s=60)


async def one_lands(house: House, who: str, strike: Strike) -> None:
    """A member's seat came free; then they pay, and have it again."""
    sale = await team_sale(house, 20, pay_ms=1_500, offer={"late": "seat"})
    captain = await opened(house, sale, f"captain_{who}")
    member = await page_of(house, await seated(house, sale, f"member_{who}", captain.team_id))
    await until_closed(house, [member])
    await strike("closed")
    await pay(house, member, "paid_after_close")
    await strike("late")
    await until_money(house, member.seat, "paid", captain.team_id)
    assert dict((await tale(house, sale)).landed) == {"seat": 1}


async def test_somebody_dies_at_each_point(house: House) -> None:
    strike = striker(house, MIXED)
    await one_forms(house, "mixed", strike)
    await one_fails(house, "fails_mixed", strike)
    await one_lands(house, "lands_mixed", strike)
    await lawful(house, "I6", "T5")


@pytest.mark.long
@pytest.mark.parametrize("victim", VICTIMS)
async def test_one_dies_at_every_point(house: House, victim: str) -> None:
    strike = striker(house, dict.fromkeys(POINTS, victim))
    who = victim.replace("-", "_")
    await one_forms(house, who, strike)
    await one_fails(house, f"fails_{who}", strike)
    await one_lands(house, f"lands_{who}", strike)
    await lawful(house, "I6", "T5")
