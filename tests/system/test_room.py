"""A live room over everything that `kaituan up` starts, while its processes are killed with -9.

Viewers in client processes of their own check every offset and write down what they saw; some
lose their network. Whatever is killed, all of them end with one and the same state of the room.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from cli.demo.audience import Audience
from cli.tokens import sample_tokens
from engine.ids import now_ms
from tests.system.house import House, Sale
from tests.waiting import eventually

pytestmark = pytest.mark.slow

VIEWERS = 40
ROOM_LAWS = ("R1", "R2", "R3", "R4")


class Live(NamedTuple):
    """A room with one offer on its shelf, and its viewers."""

    room_id: str
    sale: Sale
    audience: Audience


@asynccontextmanager
async def live_room(house: House, units: int) -> AsyncIterator[Live]:
    """A room that is live and full."""
    sale = await house.sale(units, hold_ms=2_500, per_order_max=1, per_buyer_max=50)
    hq = house.fresh.hq
    body = {
        "title": "晚八点",
        "store_id": "S01",
        "host_guide_id": "G001",
        "starts_at_ms": now_ms(),
        "offers": [sale.offer_id],
    }
    room_id = (await hq.ask("POST", "/v1/rooms", body))["room_id"]
    await hq.ask("POST", f"/v1/rooms/{room_id}/live")
    bearers = [one.token for one in await sample_tokens(house.settings, VIEWERS // 2)]
    audience = Audience(house.settings, room_id, house.history, seed=1)
    try:
        await audience.start(VIEWERS, bearers)
        await audience.all_joined()
        await audience.go()
        yield Live(room_id, sale, audience)
    finally:
        await audience.stop()


async def shop(house: House, live: Live, until_ms: int) -> None:
    """Ten members claim one unit after the other and let them lapse."""

    async def one(name: str) -> None:
        buyer = house.buyer(name)
        while now_ms() < until_ms:
            await buyer.claim(live.sale.offer_id, 1, live.sale.price_id)
            await asyncio.sleep(0.2)

    await asyncio.gather(*(one(f"M{number:05}") for number in range(1, 11)))


async def test_viewers_ride_out_every_kill(house: House) -> None:
    async with live_room(house, 60) as live:
        shopping = asyncio.create_task(shop(house, live, now_ms() + 14_000))
        hq, pin = house.fresh.hq, f"/v1/rooms/{live.room_id}/pin"
        for name in ("gateway", "broadcast", "valkey", "settle", "gateway"):
            await asyncio.sleep(1)
            old = house.kill(name)
            await house.until_back(name, old)
            await house.until_ready()
        await shopping
        await house.settled()
        await hq.ask("PUT", pin, {"offer_id": live.sale.offer_id})

        async def all_back() -> bool:
            return live.audience.seen().viewers > VIEWERS * 0.9  # others are just being cut

        await eventually(all_back, within_s=60)
        await asyncio.sleep(1)
        seen = await live.audience.end()
    assert not seen.violations, seen.odd
    assert seen.states == 1
    assert seen.comments > 0
    assert seen.resumes > 0
    assert seen.events > VIEWERS
    await house.lawful(*ROOM_LAWS, "I1", "I4")


async def test_viewers_go_on_when_the_hot_store_has_lost_everything(house: House) -> None:
    async with live_room(house, 30) as live:
        shopping = asyncio.create_task(shop(house, live, now_ms() + 6_000))
        await asyncio.sleep(2)
        before = await house.epoch(live.sale.shard)
        await house.ask("FLUSHALL")

        async def is_reopened() -> bool:
            return await house.epoch(live.sale.shard) > before

        await eventually(is_reopened, within_s=60)
        await house.until_ready()
        await shopping
        await house.settled()
        snapshots = live.audience.seen().snapshots

        async def comments_go_on() -> bool:
            said = live.audience.seen().comments
            await asyncio.sleep(1)
            return live.audience.seen().comments > said

        await eventually(comments_go_on, within_s=60)
        seen = await live.audience.end()
    assert snapshots > VIEWERS  # the room's log began anew, with a snapshot for each
    assert not seen.violations, seen.odd
    assert seen.states == 1
    await house.lawful("R2", "R3", "R4")
