"""The worker as a process: waits for its stores, outlives them, drains, and says so."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from cli.embedded.postgres import OWNER, PostgresServer, start_postgres
from cli.embedded.valkey import ValkeyServer, start_valkey
from cli.migrate import migrate
from cli.place import Place
from engine.db import Database
from engine.settings import Settings, inherited_environ, to_environ
from engine.store import connect
from tests.sandbox import SECRET, SandboxServer, running_sandbox
from tests.waiting import eventually
from tests.workers.paying import Paying, open_paying

pytestmark = pytest.mark.slow


class Worker:
    """`python -m workers.main` with its log in a file."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._log = folder / "worker.log"
        with self._log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.main"],
                env=inherited_environ() | to_environ(settings),
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def log(self) -> str:
        return self._log.read_text()

    def end(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@contextmanager
def working(settings: Settings, folder: Path) -> Iterator[Worker]:
    worker = Worker(settings, folder)
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait(20)


class Machine:
    """Stores of this test's own, which may be killed."""

    def __init__(self, valkey: ValkeyServer, postgres: PostgresServer, url: str) -> None:
        self.valkey, self.postgres = valkey, postgres
        self.settings = Settings(
            redis_url=valkey.url,
            queue_url=valkey.queue_url,
            database_url=postgres.app_url,
            provider_url=url,
            sandbox_secret=SECRET,
            shards=1,
            repeat_after_ms=100,
            retry_cap_ms=500,
        )


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path / "sandbox") as server:
        yield server


@pytest_asyncio.fixture
async def machine(own_place: Place, sandbox: SandboxServer) -> AsyncIterator[Machine]:
    valkey = start_valkey(own_place)
    try:
        postgres = start_postgres(own_place)
        try:
            await asyncio.to_thread(migrate, postgres.url_of(OWNER))
            yield Machine(valkey, postgres, sandbox.url)
        finally:
            postgres.stop()
    finally:
        valkey.stop()


async def lapse(world: Paying, buyer: str) -> str:
    """A claim whose hold is over."""
    claim_id = await world.bought(buyer)
    await world.stage.wire.call("ZADD", "{s0}:deadlines", 1, claim_id)
    return claim_id


async def is_released(world: Paying, claim_id: str) -> bool:
    return (await world.stage.inventory.claim_state(0, claim_id))["state"] == "released"


async def test_it_works_drains_and_logs_no_try(
    machine: Machine, sandbox: SandboxServer, tmp_path: Path
) -> None:
    db = Database(machine.postgres.app_url)
    try:
        async with open_paying(db, machine.valkey.url, sandbox) as (world, _):
            with working(machine.settings, tmp_path) as worker:
                lapsed = await lapse(world, "b1")
                unpaid = await world.bought("b2")
                await world.begin(unpaid, "b2")
                await world.expire()
                await eventually(lambda: is_released(world, lapsed))
                await eventually(lambda: is_released(world, unpaid))
                assert worker.end() == 0
            assert "ready: clock, crowds, pay_watch, refunds, repeats, sweep, teams" in worker.log()
            assert worker.log().rstrip().endswith("drained")
            await world.rest(all_attempts=True)
            assert await world.verdict() == (0, 0)
    finally:
        await db.close()


async def test_it_waits_for_its_stores_and_outlives_them(
    machine: Machine, sandbox: SandboxServer, tmp_path: Path
) -> None:
    machine.valkey.kill()
    with working(machine.settings, tmp_path) as worker:
        await eventually(lambda: "waiting for the stores" in worker.log())
        await asyncio.to_thread(machine.valkey.restart)
        await eventually(lambda: "ready" in worker.log())
        for kill in (machine.valkey, machine.postgres):
            before = len(worker.log())
            kill.kill()
            await eventually(
                lambda: "trying again until it is back" in worker.log()[before:]  # noqa: B023
            )
            await asyncio.to_thread(kill.restart)
            db = Database(machine.postgres.app_url)
            try:
                async with open_paying(db, machine.valkey.url, sandbox) as (world, _):
                    claim_id = await lapse(world, f"b-{kill.service.name}")
                    await eventually(lambda: is_released(world, claim_id))  # noqa: B023
                    await world.stage.settle()
            finally:
                await db.close()
        assert worker.process.poll() is None
        assert worker.end() == 0
    lines = worker.log().splitlines()
    assert len(lines) < 60, worker.log()
    assert "Traceback" not in worker.log()


async def test_a_store_that_may_forget_is_refused_with_one_sentence(
    machine: Machine, tmp_path: Path
) -> None:
    client = connect(machine.valkey.url)
    await client.config_set("appendfsync", "everysec")
    await client.aclose()
    with working(machine.settings, tmp_path) as worker:
        assert await asyncio.to_thread(worker.process.wait, 30) == 1
    (line,) = worker.log().splitlines()
    assert "appendfsync" in line
