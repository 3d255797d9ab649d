"""The laws on a timer: written down with what was found, one worker at a time, never too often."""

import dataclasses
from collections.abc import AsyncIterator

import msgspec
import pytest_asyncio
from sqlalchemy import select, update

from campaigns.offer.models import Offer
from campaigns.payment.sandbox_client import SandboxClient
from campaigns.room.models import LawCheck
from engine.audit.run import run_audit
from engine.room_events import room_topic
from tests.workers.hall import open_hall
from tests.workers.stage import Stage
from workers.laws import LawChecks
from workers.loop import Parts


@pytest_asyncio.fixture
async def parts(stage: Stage) -> AsyncIterator[Parts]:
    """What a worker's loops get; its provider is never called."""
    async with SandboxClient(
        "http://127.0.0.1:9", "a secret for tests", timeout_ms=1_000
    ) as nobody:
        yield Parts(stage.db, stage.inventory, nobody, "sandbox", stage.settings)


async def lights(stage: Stage) -> dict[str, LawCheck]:
    """The rows that the board shows."""
    async with stage.db.begin() as session:
        return {row.law: row for row in await session.scalars(select(LawCheck))}


async def test_what_was_found_is_written_down(stage: Stage, parts: Parts) -> None:
    offer = await stage.offer(5)
    await stage.claim(offer, "m1", qty=2)
    await stage.settle()
    assert await LawChecks(parts).run_once() > 10
    found = await lights(stage)
    assert [law for law, row in found.items() if not row.ok] == []
    assert found["I1"].checked >= 1
    assert "I6" not in found  # clients' histories are not here: not checked
    first = found["I1"].at_ms

    # Not yet time again, for this worker as for another.
    assert await LawChecks(parts).run_once() == 0
    assert (await lights(stage))["I1"].at_ms == first


async def test_rooms_of_days_ago_are_left_to_the_audit(stage: Stage, parts: Parts) -> None:
    eager = dataclasses.replace(
        parts, settings=msgspec.structs.replace(parts.settings, law_check_every_ms=0)
    )
    hall = await open_hall(stage)
    old, new = await hall.room(), await hall.room()
    await hall.quiet()
    for room in (old, new):
        await hall.logs.say(room_topic(room), "m1", "熊", "c", "好")
    await hall.quiet()
    assert await LawChecks(eager).run_once() > 10
    both = (await lights(stage))["R1"]
    assert both.ok, both.detail
    await stage.run(
        "UPDATE rooms SET state = 'ended', ended_at_ms = :at WHERE id = :id", at=1, id=old
    )
    assert await LawChecks(eager).run_once() > 10
    assert 0 < (await lights(stage))["R1"].checked < both.checked
    assert (await run_audit(stage.db, stage.wire)).law("R1").checked == both.checked


async def test_a_broken_law_turns_its_light(stage: Stage, parts: Parts) -> None:
    offer = await stage.offer(5)
    eager = Parts(
        parts.db,
        parts.inventory,
        parts.provider,
        parts.provider_name,
        msgspec.structs.replace(parts.settings, law_check_every_ms=0),
    )
    assert await LawChecks(eager).run_once() > 10
    async with stage.db.begin() as session:
        await session.execute(update(Offer).where(Offer.id == offer.id).values(held=1))
    assert await LawChecks(eager).run_once() > 10
    broken = (await lights(stage))["I3"]
    assert not broken.ok
    assert offer.id in broken.detail
