"""Everything at once, by a seed: kills, freezes, an emptied store, a cut file, callbacks astray.

Only in `make fuzz`, since each round draws a fresh seed, which is in the failure's message.
Whatever happened, the laws hold once the storm is over, with clients' history and bill as
witnesses.
"""

import asyncio
import random

import httpx
import pytest
from hypothesis import settings

from engine.ids import now_ms
from tests.sandbox import TLS
from tests.system.crowds import crowds, plans
from tests.system.house import House
from tests.system.test_hot_store import cut, tail_of_the_file

pytestmark = [pytest.mark.slow, pytest.mark.fuzz, pytest.mark.storm]

STORM_S = 10
PROCESSES = ("api-1", "api-2", "settle", "worker", "valkey", "postgres", "sandbox")
HABITS = {"pay": 50, "refund": 20, "lapse": 15, "cancel": 15}
TROUBLES = ("delayed", "lost", "doubled", "forged", "out_of_order", "wrong_amount")


async def switch(house: House, seed: int, *, on: bool) -> None:
    """Let a tenth of the payments go wrong in each way, or none."""
    rules = {name: {"share_bps": 1_000} for name in TROUBLES} if on else {}
    body = {"seed": seed, **rules}
    async with httpx.AsyncClient(trust_env=False, verify=TLS) as http:
        answer = await http.put(f"{house.settings.provider_url}/switches", json=body)
        answer.raise_for_status()


async def strike(house: House, draw: random.Random) -> str:
    """One fault; what it was."""
    name = draw.choice(PROCESSES)
    match draw.choices(["kill", "freeze", "flush", "cut"], [50, 30, 10, 10])[0]:
        case "kill":
            await house.until_back(name, house.kill(name))
            return f"kill {name}"
        case "freeze":
            seconds = draw.uniform(0.3, 3)
            with house.frozen(name):
                await asyncio.sleep(seconds)
            return f"freeze {name} {seconds:.1f} s"
        case "flush":
            await house.ask("FLUSHALL")
            return "flush"
        case _:
            await cut(house, tail_of_the_file(house).stat().st_size - draw.randrange(50, 3_000))
            return "cut"


async def storm(house: House, draw: random.Random) -> list[str]:
    """Faults until the time is over."""
    struck = []
    until = now_ms() + STORM_S * 1_000
    while now_ms() < until:
        await asyncio.sleep(draw.uniform(0.2, 2.5))
        struck.append(await strike(house, draw))
    return struck


@pytest.mark.parametrize("round_", range(settings().max_examples // 100))
async def test_after_the_storm_every_law_holds(
    house: House, round_: int, request: pytest.FixtureRequest
) -> None:
    asked = request.config.getoption("--hypothesis-seed")  # the same storm again
    seed = int(asked) if asked else random.randrange(2**31)
    draw = random.Random(seed)
    late = draw.choice(["refund", "retake"])
    sale = await house.sale(120, hold_ms=4_000, pay_ms=6_000, per_buyer_max=2, late=late)
    buyers = [f"mbr_storm_{seed}_{number:04}" for number in range(800)]
    given = plans(
        *(house, sale, buyers, HABITS),
        name=f"storm-{seed}",
        lanes=30,
        processes=2,
        until_ms=now_ms() + (STORM_S + 3) * 1_000,
        repeats=0.1,
        lossy=True,
        twins=0.1,
        seed=seed,
    )
    await switch(house, seed, on=True)
    async with crowds(given) as race:
        storming = asyncio.create_task(storm(house, draw))
        seen = await race.go()
        struck = await storming
    await house.until_ready()
    await switch(house, seed, on=False)
    assert not seen.errors, (seed, struck, seen.errors[:10])
    assert seen.held, (seed, struck)
    report = await house.audited(within_s=90)
    assert report.ok, "\n".join([f"seed {seed}", *struck, *report.lines(), *house.logs()])
