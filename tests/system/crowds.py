"""Starts client processes (crowd.py), opens the gate for all of them, and sums up what they saw."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from tests.system.crowd import CrowdPlan, Seen
from tests.system.house import House, Sale

ROOT = Path(__file__).parents[2]
LANES = 256
LINE_BYTES_MAX = 64 << 20


class Crowds:
    """Client processes behind a closed gate."""

    def __init__(self, processes: Sequence[asyncio.subprocess.Process]) -> None:
        self._processes = processes

    async def go(self) -> Seen:
        """Open the gate and wait for the end; what all have seen together."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
        total = Seen()
        for told in await asyncio.gather(*(_last_line(one) for one in self._processes)):
            total.add(told)
        return total


async def _last_line(process: asyncio.subprocess.Process) -> Seen:
    assert process.stdout is not None
    line = await process.stdout.readline()
    code = await process.wait()
    assert code == 0, f"a client process ended with {code}"
    return msgspec.json.decode(line, type=Seen)


def plans(
    house: House,
    sale: Sale,
    buyers: Sequence[str],
    habits: dict[str, int],
    *,
    name: str,
    lanes: int = LANES,
    processes: int = 3,
    **more: object,
) -> list[CrowdPlan]:
    """Buyers and lanes dealt out to so many client processes."""
    return [
        msgspec.convert(
            {
                "name": f"{name}-{number}",
                "base_url": house.settings.public_url,
                "history": str(house.history),
                "buyers": [(one, house.token(one)) for one in buyers[number::processes]],
                "offer_id": sale.offer_id,
                "price_id": sale.price_id,
                "lanes": len(range(number, lanes, processes)),
                "habits": habits,
                "seed": 1,
                **more,
            },
            CrowdPlan,
        )
        for number in range(processes)
    ]


@asynccontextmanager
async def crowds(given: Sequence[CrowdPlan]) -> AsyncIterator[Crowds]:
    """Client processes that are ready; whoever still runs at the end is ended."""
    processes = []
    try:
        for plan in given:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.system.crowd"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=ROOT,
                limit=LINE_BYTES_MAX,
            )
            processes.append(process)
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(plan) + b"\n")
            await process.stdin.drain()
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        yield Crowds(processes)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
