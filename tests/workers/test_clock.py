"""The clock rings, executes nothing it is given, and outlives its queue."""

import asyncio
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from cli.embedded.valkey import start_valkey
from cli.place import Place
from tests.waiting import eventually
from workers.clock import QUEUE, Clock, deserialize, open_queue, serialize


@asynccontextmanager
async def running(clock: Clock) -> AsyncIterator[None]:
    stop = asyncio.Event()
    before = asyncio.all_tasks()
    task = asyncio.create_task(clock.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 10)
    left = {one for one in asyncio.all_tasks() - before if not one.done()}
    assert not left, left


async def test_it_rings_every_bell_by_itself_and_on_request(hot: Redis, queue_url: str) -> None:
    bells = [asyncio.Event(), asyncio.Event()]
    clock = Clock(queue_url, bells)
    async with running(clock):
        await eventually(lambda: clock.rings >= 2)
        assert all(bell.is_set() for bell in bells)
        bells[0].clear()
        queue = await open_queue(queue_url)
        await queue.enqueue_job("ring")
        await queue.aclose(close_connection_pool=True)
        await eventually(bells[0].is_set)


class Trap:
    """A pickle that would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


async def test_a_pickle_in_the_queue_does_not_execute(
    hot: Redis, queue_url: str, tmp_path: Path
) -> None:
    trap = tmp_path / "executed"
    job = {"t": 1, "f": "ring", "a": (Trap(trap),), "k": {}, "et": 1}
    pickle.loads(pickle.dumps(job))  # noqa: S301  # the trap works
    assert trap.exists()
    trap.unlink()
    queue = await open_queue(queue_url)
    await queue.set("arq:job:evil", pickle.dumps(job))
    await queue.zadd(QUEUE, {"evil": 1})
    clock = Clock(queue_url, [asyncio.Event()])
    async with running(clock):
        await eventually(lambda: clock.rings >= 2)

        async def is_gone() -> bool:
            return await queue.zscore(QUEUE, "evil") is None

        await eventually(is_gone)
    assert not trap.exists()
    await queue.aclose(close_connection_pool=True)


async def test_jobs_it_does_not_know_are_dropped(hot: Redis, queue_url: str) -> None:
    queue = await open_queue(queue_url)
    await queue.enqueue_job("os.system", "echo")
    await queue.set("arq:job:odd", b"\x93\x01\x02\x03")  # msgpack, and no job
    await queue.zadd(QUEUE, {"odd": 1})
    clock = Clock(queue_url, [])
    async with running(clock):

        async def is_dropped() -> bool:
            left = [name for name in await queue.zrange(QUEUE, 0, -1) if b"tick" not in name]
            return not left

        await eventually(is_dropped)
        before = clock.rings
        await eventually(lambda: clock.rings > before)
    await queue.aclose(close_connection_pool=True)


async def test_it_outlives_its_queue(own_place: Place) -> None:
    valkey = start_valkey(own_place)
    clock = Clock(valkey.queue_url, [])
    try:
        async with running(clock):
            await eventually(lambda: clock.rings >= 1)
            valkey.kill()
            await eventually(lambda: clock.trouble != "")
            await asyncio.to_thread(valkey.restart)
            await eventually(lambda: clock.trouble == "")
            before = clock.rings
            await eventually(lambda: clock.rings > before)
    finally:
        valkey.stop()


async def test_it_ends_at_once_when_its_queue_was_never_there() -> None:
    clock = Clock("redis://127.0.0.1:9/1", [])
    async with running(clock):
        await eventually(lambda: clock.trouble != "")


def test_the_queue_speaks_msgpack() -> None:
    job: dict[str, object] = {"t": None, "f": "ring", "a": [], "k": {"x": 1}, "et": 5}
    assert deserialize(serialize(job)) == job
    assert b"boom" in serialize({"r": ValueError("boom")})
    with pytest.raises(ValueError, match="MessagePack"):
        deserialize(pickle.dumps(job))
