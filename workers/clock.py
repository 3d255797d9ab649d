"""arq as a clock and a doorbell, and nothing else; the only file that knows it.

Each second a tick rings the loops of whichever worker gets it. A tick may be lost or come twice:
the loops have their own intervals, and all work is in PostgreSQL rows. The queue speaks msgpack,
never pickle, so what lies in it cannot execute. arq's worker dies when its store drops; it is
then started again with backoff, and the process lives on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from arq import cron
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker, func
from redis.exceptions import RedisError

from workers.loop import backoff_ms, describe, wait_any

log = logging.getLogger(__name__)

QUEUE: Final = "kaituan:clock"
JOBS_MAX: Final = 4
JOB_TIMEOUT_S: Final = 5
TICK_EXPIRES_MS: Final = 10_000
CONNECTIONS_MAX: Final = 8
RETRY_BASE_MS: Final = 200
RETRY_CAP_MS: Final = 10_000

_encoder = msgspec.msgpack.Encoder(enc_hook=repr)  # results may hold an exception: its text will do


def serialize(job: dict[str, Any]) -> bytes:
    """A job or its result as msgpack."""
    return _encoder.encode(job)


def deserialize(raw: bytes) -> dict[str, Any]:
    """msgpack as plain values; msgspec.DecodeError for anything else, a pickle for instance."""
    return msgspec.msgpack.decode(raw, type=dict[str, Any])


async def open_queue(queue_url: str) -> ArqRedis:
    """A connection to the queue; it does not retry by itself."""
    settings = RedisSettings.from_dsn(queue_url)
    settings.conn_retries = 0
    settings.max_connections = CONNECTIONS_MAX
    return await create_pool(
        settings,
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=QUEUE,
        expires_extra_ms=TICK_EXPIRES_MS,
    )


class Clock:
    """Rings `bells` each second and on `ring` jobs, as long as the queue is there."""

    def __init__(self, queue_url: str, bells: Iterable[asyncio.Event]) -> None:
        self.rings = 0
        self._queue_url = queue_url
        self._bells = list(bells)
        self.trouble = ""

    async def _ring(self, ctx: dict[Any, Any]) -> None:
        """Job: wake all loops."""
        self.rings += 1
        for bell in self._bells:
            bell.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; a queue that is away is waited for."""
        failures = 0
        while not stop.is_set():
            began_with = self.rings
            try:
                await self._serve(stop)
            except Exception as error:  # whatever it is, the loops must not end for a doorbell
                failures = 1 if self.rings > began_with else failures + 1
                self._note(describe(error))
                await wait_any([stop], backoff_ms(failures, RETRY_BASE_MS, RETRY_CAP_MS) / 1000)

    async def _serve(self, stop: asyncio.Event) -> None:
        queue = await open_queue(self._queue_url)
        worker = self._worker(queue)
        running = asyncio.create_task(worker.async_run(), name="arq")
        stopping = asyncio.create_task(stop.wait())
        try:
            self._note("")
            await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            stopping.cancel()
            await _end(worker, running, queue)

    def _worker(self, queue: ArqRedis) -> Worker:
        return Worker(
            functions=[func(self._ring, name="ring")],
            cron_jobs=[cron(self._ring, name="tick", second=None, unique=True, max_tries=1)],
            queue_name=QUEUE,
            redis_pool=queue,
            handle_signals=False,
            max_jobs=JOBS_MAX,
            job_timeout=JOB_TIMEOUT_S,
            keep_result=0,
            max_tries=1,
            retry_jobs=False,
            poll_delay=0.5,
            health_check_interval=60,
            job_serializer=serialize,
            job_deserializer=deserialize,
            expires_extra_ms=TICK_EXPIRES_MS,
            log_results=False,
        )

    def _note(self, trouble: str) -> None:
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if trouble:
            log.warning("clock: %s; the loops go on by their own intervals", trouble)
        else:
            log.info("clock: works again")


async def _end(worker: Worker, running: asyncio.Task[None], queue: ArqRedis) -> None:
    """Stop the worker and its jobs whatever state its store is in (its own close() raises)."""
    tasks = [running, *worker.tasks.values(), *worker.job_tasks.values()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.suppress(RedisError, OSError):
        await queue.aclose(close_connection_pool=True)
