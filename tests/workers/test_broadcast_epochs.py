"""The hot store is emptied, reopened, trimmed or has a hole: rooms go on, and say what was lost."""

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from engine import keys
from engine.room_events import room_topic
from engine.stream import trim
from tests.workers.acts import held, pay
from tests.workers.hall import Hall, hall_of, open_hall
from tests.workers.stage import Stage
from workers.settle.loop import Settler


@pytest_asyncio.fixture
async def hall(stage: Stage) -> AsyncIterator[Hall]:
    yield await open_hall(stage)


async def recoveries(hall: Hall, room_id: str) -> list[int]:
    """Shards that the room's present epoch was told of."""
    told = [msgspec.json.decode(one[3]) for one in await hall.whole_log(room_topic(room_id))]
    return [one["shard"] for one in told if one["kind"] == "recovered"]


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_emptied_store_gives_every_room_a_new_epoch(hall: Hall, restarted: bool) -> None:
    stage = hall.stage
    offer = await stage.offer(9)
    room = await hall.room(offer)
    claim = await held(stage, offer, "ann")
    await stage.settle()
    await pay(stage, offer, claim)
    await stage.settle()
    await hall.quiet()
    old = await hall.snapshot(room_topic(room))
    await held(stage, offer, "lost")  # never settled
    await hall.quiet()
    await stage.wire.call("FLUSHALL")
    teller = hall_of(stage).broadcaster if restarted else hall.broadcaster
    await teller.round()  # while nothing is there yet
    await stage.settle()
    await held(stage, offer, "bob")
    await hall.quiet(teller)
    new = await hall.snapshot(room_topic(room))
    assert new.epoch != old.epoch
    assert set(new.parts) == set(old.parts)
    assert offer.shard in await recoveries(hall, room)
    assert await hall.claims_of("bob") == [("held", "", 1)]
    await hall.check(room)


async def test_a_reopened_shard_is_told_to_its_end_and_from_its_beginning(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(9)
    room = await hall.room(offer)
    await hall.quiet()
    told = await recoveries(hall, room)
    old = stage.epochs.of(offer.shard)
    await held(stage, offer, "ann")  # not broadcast before the reopening
    await stage.wire.call("HSET", keys.meta(offer.shard), "run_id", "another-life")
    await stage.settle()
    assert stage.epochs.of(offer.shard) == old + 1
    assert await stage.wire.call("EXISTS", keys.events(offer.shard, old))
    await held(stage, offer, "bob")
    await hall.quiet()
    assert await hall.claims_of("ann") == [("held", "", 1)]
    assert await hall.claims_of("bob") == [("held", "", 1)]
    assert await recoveries(hall, room) == told  # nothing was lost
    assert not await stage.wire.call("EXISTS", keys.events(offer.shard, old))
    await hall.check(room)


async def test_where_nobody_broadcasts_an_old_stream_goes_at_once(stage: Stage) -> None:
    offer = await stage.offer(9)
    old = stage.epochs.of(offer.shard)
    await stage.wire.call("HSET", keys.meta(offer.shard), "run_id", "another-life")
    await stage.settle()
    assert not await stage.wire.call("EXISTS", keys.events(offer.shard, old))


async def test_several_reopenings_are_followed_one_after_the_other(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(9)
    room = await hall.room(offer)
    await hall.quiet()
    for number in range(3):
        if number != 1:  # an epoch without any event
            await held(stage, offer, f"b{number}")
        await stage.wire.call("HSET", keys.meta(offer.shard), "run_id", "another-life")
        await stage.settle()
    await hall.quiet()
    assert await hall.claims_of("b0") == await hall.claims_of("b2") == [("held", "", 1)]
    await hall.check(room)


async def test_a_stream_trimmed_in_front_of_it_is_told_as_recovered(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(400)
    room = await hall.room(offer)
    await hall.quiet()
    before = len(await recoveries(hall, room))
    for number in range(250):
        await held(stage, offer, f"b{number}")
    await stage.settle()
    await trim(stage.wire, offer.shard, stage.epochs.of(offer.shard), 240)
    await hall.quiet()
    assert len(await recoveries(hall, room)) == before + 1
    assert await hall.claims_of("b249") == [("held", "", 1)]
    await hall.check(room)


async def test_nothing_behind_a_gap_is_told(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(9)
    await hall.room(offer)
    await hall.quiet()
    stream = keys.events(offer.shard, stage.epochs.of(offer.shard))
    await held(stage, offer, "ann")
    ((entry, _),) = await stage.wire.call("XREVRANGE", stream, "+", "-", "COUNT", 1)
    await held(stage, offer, "bob")
    await stage.wire.call("XDEL", stream, entry)
    await hall.quiet()
    assert await hall.claims_of("bob") == []


async def test_the_settlers_trim_waits_for_the_broadcaster_but_not_for_ever(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(900)
    room = await hall.room(offer)
    await hall.quiet()
    at = await hall.logs.broadcast_position(offer.shard)
    assert at is not None
    stream = keys.events(*(offer.shard, at[0]))
    settings = msgspec.structs.replace(
        stage.settings, settle_batch_max=100, trim_margin_max=0, broadcast_lag_max=600
    )
    settler = Settler(stage.db, stage.inventory, settings, trim_every=0)

    async def first_after(claims: range) -> int:
        for number in claims:
            await held(stage, offer, f"b{number}")
        while await settler.round():
            pass
        ((entry, _),) = await stage.wire.call("XRANGE", stream, "-", "+", "COUNT", 1)
        return int(entry.split(b"-")[0])

    assert await first_after(range(300)) <= at[1] + 1  # nobody has told them yet
    await hall.quiet()
    assert await first_after(range(300, 301)) > 100
    assert await first_after(range(301, 880)) <= 303
    settings = msgspec.structs.replace(settings, broadcast_lag_max=100)
    settler = Settler(stage.db, stage.inventory, settings, trim_every=0)
    assert await first_after(range(880, 881)) > 600
    await hall.quiet()
    await hall.check(room)
