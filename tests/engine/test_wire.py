"""The wire under cancels, delays, stalls and kills: a reply never reaches the wrong caller,
nothing is sent twice, and it comes back by itself.
"""

import asyncio
import logging
import os
import random
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import hiredis
import pytest
from hypothesis import settings

from cli.embedded.valkey import ValkeyServer, start_valkey
from cli.place import Place
from engine.errors import Unavailable
from engine.inventory import Reply
from engine.wire import Wire
from tests.engine.hotshard import SCRIPTS, Bench, bench
from tests.proxy import Proxy, proxy
from tests.waiting import eventually


@asynccontextmanager
async def wired(url: str, **limits: Any) -> AsyncIterator[Wire]:
    wire = Wire(url, SCRIPTS.values(), **limits)
    await wire.start()
    try:
        yield wire
    finally:
        await wire.close()


@asynccontextmanager
async def proxied(url: str, **how: Any) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of the store, and the address that goes through it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    async with proxy(parts.hostname, parts.port, **how) as between:
        yield between, url.replace(f":{parts.port}/", f":{between.port}/")


@pytest.fixture
def own_valkey(own_place: Place) -> Iterator[ValkeyServer]:
    """A server that this test may kill and stop."""
    server = start_valkey(own_place)
    yield server
    if server.running:
        os.kill(server.pid, signal.SIGCONT)
        server.stop()


