"""One way to run every loop: turn after turn, woken by a doorbell, surviving what goes away.

A turn is `run_once(parts) -> rows handled`. A full batch is followed by the next turn at once,
else the loop waits for its interval, its bell or the end. Whatever a turn raises (a store that
dropped, a bug) ends the turn, never the loop: it is logged once per change, and tried again
with backoff.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from campaigns.payment.provider import PaymentProvider
from engine.db import Database
from engine.errors import KaituanError, Unavailable
from engine.inventory import Inventory
from engine.settings import Settings

log = logging.getLogger(__name__)

Row = TypeVar("Row")
_RETRY_STATES = ("08", "40", "53", "55", "57", "58")  # connection, conflict, resources, shutdown


@dataclass(frozen=True)
class Parts:
    """What the loops work with; `provider_name` names the clearing account."""

    db: Database
    inventory: Inventory
    provider: PaymentProvider
    provider_name: str
    settings: Settings


def backoff_ms(tries: int, base_ms: int, cap_ms: int) -> int:
    """Doubling from `base_ms` to `cap_ms`, a quarter of it random, so that retries spread."""
    full = min(cap_ms, base_ms << min(max(tries - 1, 0), 20))
    return full - random.randrange(full // 4 + 1)


async def each(rows: Iterable[Row], handle: Callable[[Row], Awaitable[None]]) -> int:
    """Handle all rows side by side, none waiting for another; how many. Raises the first error."""
    results = await asyncio.gather(*(handle(row) for row in rows), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return len(results)


class Loop:
    """A named loop over `turn`; `bell` wakes it early and may be rung at any time."""

    def __init__(
        self,
        name: str,
        turn: Callable[[], Awaitable[int]],
        *,
        every_ms: int,
        batch_max: int,
        retry_base_ms: int,
        retry_cap_ms: int,
    ) -> None:
        self.name = name
        self.bell = asyncio.Event()
        self.handled = 0
        self.trouble = ""
        self._turn = turn
        self._every_s = every_ms / 1000
        self._batch_max = batch_max
        self._retry = (retry_base_ms, retry_cap_ms)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set; the turn under way is finished."""
        failures = 0
        while not stop.is_set():
            self.bell.clear()
            try:
                count = await self._turn()
            except Exception as error:
                failures += 1
                self._note(error)
                await wait_any([stop], backoff_ms(failures, *self._retry) / 1000)
                continue
            failures = 0
            self._note(None)
            self.handled += count
            if count < self._batch_max:
                await wait_any([stop, self.bell], self._every_s)
            else:
                await asyncio.sleep(0)

    def _note(self, error: Exception | None) -> None:
        """One line per change of state, not per try; a traceback only for what is a bug."""
        trouble = describe(error) if error is not None else ""
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if error is None:
            log.info("%s: works again", self.name)
        elif is_outage(error):
            log.warning("%s: %s; trying again until it is back", self.name, trouble)
        else:
            log.error("%s: %s; trying again", self.name, trouble, exc_info=error)


def is_outage(error: BaseException) -> bool:
    """A store is away or asks for another try, as opposed to a bug of ours."""
    if isinstance(error, OSError | TimeoutError | PoolTimeout | InterfaceError | Unavailable):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    # asyncpg's own errors come bare while a connection is being made, else inside `orig`.
    sqlstate = getattr(getattr(error, "orig", error), "sqlstate", None)
    return str(sqlstate or "")[:2] in _RETRY_STATES


def describe(error: BaseException) -> str:
    """One short line without addresses or parameters, the same for the same trouble."""
    if isinstance(error, KaituanError):
        return error.code
    cause: Any = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {str(cause).splitlines()[0][:160] if str(cause) else ''}"


async def wait_any(events: Sequence[asyncio.Event], timeout_s: float) -> None:
    """Return when one of the events is set or the time is over."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*waiting, return_exceptions=True)
