"""`python -m cli.demo.crowd`: one client process; its plan on stdin, tallies on stdout.

After all are signed in it says so and waits for a line on stdin: the evening starts then.
"""

import asyncio
import sys
from pathlib import Path

import msgspec
import uvloop

from cli.demo.guests import lives
from cli.demo.journeys import Journey
from cli.demo.plan import CrowdPlan, Tally
from engine.audit.history import HistoryWriter

SIGN_INS_AT_ONCE = 8


async def play(plan: CrowdPlan) -> None:
    """All journeys of a plan at the same time."""
    tally, gate = Tally(), asyncio.Event()
    ready = asyncio.Semaphore(SIGN_INS_AT_ONCE)
    with HistoryWriter(Path(plan.history), plan.name) as history:
        journeys = [
            asyncio.create_task(Journey(plan, buyer, tally, history).run(gate, ready))
            for buyer in plan.buyers
        ]
        journeys += lives(plan, tally, history, gate, ready)
        teller = asyncio.create_task(_tell(tally))
        await asyncio.to_thread(sys.stdin.readline)
        gate.set()
        await asyncio.gather(*journeys)
        teller.cancel()
    _say(tally)


async def _tell(tally: Tally) -> None:
    while True:
        _say(tally)
        await asyncio.sleep(0.4)


def _say(tally: Tally) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(tally) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Play one crowd."""
    uvloop.run(play(msgspec.json.decode(sys.stdin.readline(), type=CrowdPlan)))


if __name__ == "__main__":
    main()
