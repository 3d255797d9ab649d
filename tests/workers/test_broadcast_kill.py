"""kill -9 of the broadcaster in mid-sale, and two of them at once: each cause is told once."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest_asyncio
from redis.asyncio import Redis

from engine.db import Database
from engine.room_events import me_topic, room_topic, state_hash
from engine.rooms import RoomLogs, Snapshot
from tests.conftest import DbUrls
from tests.waiting import eventually
from tests.workers.conftest import RivalMaker
from tests.workers.hall import Hall, open_hall, replay
from tests.workers.settler_process import settler_process
from tests.workers.stage import Stage, open_stage, settling
from tests.workers.test_settle_kill import client
from workers.broadcast.loop import Broadcaster

CLIENTS, KILLS = 3, 4


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str, db_urls: DbUrls) -> AsyncIterator[Stage]:
    """With small batches, so that a kill falls into the midst of the work."""
    urls = {"redis_url": valkey_url, "database_url": db_urls.app}
    changes = {"broadcast_batch_max": 7, "broadcast_idle_ms": 5, "settle_idle_ms": 5}
    async with open_stage(db, valkey_url, **changes, **urls) as opened:
        yield opened


@pytest_asyncio.fixture
async def hall(stage: Stage) -> AsyncIterator[Hall]:
    yield await open_hall(stage)


async def told_so_far(hall: Hall) -> int:
    """Shard events in the logs."""
    at = [await hall.logs.broadcast_position(shard) for shard in range(2)]
    return sum(one[1] for one in at if one is not None)


async def _passed(hall: Hall, before: int) -> bool:
    return await told_so_far(hall) > before


async def commenting(hall: Hall, room_id: str, stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        await hall.logs.say(room_topic(room_id), f"m{number}", "熊", "c", str(number))
        await asyncio.sleep(0.02)


async def check_members(hall: Hall, claims: dict[str, str]) -> None:
    """Each buyer was told of the claim: begun as held, without a gap, each cause once."""
    for buyer in claims:
        entries = await hall.logs.entries(me_topic(buyer), 0, 1_000)
        assert [one[0] for one in entries] == list(range(1, len(entries) + 1)), buyer
        assert set(Counter(one[1] for one in entries).values()) == {1}, buyer
        told = [state for state, _, _ in await hall.claims_of(buyer)]
        assert told in (
            ["held"],
            ["held", "paying"],
            ["held", "paying", "paid"],
            ["held", "released"],
        ), told


async def test_a_killed_broadcaster_repeats_in_silence(
    hall: Hall, valkey_url: str, tmp_path: Path
) -> None:
    stage, luck, stop = hall.stage, random.Random(7), asyncio.Event()
    offers = [await stage.offer(9_999) for _ in range(3)]
    rooms = [await hall.room(*offers), await hall.room(offers[0])]
    begun = [await hall.begun(room) for room in rooms]
    log = tmp_path / "broadcaster.log"
    with settler_process(stage.settings, log, "workers.broadcast") as broadcaster:
        async with settling(stage):
            clients = [
                asyncio.create_task(client(n, valkey_url, stage, offers, stop))
                for n in range(CLIENTS)
            ]
            talk = asyncio.create_task(commenting(hall, rooms[0], stop))
            for _ in range(KILLS):
                before = await told_so_far(hall)
                broadcaster.start()
                await eventually(partial(_passed, hall, before))
                await asyncio.sleep(luck.random() * 0.4)
                broadcaster.kill()
            stop.set()
            claims: dict[str, str] = {}
            for got in await asyncio.gather(*clients):
                claims |= got
            await talk
    await hall.quiet()
    assert "Traceback" not in log.read_text()
    assert len(claims) > KILLS
    await hall.check(*rooms)
    await check_members(hall, claims)
    for room, start in zip(rooms, begun, strict=True):
        await check_replay(hall, room_topic(room), start)


async def check_replay(hall: Hall, topic: str, begun: Snapshot) -> None:
    """The log from offset 0, and from where one came in the midst of it, makes the snapshot."""
    seen, entries = await hall.snapshot(topic), await hall.whole_log(topic)
    assert seen.epoch == begun.epoch
    assert replay(begun, entries) == state_hash(seen.parts, seen.comments)


async def test_two_broadcasters_at_once_tell_each_cause_once(
    hall: Hall, valkey_url: str, rival: RivalMaker
) -> None:
    stage, stop = hall.stage, asyncio.Event()
    offers = [await stage.offer(9_999) for _ in range(2)]
    rooms = [await hall.room(*offers), await hall.room(offers[1])]
    luck = random.Random(3)

    async def slow(name: str) -> None:
        await asyncio.sleep(luck.random() * 0.002)

    async with rival(slow) as other, settling(stage):
        settings = msgspec.structs.replace(stage.settings, broadcast_batch_max=3)
        second = Broadcaster(
            other.db,
            other.inventory,
            RoomLogs(other.inventory.wire, settings=settings),
            settings,
        )
        tellers = [asyncio.create_task(one.run(stop)) for one in (hall.broadcaster, second)]
        selling = asyncio.Event()
        clients = [
            asyncio.create_task(client(n, valkey_url, stage, offers, selling)) for n in range(2)
        ]
        await eventually(partial(_passed, hall, 100))
        selling.set()
        claims: dict[str, str] = {}
        for got in await asyncio.gather(*clients):
            claims |= got
        stop.set()
        await asyncio.gather(*tellers)
    await hall.quiet()
    await hall.check(*rooms)
    await check_members(hall, claims)


async def test_sigterm_ends_it_in_order(hall: Hall, tmp_path: Path) -> None:
    stage = hall.stage
    offer = await stage.offer(5)
    room = await hall.room(offer)
    log = tmp_path / "broadcaster.log"
    with settler_process(stage.settings, log, "workers.broadcast") as broadcaster:
        broadcaster.start()
        await stage.claim(offer, "ann")
        await eventually(lambda: hall.claims_of("ann"))
        assert broadcaster.stop() == 0
    await hall.quiet()
    await hall.check(room)


async def test_it_refuses_to_start_on_a_database_without_tables(
    hall: Hall, db_urls: DbUrls, tmp_path: Path
) -> None:
    nowhere = db_urls.app.rsplit("/", 1)[0] + "/postgres"
    settings = msgspec.structs.replace(hall.stage.settings, database_url=nowhere)
    log = tmp_path / "broadcaster.log"
    with settler_process(settings, log, "workers.broadcast") as broadcaster:
        broadcaster.start()
        assert await broadcaster.exit_code() == 3
    assert "kaituan migrate" in broadcaster.said
