"""The broadcaster on the real stores: what rooms and members are told of a sale."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text

from campaigns.room.parts import shelf_offers
from engine import keys
from engine.ids import new_id
from engine.room_events import (
    Pin,
    Stock,
    decode,
    encode,
    me_topic,
    part_of,
    room_topic,
    topic_event,
)
from engine.rooms import RoomLogs
from tests.workers.acts import begin_paying, confirm, give_back, held, pay, restock
from tests.workers.conftest import RivalMaker
from tests.workers.hall import Hall, open_hall
from tests.workers.stage import Stage
from workers.broadcast import shelves
from workers.broadcast.rooms import RoomKeeper


@pytest_asyncio.fixture
async def hall(stage: Stage) -> AsyncIterator[Hall]:
    yield await open_hall(stage)


async def kinds(hall: Hall, room_id: str) -> list[str]:
    return [one[2] for one in await hall.whole_log(room_topic(room_id))]


async def test_a_room_begins_with_its_parts_and_hears_of_its_stock_once_a_batch(
    hall: Hall,
) -> None:
    stage = hall.stage
    offer, other = await stage.offer(10), await stage.offer(5)
    room, empty = await hall.room(offer), await hall.room()
    await hall.quiet()
    seen = await hall.snapshot(room_topic(room))
    assert set(seen.parts) == {"room", "shelf", "pin", f"offer:{offer.id}", f"stock:{offer.id}"}
    before = len(await kinds(hall, room))
    for number in range(5):
        await held(stage, offer, f"b{number}")
    await held(stage, other, "x")  # on nobody's shelf
    await hall.quiet()
    assert (await kinds(hall, room))[before:] == [f"stock:{offer.id}"]
    assert set(await kinds(hall, empty)) <= {""}
    await hall.check(room, empty)
    await hall.quiet()
    assert len(await kinds(hall, room)) == before + 1  # nothing happened, nothing is said


async def test_a_buyer_is_told_what_becomes_of_the_claim_and_nobody_else_is(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(10)
    room = await hall.room(offer)
    claim = await held(stage, offer, "ann", qty=2)
    await stage.settle()
    fact = await pay(stage, offer, claim, qty=2)
    await give_back(stage, offer, claim, fact, units=1)
    await give_back(stage, offer, claim, fact, units=1)
    lost = await held(stage, offer, "bob")
    await stage.settle()
    attempt = await begin_paying(stage, offer, lost)
    await stage.inventory.release(offer.shard, lost, attempt_id=attempt, why="closed")
    await confirm(stage, offer, lost, attempt)
    await hall.quiet()
    assert await hall.claims_of("ann") == [
        ("held", "", 2),
        ("paying", "", 2),
        ("paid", "", 2),
        ("paid", "", 1),
        ("returned", "", 0),
    ]
    assert await hall.claims_of("bob") == [
        ("held", "", 1),
        ("paying", "", 1),
        ("released", "closed", 1),
        ("late", "refund", 0),
    ]
    told = " ".join(one[3] for one in await hall.whole_log(room_topic(room)))
    assert "ann" not in told
    assert "bob" not in told
    await hall.check(room)


async def test_an_offer_in_two_rooms_is_told_in_both_and_its_closing_too(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(3)
    rooms = [await hall.room(offer), await hall.room(offer, state="scheduled")]
    await hall.quiet()
    await restock(stage, offer, 4)
    await stage.inventory.offer_close(offer.shard, offer.id, command_id="cmd_x", state="frozen")
    await hall.quiet()
    for room in rooms:
        assert f"offer:{offer.id}" in await kinds(hall, room)
    await hall.check(*rooms)


async def test_an_offer_that_opens_later_appears_with_its_stock(hall: Hall) -> None:
    stage = hall.stage
    offer, command = await stage.planned_offer(7)
    room = await hall.room(offer)
    await hall.quiet()
    assert f"stock:{offer.id}" not in (await hall.snapshot(room_topic(room))).parts
    await stage.open(offer, command)
    await hall.quiet()
    await hall.check(room)


async def test_what_a_stale_shelf_missed_is_told_as_soon_as_it_is_known(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(9)
    room = await hall.room()
    await hall.quiet()
    async with stage.db.begin() as session:
        await session.execute(
            text("UPDATE rooms SET shelf = jsonb_build_array(CAST(:o AS text))"), {"o": offer.id}
        )
    await held(stage, offer, "ann")
    for follower in hall.broadcaster._followers:
        await follower.step()  # with the old shelf
    assert await kinds(hall, room) == [""] * len(await kinds(hall, room))
    await hall.quiet()
    await hall.check(room)


async def test_unpublished_commands_are_repeated_once_and_in_order(hall: Hall) -> None:
    offer = await hall.stage.offer(2)
    room = await hall.room(offer)
    await hall.quiet()
    for number in range(3):
        await hall.command(room, Pin(at_ms=number, offer_id=f"ofr_{number}"), "pin")
    young = await hall.command(room, Pin(at_ms=9, offer_id="ofr_9"), "pin", age_ms=0)
    assert await hall.broadcaster.repeat_commands() == 3
    assert await hall.broadcaster.repeat_commands() == 0
    pins = [one for one in await hall.whole_log(room_topic(room)) if one[2] == "pin"]
    assert [getattr(decode(one[3]), "offer_id", "") for one in pins] == ["ofr_0", "ofr_1", "ofr_2"]
    assert young not in [one[1] for one in pins]
    await hall.check(room)


async def test_what_a_late_command_says_of_an_offer_is_compared_with_what_is_so(
    hall: Hall,
) -> None:
    stage = hall.stage
    offer = await stage.offer(2)
    room = await hall.room(offer)
    await hall.quiet()
    async with stage.db.begin() as session:
        (seen,) = await shelf_offers(session, stage.inventory, [offer.id])
    await stage.inventory.offer_close(offer.shard, offer.id, command_id=new_id("cmd"))
    await hall.quiet()
    await hall.command(room, seen.card, part_of(seen.card))  # still says that it is open
    await hall.quiet()
    await hall.check(room)


async def test_rooms_that_are_on_come_before_all_that_may_be_one_day(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelves, "ROOMS_MAX", 1)
    offer = await hall.stage.offer(2)
    room, _ = await hall.room(offer), await hall.room(state="scheduled")
    async with hall.stage.db.begin() as session:
        await session.execute(
            text("UPDATE rooms SET starts_at_ms = :far WHERE state = 'scheduled'"), {"far": 2**53}
        )
    await hall.quiet()
    await hall.check(room)


async def test_a_comparison_that_was_overtaken_is_not_told(hall: Hall, rival: RivalMaker) -> None:
    stage = hall.stage
    offer = await stage.offer(9)
    room = await hall.room(offer)
    await hall.begun(room)
    await held(stage, offer, "ann")
    newer = Stock(at_ms=1, offer_id=offer.id, available=1, held=1, sold=7, total=9)

    async def overtake(step: str) -> None:
        if step == "before room_publish":
            await hall.logs.publish(room_topic(room), [topic_event("tick-s0-e1-9-x", newer)])

    async with rival(overtake) as other:
        rooms = shelves.Shelves(other.db)
        await rooms.refresh()
        logs = RoomLogs(other.inventory.wire, settings=stage.settings)
        assert await RoomKeeper(other.db, other.inventory, logs, rooms).look() == 0
    parts = (await hall.snapshot(room_topic(room))).parts
    assert parts[part_of(newer)] == encode(newer)


async def test_who_looks_at_an_old_room_does_not_keep_its_log_for_ever(hall: Hall) -> None:
    room = await hall.room(state="ended")
    async with hall.stage.db.begin() as session:
        await session.execute(text("UPDATE rooms SET ended_at_ms = 1"))
    await hall.begun(room)
    assert int(await hall.stage.wire.call("PTTL", keys.log_meta(room_topic(room)))) > 0


async def test_a_lost_log_begins_a_new_epoch_with_a_snapshot(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(8)
    room = await hall.room(offer)
    await held(stage, offer, "ann")
    await hall.quiet()
    old = await hall.snapshot(room_topic(room))
    for key in (keys.log, keys.log_meta, keys.log_parts, keys.log_comments):
        await stage.wire.call("DEL", key(room_topic(room)))
    await held(stage, offer, "bob")
    for follower in hall.broadcaster._followers:
        await follower.step()  # finds no log where it wants to publish
    new = await hall.snapshot(room_topic(room))
    assert new.epoch != old.epoch
    assert set(new.parts) == set(old.parts)
    await hall.quiet()
    await hall.check(room)
    assert await hall.logs.read(room_topic(room), old.epoch, old.offset, 10) == (
        new.epoch,
        (await hall.snapshot(room_topic(room))).offset,
        [],
    )


async def test_rooms_are_archived_before_they_are_trimmed_and_forgotten_when_over(
    hall: Hall,
) -> None:
    stage = hall.stage
    offer = await stage.offer(400)
    room = await hall.room(offer)
    await hall.quiet()
    hall.logs._settings = hall.logs._settings.__class__(room_log_max=5)
    topic = room_topic(room)
    for number in range(30):
        await hall.logs.say(topic, f"m{number}", "熊", "c", str(number))
    assert await hall.broadcaster.archive() == 0  # not enough yet
    assert len(await hall.logs.entries(topic, 0, 1_000)) >= 30
    assert await hall.broadcaster.archive(everything=True) >= 30
    assert len(await hall.logs.entries(topic, 0, 1_000)) == 5
    for number in range(3):
        await hall.logs.say(topic, f"n{number}", "熊", "c", str(number))
    await hall.check(room)
    async with stage.db.begin() as session:
        await session.execute(
            text("UPDATE rooms SET state = 'ended', ended_at_ms = :now"),
            {"now": 2**52},
        )
    await hall.quiet()
    await hall.check(room)
    assert int(await stage.wire.call("PTTL", keys.log(topic))) > 0


async def test_a_members_log_knows_no_other_member(hall: Hall) -> None:
    stage = hall.stage
    offer = await stage.offer(9)
    await held(stage, offer, "ann")
    await held(stage, offer, "bob")
    await hall.quiet()
    assert len(await hall.claims_of("ann")) == len(await hall.claims_of("bob")) == 1
    assert "bob" not in str((await hall.snapshot(me_topic("ann"))).parts)
