"""Waiting for a state with a generous limit: tests never assert a speed."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    check: Callable[[], Awaitable[T]], *, within_s: float = 30, every_s: float = 0.02
) -> T: ...
@overload
async def eventually(
    check: Callable[[], T], *, within_s: float = 30, every_s: float = 0.02
) -> T: ...
async def eventually(
    check: Callable[[], object], *, within_s: float = 30, every_s: float = 0.02
) -> object:
    """Call `check` until it returns something true, and give that back.

    An AssertionError inside `check` counts as not yet; the last one is raised at the limit.
    """
    until = time.monotonic() + within_s
    while True:
        last: AssertionError | None = None
        found: object = None
        try:
            found = check()
            if inspect.isawaitable(found):
                found = await found
        except AssertionError as error:
            found, last = None, error  # the coroutine that failed is no answer, though it is true
        if found:
            return found
        if time.monotonic() > until:
            raise last or AssertionError(f"not true within {within_s} s: {check!r} gave {found!r}")
        await asyncio.sleep(every_s)
