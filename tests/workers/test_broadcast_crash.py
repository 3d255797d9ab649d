"""A crash before each single command of a round: the next broadcaster tells what was not told."""

import contextlib
from collections import Counter

import pytest

from engine.room_events import me_topic
from engine.rooms import RoomLogs
from tests.workers.acts import held
from tests.workers.conftest import RivalMaker
from tests.workers.gates import Crash, Steps
from tests.workers.hall import hall_of, open_hall
from tests.workers.stage import Stage
from workers.broadcast.loop import Broadcaster


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_crash_anywhere_loses_nothing_and_repeats_nothing(
    stage: Stage, rival: RivalMaker, fresh: bool
) -> None:
    """`fresh`: a first start, which also makes the logs; else one that goes on."""
    hall = await open_hall(stage)
    offer = await stage.offer(900)
    rooms: list[str] = [await hall.room(offer)]
    await hall.quiet()
    buyers: list[str] = []
    at, crashed = 0, True
    while crashed:
        at += 4 if fresh else 1  # its steps are many, and of few kinds
        await stage.settle()
        if fresh:
            await stage.run("UPDATE rooms SET state = 'ended', ended_at_ms = 1")
            rooms.append(await hall.room(offer))
        for one in ("a", "b"):
            buyers.append(f"{one}{at}")
            await held(stage, offer, buyers[-1])
        steps = Steps(at)
        async with rival(steps) as other:
            logs = RoomLogs(other.inventory.wire, settings=stage.settings)
            with contextlib.suppress(Crash):
                await Broadcaster(other.db, other.inventory, logs, stage.settings).round()
        crashed = bool(steps.where)
        await hall.quiet(hall_of(stage).broadcaster)
        for buyer in buyers[-2:]:
            assert await hall.claims_of(buyer) == [("held", "", 1)], steps.where
            entries = await hall.logs.entries(me_topic(buyer), 0, 100)
            assert max(Counter(one[1] for one in entries).values()) == 1, steps.where
        await hall.check(rooms[-1])
    assert at > 15
