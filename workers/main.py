"""`python -m workers.main`: the process that does what happens next.

Sweeps lapsed holds, ends unpaid payments, decides teams at their deadline, books crowds, looks
at waiting lists, sends refunds and repeats what is not applied yet.
Waits for stores that are away, at the start as later; refuses one that it may not trust.
SIGTERM and SIGINT drain: the turns under way are finished, at most for DRAIN_S.
"""

import asyncio
import contextlib
import functools
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import uvloop

from campaigns.payment.sandbox_client import SandboxClient
from engine.db import Database
from engine.errors import KaituanError, RefusedStart
from engine.inventory import Inventory
from engine.scripts import load_all
from engine.settings import Settings, load
from engine.shards import Epochs
from engine.store import check_database, check_hot_store, connect
from engine.wire import Wire
from workers import pay_watch, refunds, sweep
from workers.clock import Clock
from workers.crowds import CrowdBooks
from workers.loop import Loop, Parts, backoff_ms, describe, is_outage, wait_any
from workers.repeats import Repeats
from workers.teams import TeamWatch
from workers.waiting import WaitWatch

log = logging.getLogger("worker")

PROVIDER_NAME: Final = "sandbox"
DRAIN_S: Final = 10
HEARTBEAT_S: Final = 30
WATCH_EVERY_MS: Final = 250
CALLS_IN_A_LEASE: Final = 4  # query, query again, close; and room for our own transactions
_AWAY: Final = ("store_unreachable", "database_unreachable")


def loops_of(parts: Parts) -> list[Loop]:
    """All loops of this process."""
    settings = parts.settings
    make = functools.partial(
        Loop, retry_base_ms=settings.retry_base_ms, retry_cap_ms=settings.retry_cap_ms
    )
    outside_max = settings.outside_batch_max
    return [
        make(
            "sweep",
            functools.partial(sweep.run_once, parts),
            every_ms=settings.sweep_every_ms,
            batch_max=settings.sweep_batch_max,
        ),
        make(
            "pay_watch",
            functools.partial(pay_watch.run_once, parts),
            every_ms=WATCH_EVERY_MS,
            batch_max=outside_max,
        ),
        make(
            "refunds",
            functools.partial(refunds.run_once, parts),
            every_ms=WATCH_EVERY_MS,
            batch_max=outside_max,
        ),
        make(
            "teams",
            TeamWatch(parts).run_once,
            every_ms=settings.teams_every_ms,
            batch_max=settings.team_batch_max,
        ),
        make(
            "crowds",
            CrowdBooks(parts).run_once,
            every_ms=settings.book_every_ms,
            batch_max=settings.book_batch_max,
        ),
        make(
            "waits",
            WaitWatch(parts).run_once,
            every_ms=settings.wait_look_every_ms,
            batch_max=settings.wait_look_max,
        ),
        make(
            "repeats",
            Repeats(parts).run_once,
            every_ms=settings.repeat_every_ms,
            batch_max=outside_max,
        ),
    ]


@asynccontextmanager
async def wired(settings: Settings) -> AsyncIterator[Parts]:
    """Everything the loops need, started; Unavailable or RefusedStart when it cannot be."""
    if settings.lease_ms < CALLS_IN_A_LEASE * settings.provider_timeout_ms:
        raise RefusedStart(
            "bad_setting",
            f"lease_ms is {settings.lease_ms}; it must last for {CALLS_IN_A_LEASE} calls to the "
            f"provider of up to {settings.provider_timeout_ms} ms (provider_timeout_ms) each.",
        )
    scripts = load_all()
    db = Database(settings.database_url, pool_max=settings.pool_max)
    wire = Wire(settings.redis_url, scripts.values())
    epochs = Epochs(db)
    provider = SandboxClient.from_settings(settings)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(db.close)
        stack.push_async_callback(provider.aclose)
        await _check(settings, db)
        await wire.start()
        stack.push_async_callback(wire.close)
        await epochs.start()
        stack.push_async_callback(epochs.close)
        inventory = Inventory(
            wire,
            epochs,
            scripts,
            settle_lag_max_ms=settings.settle_lag_max_ms,
            wait_scan_max=settings.wait_scan_max,
        )
        yield Parts(db, inventory, provider, PROVIDER_NAME, settings)


async def _check(settings: Settings, db: Database) -> None:
    hot = connect(settings.redis_url, pool_max=1)
    try:
        await check_hot_store(hot, unsafe=settings.unsafe_store)
    finally:
        await hot.aclose()
    await check_database(db, unsafe=settings.unsafe_store)


async def run(
    settings: Settings, stop: asyncio.Event, loops_in: Callable[[Parts], list[Loop]] = loops_of
) -> None:
    """The whole process with the loops that `loops_in` makes, until `stop` is set."""
    tries, trouble = 0, ""
    while not stop.is_set():
        try:
            async with wired(settings) as parts:
                await _serve(parts, stop, loops_in(parts))
        except Exception as error:
            is_away = isinstance(error, RefusedStart) and error.code in _AWAY
            if not (is_away or is_outage(error)):
                raise
            if describe(error) != trouble:
                trouble = describe(error)
                log.warning("waiting for the stores: %s", trouble)
            tries += 1
            wait_ms = backoff_ms(tries, settings.retry_base_ms, settings.retry_cap_ms)
            await wait_any([stop], wait_ms / 1000)


async def _serve(parts: Parts, stop: asyncio.Event, loops: list[Loop]) -> None:
    tasks = {asyncio.create_task(loop.run(stop), name=loop.name) for loop in loops}
    if parts.settings.queue_url:
        clock = Clock(parts.settings.queue_url, [loop.bell for loop in loops])
        tasks.add(asyncio.create_task(clock.run(stop), name="clock"))
    log.info("ready: %s", ", ".join(sorted(task.get_name() for task in tasks)))
    heart = asyncio.create_task(_heartbeat(loops), name="heartbeat")
    try:
        # Loops end only with `stop`. One that ends before it is a bug: then the process ends.
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        _, slow = await asyncio.wait(tasks, timeout=DRAIN_S)
        if slow:
            log.warning("not drained in %d s: %s", DRAIN_S, [task.get_name() for task in slow])
    finally:
        for task in (heart, *tasks):
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(heart, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    log.info("drained")


async def _heartbeat(loops: list[Loop]) -> None:
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        counts = " ".join(f"{loop.name}={loop.handled}" for loop in loops)
        troubled = [loop.name for loop in loops if loop.trouble]
        log.info("alive: %s%s", counts, f"; in trouble: {troubled}" if troubled else "")


async def _main(settings: Settings, loops_in: Callable[[Parts], list[Loop]]) -> None:
    stop = asyncio.Event()
    running_loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running_loop.add_signal_handler(number, stop.set)
    await run(settings, stop, loops_in)


def serve(loops_in: Callable[[Parts], list[Loop]], *, name: str, clock: bool) -> None:
    """The process of these loops; a start that cannot work ends with one sentence."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Each try to reach a store is told by the loops already, once.
    for chatty in ("arq", "httpx", "httpcore", "engine.wire", "engine.shards"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            settings = load()
            given = settings if clock else msgspec.structs.replace(settings, queue_url="")
            runner.run(_main(given, loops_in))
    except KaituanError as error:
        sys.exit(f"The {name} cannot start: {error}")


if __name__ == "__main__":
    serve(loops_of, name="worker", clock=True)
