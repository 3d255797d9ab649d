"""A store goes away in mid-sale: the broadcaster waits, says so, and goes on where it was."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest
import pytest_asyncio
from sqlalchemy.exc import OperationalError

from campaigns.offer.models import Offer
from engine.errors import Unavailable
from engine.room_events import room_topic
from engine.rooms import RoomLogs
from tests.waiting import eventually
from tests.workers.acts import held
from tests.workers.conftest import RivalMaker
from tests.workers.hall import Hall, open_hall
from tests.workers.stage import Stage
from workers.broadcast.loop import Broadcaster


@pytest_asyncio.fixture
async def hall(stage: Stage) -> AsyncIterator[Hall]:
    yield await open_hall(stage)


async def told(hall: Hall, room_id: str, part: str) -> int:
    return sum(one[2] == part for one in await hall.whole_log(room_topic(room_id)))


async def _more(hall: Hall, room_id: str, part: str, before: int) -> bool:
    return await told(hall, room_id, part) > before


async def test_rooms_hear_of_their_stock_while_postgres_is_away(
    hall: Hall, rival: RivalMaker, caplog: pytest.LogCaptureFixture
) -> None:
    stage, stop, away = hall.stage, asyncio.Event(), asyncio.Event()
    offer = await stage.offer(50)
    room = await hall.room(offer)
    await hall.quiet()
    part = f"stock:{offer.id}"

    async def gate(step: str) -> None:
        if away.is_set() and step.startswith("sql"):
            raise OperationalError("statement", {}, OSError("connection refused"))

    async with rival(gate) as other:
        logs = RoomLogs(other.inventory.wire, settings=stage.settings)
        teller = Broadcaster(other.db, other.inventory, logs, stage.settings)
        running = asyncio.create_task(teller.run(stop))
        try:
            before = await told(hall, room, part)
            await held(stage, offer, "before")
            await eventually(partial(_more, hall, room, part, before))
            away.set()
            before = await told(hall, room, part)
            await held(stage, offer, "meanwhile")
            await eventually(partial(_more, hall, room, part, before))
            await eventually(lambda: "database away" in caplog.text)
            away.clear()
            await eventually(lambda: "works again" in caplog.text)
        finally:
            stop.set()
            await running
    await hall.quiet()
    await hall.check(room)


async def test_a_cut_wire_is_waited_for(hall: Hall, rival: RivalMaker) -> None:
    stage, stop = hall.stage, asyncio.Event()
    offer = await stage.offer(500)
    room = await hall.room(offer)

    async def open_gate(step: str) -> None:
        return None

    async with rival(open_gate) as other:
        logs = RoomLogs(other.inventory.wire, settings=stage.settings)
        teller = Broadcaster(other.db, other.inventory, logs, stage.settings)
        running = asyncio.create_task(teller.run(stop))
        try:
            for number in range(40):
                await held(stage, offer, f"b{number}")
                if number % 4 == 0:
                    other.inventory.wire.hang_up()
                await asyncio.sleep(0.02)
            await eventually(partial(_is_told, hall, "b39"))
        finally:
            stop.set()
            await running
    await hall.quiet()
    await hall.check(room)
    for number in range(40):
        assert await hall.claims_of(f"b{number}") == [("held", "", 1)]


async def _is_told(hall: Hall, buyer: str) -> bool:
    return await hall.claims_of(buyer) != []


async def test_flushed_scripts_are_loaded_again(hall: Hall) -> None:
    stage, stop = hall.stage, asyncio.Event()
    offer = await stage.offer(50)
    room = await hall.room(offer)
    running = asyncio.create_task(hall.broadcaster.run(stop))
    try:
        await held(stage, offer, "ann")
        await eventually(partial(_is_told, hall, "ann"))
        await stage.wire.call("SCRIPT", "FLUSH")
        await eventually(partial(_claimed, stage, offer, "bob"))
        await eventually(partial(_is_told, hall, "bob"))
    finally:
        stop.set()
        await running
    await hall.quiet()
    await hall.check(room)


async def _claimed(stage: Stage, offer: Offer, buyer: str) -> bool:
    try:
        return (await stage.claim(offer, buyer)).what in ("held", "stored")
    except Unavailable:  # the flush has cut the wire; it comes back
        return False
