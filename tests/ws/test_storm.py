"""Cut, stalled, slow and doubled connections, and a killed gateway: all end with the same state.

Each run is made by its seed. The broadcaster's part is played by the stage, over two gateways in
front of which a proxy tears what passes; one viewer is never touched and is the measure.
"""

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from tests.proxy import Proxy, proxy
from tests.waiting import eventually
from tests.ws.client import Client
from tests.ws.stage import Stage, gateway_process
from ws.close_codes import SLOW

SEEDS = (1, 2, 3)
TURNS = 60
VIEWERS = 10


async def _trouble(rng: random.Random, lines: list[Proxy]) -> None:
    line = rng.choice(lines)
    match rng.randint(0, 5):
        case 0:
            line.cut()
        case 1:
            line.stall()
        case 2 | 3:
            line.flow()
    await asyncio.sleep(rng.random() * 0.04)


async def _write(stage: Stage, rng: random.Random, topics: list[str]) -> None:
    topic = rng.choice(topics)
    if topic.startswith("room:") and rng.random() < 0.4:
        await stage.comment(topic, f"说 {rng.random()}")
    else:
        await stage.publish(topic, rng.choice([1, 1, 2, 30]))


async def _all_equal(stage: Stage, clients: list[Client]) -> None:
    wanted: dict[str, tuple[int, str]] = {}
    for topic in clients[0].seen:
        wanted[topic] = (await stage.offset(topic), await stage.hash(topic))

    def caught_up() -> bool:
        for client in clients:
            assert not client.trouble, client.trouble
            for topic, seen in client.seen.items():
                assert (seen.offset, seen.hash) == wanted[topic], topic
        return True

    await eventually(caught_up, within_s=60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
async def test_every_viewer_ends_with_the_same_state(stage: Stage, seed: int) -> None:
    rng = random.Random(seed)
    stage.rng = random.Random(seed + 1_000)
    room, mine = await stage.room(), "me:mbr_1"
    await stage.publish(mine)
    token = stage.token([room, mine])
    stop = asyncio.Event()
    harsh = {"viewer_socket_bytes_max": 4_096, "slow_after_ms": 300, "close_within_ms": 200}
    async with AsyncExitStack() as open_now:
        gateways = [
            await open_now.enter_async_context(stage.gateway(ring_max=40, **harsh))
            for _ in range(2)
        ]
        lines = [
            await open_now.enter_async_context(
                proxy("127.0.0.1", _port(url), seed=seed + number, delay_max_s=0.01 * number)
            )
            for number, (_, url) in enumerate(gateways * 2)
        ]
        clients = [Client(gateways[0][1], token, [room, mine])]
        for number in range(VIEWERS):
            url = f"ws://127.0.0.1:{lines[number % len(lines)].port}/v1/live"
            clients.append(Client(url, token, [room, mine]))
        watching = [asyncio.create_task(client.watch(stop)) for client in clients]
        for _ in range(TURNS):
            await _write(stage, rng, [room, mine])
            await _trouble(rng, lines)
        for line in lines:
            line.flow()
        await _all_equal(stage, clients)
        assert sum(line.connections for line in lines) > VIEWERS  # they did come back
        stop.set()
        await asyncio.gather(*watching)
        closes = gateways[0][0].metrics.closes + gateways[1][0].metrics.closes
        assert set(closes) <= {SLOW}


@pytest.mark.slow
async def test_a_killed_gateway(stage: Stage) -> None:
    """Three lives of the same port, killed in mid-write; nobody misses or repeats anything."""
    rng = random.Random(7)
    room = await stage.room()
    stop = asyncio.Event()
    async with stage.gateway() as (_, steady_url), gateway_process(stage.settings) as (_, port):
        pass
    async with stage.gateway() as (_, steady_url):
        steady = Client(steady_url, stage.token([room]), [room])
        urls = f"ws://127.0.0.1:{port}/v1/live"
        clients = [steady, *(Client(urls, stage.token([room]), [room]) for _ in range(6))]
        watching = [asyncio.create_task(client.watch(stop)) for client in clients]
        for life in range(3):
            async with gateway_process(stage.settings, port) as (process, _):
                for _ in range(15):
                    await _write(stage, rng, [room])
                    await asyncio.sleep(rng.random() * 0.02)
                await eventually(lambda: all(client.seen[room].begun for client in clients))
                if life < 2:
                    process.kill()
                    await process.wait()
                    await _write(stage, rng, [room])
                else:
                    await _all_equal(stage, clients)
                    stop.set()
                    await asyncio.gather(*watching)


def _port(url: str) -> int:
    return int(url.split(":")[2].split("/")[0])
