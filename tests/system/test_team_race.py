"""Everybody wants the last seats of one team, through two API processes.

Never more than three seats are held or paid, whatever is late, doubled, out of order or killed
meanwhile; the others are told why, truly. 600 buyers in make test, 10,000 in make fuzz.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from engine.ids import now_ms
from tests.system.crowd import Seen
from tests.system.crowds import crowds, plans
from tests.system.house import House, Sale
from tests.system.teams import (
    TERM_MS,
    Tale,
    lawful,
    opened,
    reconciled,
    switches,
    tale,
    team,
    team_sale,
    until_booked,
    until_team,
)

pytestmark = pytest.mark.slow

TRUE_REASONS = {"held", "team_full", "team_over"}
LATE = ("refund", "seat", "other", "new")
# What may become of a payment that comes late, by what the campaign declares.
MAY_LAND = {
    "refund": {"refused: refund"},
    "seat": {"seat", "refused: no_seat"},
    "other": {"seat", "other", "refused: no_seat"},
    "new": {"seat", "other", "new"},
}


async def rush(
    house: House,
    late: str,
    buyers: int,
    *,
    beside: Callable[[], Awaitable[None]] | None = None,
    lasts_ms: int = 8_000,
    term_ms: int = TERM_MS,
) -> tuple[Sale, str, Seen, Tale]:
    """One team with a paid captain; all others want in, some pay, some do not, some too late."""
    offer = {"late": late, "term_ms": term_ms}
    sale = await team_sale(house, 300, hold_ms=2_000, pay_ms=2_500, offer=offer)
    name = f"rush_{late}_{buyers}_{sale.offer_id[-4:]}"
    captain = await opened(house, sale, f"captain_{name}")
    given = plans(
        *(house, sale, [f"{name}_{number:05}" for number in range(buyers)]),
        {"pay": 2, "late": 5, "lapse": 3},
        name=name,
        lanes=48 if buyers < 1_000 else 256,
        processes=2,
        team_id=captain.team_id,
        consents=0.5,
        repeats=0.03,
        twins=0.03,
        until_ms=now_ms() + lasts_ms,
    )
    async with crowds(given) as race:
        going = asyncio.create_task(race.go())
        if beside is not None:
            await beside()
        seen = await going
    assert not seen.errors, seen.errors[:10]
    told = await tale(house, sale)
    assert told.most == 3, told
    assert set(told.landed) <= MAY_LAND[late], told
    return sale, captain.team_id, seen, told


def reasons(seen: Seen) -> set[str]:
    """What all were told, whichever of their two requests it was."""
    return {word.removeprefix("twin: ") for word in seen.answers}


@pytest.mark.parametrize("late", ["seat"])
async def test_a_team_of_three_never_has_a_fourth(house: House, late: str) -> None:
    sale, team_id, seen, told = await rush(house, late, 600)
    assert reasons(seen) <= TRUE_REASONS | {"in_team"}, seen.answers
    assert seen.answers["team_full"] > 0
    assert min((await house.served()).values()) > 20
    found = await team(house, sale, team_id)
    assert found["state"] == ("formed" if told.ends else "forming")
    await lawful(house, "I6", "I7")


@pytest.mark.long
@pytest.mark.parametrize("late", LATE)
async def test_ten_thousand_for_one_team(house: House, late: str) -> None:
    _, _, seen, _ = await rush(house, late, 10_000, lasts_ms=25_000)
    assert reasons(seen) <= TRUE_REASONS | {"in_team"}, seen.answers
    assert sum(count for word, count in seen.answers.items() if ":" not in word) >= 10_000
    await lawful(house, "I6", "I7")


@pytest.mark.long
@pytest.mark.parametrize("late", LATE)
async def test_ten_thousand_while_callbacks_go_astray(house: House, late: str) -> None:
    """Doubled, reordered, lost, and delayed beyond the team's deadline."""
    await switches(
        house,
        doubled={"share_bps": 5_000},
        out_of_order={"share_bps": 2_000},
        delayed={"share_bps": 3_000, "ms": 9_000},
        lost={"share_bps": 1_000},
    )
    try:
        sale, team_id, _, _ = await rush(house, late, 10_000, term_ms=30_000)
    finally:
        await switches(house)
    await reconciled(house)
    await until_team(house, sale, team_id, "formed", "failed")
    await until_booked(house, sale)
    await lawful(house, "I6", "I7")


@pytest.mark.long
@pytest.mark.parametrize("late", LATE)
async def test_ten_thousand_while_each_process_dies(house: House, late: str) -> None:
    """Nobody who holds or has paid for a seat loses it, since both stores keep what they said."""

    async def kills() -> None:
        for name in ("api-1", "settle", "valkey", "worker", "api-2", "valkey"):
            await asyncio.sleep(1)
            old = house.kill(name)
            await house.until_back(name, old)
            await house.until_ready()

    sale, team_id, seen, _ = await rush(
        house, late, 10_000, beside=kills, lasts_ms=25_000, term_ms=40_000
    )
    assert not [end for end in seen.ends if "claim_lost" in end], seen.ends
    await until_team(house, sale, team_id, "formed", "failed")
    await until_booked(house, sale)
    await lawful(house, "I6", "I7")
