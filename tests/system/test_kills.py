"""The race goes on while each process, one after the other, is killed with -9 in its middle.

Customers repeat what was lost or refused with 503 under the same key. No acknowledged claim is
lost, since both stores keep what they acknowledged, and every law holds.
"""

import asyncio

import pytest

from engine.ids import now_ms
from tests.system.crowds import crowds, plans
from tests.system.house import House

pytestmark = pytest.mark.slow

CUSTOMERS, UNITS = 2_000, 160
VICTIMS = ("api-1", "settle", "valkey", "worker", "postgres", "api-2")


async def kill_each(house: House, names: tuple[str, ...]) -> None:
    """One after the other, each while the sale has just found its feet again."""
    for name in names:
        await asyncio.sleep(0.5)
        old = house.kill(name)
        await house.until_back(name, old)
        await house.until_ready()


async def test_every_process_is_killed_in_mid_race(house: House) -> None:
    sale = await house.sale(UNITS, hold_ms=5_000, pay_ms=8_000, per_buyer_max=2)
    buyers = [f"mbr_{number:05}" for number in range(CUSTOMERS)]
    habits = {"pay": 40, "refund": 20, "lapse": 20, "cancel": 20}
    given = plans(
        *(house, sale, buyers, habits),
        name="killed",
        lanes=48,
        until_ms=now_ms() + 18_000,
        repeats=0.1,
        twins=0.1,
    )
    async with crowds(given) as race:
        killing = asyncio.create_task(kill_each(house, VICTIMS))
        seen = await race.go()
        await killing
    assert not seen.errors, seen.errors[:10]
    assert len(seen.held) > UNITS / 2
    assert not [end for end in seen.ends if "claim_lost" in end], seen.ends
    assert seen.ends.get("pay → paid", 0) > 0
    assert seen.retried + seen.lost > 0
    restarted = [line for line in house.said if "starting it again" in line]
    assert len(restarted) >= len(VICTIMS), house.said
    await house.lawful("I1", "I4", "I6", "I7", "I8", "I10", "T8", "M3", "M4")