class CountedWrites:
    """The transport, and how often it was written to."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_all_commands_of_one_turn_go_out_in_one_write(valkey_url: str) -> None:
    async with wired(valkey_url) as wire:
        assert wire._line is not None
        counted = CountedWrites(wire._line.transport)
        wire._line.transport = counted  # type: ignore[assignment]

        async def caller(place: int) -> bytes:
            reply: bytes = await wire.call("ECHO", str(place))
            return reply

        assert await asyncio.gather(*map(caller, range(200))) == [b"%d" % n for n in range(200)]
        assert len(counted.writes) == 1
        await wire.call("PING")
        assert len(counted.writes) == 2


async def test_errors_are_their_own_commands_alone(valkey_url: str) -> None:
    async with wired(valkey_url) as wire:
        first, wrong, last = wire.call("ECHO", "1"), wire.call("NONSENSE"), wire.call("ECHO", "2")
        assert await first == b"1"
        with pytest.raises(hiredis.ReplyError, match="unknown command"):
            await wrong
        assert await last == b"2"


@pytest.mark.slow
@pytest.mark.fuzz
@pytest.mark.parametrize("round_", range(settings().max_examples // 30))
async def test_cancels_and_delays_never_mix_up_replies(valkey_url: str, round_: int) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    answered = cancelled = 0

    async def caller(wire: Wire, place: int) -> None:
        nonlocal answered, cancelled
        for turn in range(6):
            text = f"{place}/{turn}/" + "x" * rng.randrange(200)
            try:
                reply = await asyncio.wait_for(wire.call("ECHO", text), rng.random() * 0.05)
            except TimeoutError:
                cancelled += 1
            else:
                answered += 1
                assert reply.decode() == text, seed

    async with (
        proxied(valkey_url, seed=seed, delay_max_s=0.004) as (_, url),
        wired(url) as wire,
    ):
        await asyncio.gather(*(caller(wire, place) for place in range(60)))
        assert await wire.call("ECHO", "last") == b"last"
    assert answered, seed
    assert cancelled, seed


async def test_cancelled_command_may_have_acted_and_its_key_says_so(
    shard: Bench, valkey_url: str
) -> None:
    await shard.offer("ofr_1", 3)
    async with proxied(valkey_url) as (between, url), bench(url) as far:
        between.stall()
        task = asyncio.create_task(far.claim("ofr_1", "mbr_1", key="k"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        between.flow()
        again = await far.claim("ofr_1", "mbr_1", key="k")
        assert again.what == "stored"
    assert len((await shard.view()).claims) == 1


async def test_cut_connection_fails_what_is_under_way_and_comes_back(valkey_url: str) -> None:
    async with proxied(valkey_url) as (between, url), wired(url) as wire:
        between.stall()
        under_way = [wire.call("ECHO", str(n)) for n in range(50)]
        await asyncio.sleep(0)
        between.cut()
        for error in await asyncio.gather(*under_way, return_exceptions=True):
            assert isinstance(error, Unavailable)
            assert error.code == "reopening"
        between.flow()
        await eventually(lambda: wire.connected)
        assert await wire.call("PING") == b"PONG"
        assert between.connections == 2


async def test_commands_while_the_line_is_down_are_refused_at_once(valkey_url: str) -> None:
    async with proxied(valkey_url) as (between, url), wired(url, retry_s=5) as wire:
        await between.close()
        await eventually(lambda: not wire.connected)
        with pytest.raises(Unavailable) as refused:
            wire.call("PING")
        assert refused.value.code == "reopening"


async def test_start_gives_up_when_nobody_listens() -> None:
    wire = Wire("redis://127.0.0.1:1/0", [])
    with pytest.raises(Unavailable):
        await wire.start(within_s=0.2)


async def test_wrong_password_is_no_connection(valkey_url: str) -> None:
    parts = urlsplit(valkey_url)
    wire = Wire(f"redis://:wrong@{parts.hostname}:{parts.port}/0", [])
    with pytest.raises(Unavailable):
        await wire.start(within_s=0.3)


async def test_in_flight_max_answers_busy(valkey_url: str) -> None:
    async with proxied(valkey_url) as (between, url), wired(url, in_flight_max=20) as wire:
        between.stall()
        waiting = [wire.call("ECHO", str(n)) for n in range(20)]
        with pytest.raises(Unavailable) as refused:
            wire.call("PING")
        assert refused.value.code == "busy"
        waiting[0].cancel()  # its reply is still to come: no place has become free
        with pytest.raises(Unavailable):
            wire.call("PING")
        between.flow()
        assert await asyncio.gather(*waiting[1:]) == [b"%d" % n for n in range(1, 20)]
        assert await wire.call("PING") == b"PONG"


@pytest.mark.slow
async def test_stopped_server_is_hung_up_on(
    own_valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with wired(own_valkey.url, stall_ms=300) as wire:
        await asyncio.sleep(0.5)  # an idle line is not a stalled one
        assert await wire.call("PING") == b"PONG"
        os.kill(own_valkey.pid, signal.SIGSTOP)
        with caplog.at_level(logging.WARNING), pytest.raises(Unavailable):
            await asyncio.wait_for(wire.call("PING"), 30)
        assert "silent" in caplog.text
        os.kill(own_valkey.pid, signal.SIGCONT)
        await eventually(lambda: wire.connected)
        assert await wire.call("PING") == b"PONG"


@pytest.mark.slow
async def test_killed_server_comes_back_as_another_life(own_valkey: ValkeyServer) -> None:
    async with bench(own_valkey.url) as shard:
        await shard.open()
        await shard.offer("ofr_1", 500)
        first_life = shard.wire.run_id
        under_way = [
            asyncio.ensure_future(shard.claim("ofr_1", f"mbr_{n}", key="k")) for n in range(300)
        ]
        await asyncio.sleep(0)
        await asyncio.to_thread(own_valkey.kill)
        for answer in await asyncio.gather(*under_way, return_exceptions=True):
            if isinstance(answer, Reply):  # it was answered before the kill
                assert answer.what == "held"
            else:
                assert isinstance(answer, Unavailable)
        with pytest.raises(Unavailable):
            await shard.claim("ofr_1", "mbr_1", key="k")

        await asyncio.to_thread(own_valkey.restart)
        await eventually(lambda: shard.wire.connected)
        assert shard.wire.run_id != first_life
        # Its file was read back, but nobody has said yet that it is the newest.
        assert await shard.claim("ofr_1", "mbr_1", key="k") == Reply("reopening")
        await shard.wire.call("HSET", "{s0}:meta", "run_id", shard.wire.run_id)
        assert (await shard.claim("ofr_1", "mbr_x")).what == "held"
        for answer, n in zip(await _settled(under_way), range(300), strict=True):
            again = await shard.claim("ofr_1", f"mbr_{n}", key="k")
            if isinstance(answer, Reply):  # appendfsync always: what was answered is there
                assert again == Reply("stored", answer.details)
            else:
                assert again.what in ("held", "stored")
        assert (await shard.view()).offers["ofr_1"].held == 301


async def _settled(tasks: list[asyncio.Task[Reply]]) -> list[Reply | BaseException]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_flushed_scripts_are_loaded_again(shard: Bench) -> None:
    await shard.offer("ofr_1", 3)
    await shard.wire.call("SCRIPT", "FLUSH")
    answers = await asyncio.gather(
        *(shard.claim("ofr_1", f"mbr_{n}") for n in range(20)), return_exceptions=True
    )
    assert {type(answer) for answer in answers} == {Unavailable}
    assert {answer.code for answer in answers if isinstance(answer, Unavailable)} <= {
        "busy",
        "reopening",
    }

    async def held() -> bool:
        try:
            return (await shard.claim("ofr_1", "mbr_1")).what == "held"
        except Unavailable:
            return False

    await eventually(held)


async def test_close_fails_what_is_under_way(valkey_url: str) -> None:
    async with proxied(valkey_url) as (between, url):
        wire = Wire(url, SCRIPTS.values())
        await wire.start()
        between.stall()
        under_way = wire.call("PING")
        await wire.close()
        with pytest.raises(Unavailable):
            await under_way
        assert not wire.connected
        with pytest.raises(Unavailable):
            wire.call("PING")
