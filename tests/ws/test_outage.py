"""The hot store goes away under a gateway: viewers stay, nothing false is told, all catches up."""

import asyncio
from itertools import pairwise
from urllib.parse import urlsplit

from cli.embedded.valkey import start_valkey
from cli.place import Place
from tests.conftest import Servers
from tests.proxy import proxy
from tests.waiting import eventually
from tests.ws.client import watching
from tests.ws.stage import Stage, staged


async def test_viewers_stay_and_catch_up(own_place: Place) -> None:
    valkey = start_valkey(own_place)
    try:
        async with staged(valkey.url) as stage:
            topic = await stage.room()
            await stage.publish(topic, 3)
            async with stage.gateway() as (gateway, url):
                token = stage.token([topic])
                async with watching(url, token, [topic]) as one:
                    await one.until("snapshot")
                    valkey.kill()
                    await eventually(lambda: one.lives and one.lives[-1]["behind_ms"] > 0)
                    # Served from memory meanwhile, with the same warning.
                    async with watching(url, token, [topic]) as two:
                        assert (await two.until("snapshot"))["offset"] == 3
                        await two.say("comment", topic=topic, id="c", text="好")
                        assert (await two.until("refused"))["code"] == "unknown"
                    # A room that is not in memory: joined, and nothing is claimed about it.
                    other = "room:rm_unread"
                    async with watching(url, stage.token([other]), [other]) as three:
                        await three.until("joined")
                        await eventually(lambda: three.lives)
                        assert not three.of("snapshot")
                    assert len(one.of("snapshot")) == 1
                    await asyncio.to_thread(valkey.restart)
                    await eventually(lambda: one.lives[-1]["behind_ms"] == 0)
                    await eventually(lambda: stage.wire.connected)
                    last = await stage.publish(topic, 4)
                    seen = await one.until_at(topic, last)
                    assert seen.hash == await stage.hash(topic)
                    assert gateway.metrics.outages == 1
                    assert len(one.of("snapshot")) == 1
                    assert not gateway.metrics.closes
    finally:
        valkey.stop()


async def test_a_store_that_only_stalls_does_not_hold_up_the_heartbeat(
    stage: Stage, servers: Servers
) -> None:
    topic = await stage.room()
    url = urlsplit(servers.valkey.url)
    async with proxy("127.0.0.1", url.port or 0) as line:
        through = servers.valkey.url.replace(f":{url.port}/", f":{line.port}/")
        async with (
            stage.gateway(redis_url=through) as (gateway, address),
            watching(address, stage.token([topic]), [topic]) as one,
        ):
            await one.until("snapshot")
            line.stall()
            last = await stage.publish(topic, 2)
            await eventually(lambda: bool(one.lives) and one.lives[-1]["behind_ms"] > 0)
            at = [live["server_ms"] for live in one.lives]
            # Five a second here; none may wait for the five seconds of a silent connection.
            assert max((b - a for a, b in pairwise(at)), default=0) < 4_500
            assert one.seen[topic].offset == 0
            line.flow()
            await one.until_at(topic, last)
            assert one.seen[topic].hash == await stage.hash(topic)
            assert not gateway.metrics.closes


async def test_a_room_whose_log_never_comes_back_is_given_up(own_place: Place) -> None:
    valkey = start_valkey(own_place)
    try:
        async with staged(valkey.url) as stage, stage.gateway(room_gone_after_ms=800) as (_, url):
            topic = await stage.room()
            codes = []
            for name in (topic, "room:rm_never"):
                async with watching(url, stage.token([name]), [name]) as one:
                    await one.until("joined")
                    if name == topic:
                        await one.until("snapshot")
                        await stage.wire.call("FLUSHDB")
                    codes.append(await one.until_closed())
            assert codes == [4410, 4404]
    finally:
        valkey.stop()
