"""A crash at the nth step: before or after a commit, a script or a call to the provider.

`Crash` is no Exception, so no handler of ours can swallow it: what ran after it did not run,
as after a kill. `crashing(parts, n)` gives parts that share the stores and die at step n.
"""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from engine.db import Database
from engine.inventory import Inventory
from engine.wire import Wire
from workers.loop import Parts


class Crash(BaseException):
    """The process is gone."""


class Bomb:
    """Counts steps down; at zero everything that comes is a crash."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.went_off_at = ""

    def step(self, name: str) -> None:
        """One step; Crash when it is the last one or a later one."""
        self.left -= 1
        if self.left <= 0:
            self.went_off_at = self.went_off_at or name
            raise Crash(name)


class CrashingDb(Database):
    """The same pool; dies before or after a transaction."""

    def __init__(self, db: Database, bomb: Bomb) -> None:
        self.__dict__.update(db.__dict__)
        self._bomb = bomb

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        self._bomb.step("before a transaction")
        async with super().begin() as session:
            yield session
        self._bomb.step("after a commit")


class CrashingWire:
    """The same connection; dies before or after a command."""

    def __init__(self, wire: Wire, bomb: Bomb) -> None:
        self._wire, self._bomb = wire, bomb

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wire, name)

    def call(self, *command: str | bytes | int) -> Awaitable[Any]:
        self._bomb.step("before a script")
        return self._answer(self._wire.call(*command))

    async def _answer(self, answer: Awaitable[Any]) -> Any:
        reply = await answer
        self._bomb.step("after a script")
        return reply


class CrashingProvider:
    """The same provider; dies before or after a call."""

    def __init__(self, provider: Any, bomb: Bomb) -> None:
        self._provider, self._bomb = provider, bomb

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._provider, name)
        if name not in ("prepay", "query", "close", "refund"):
            return method

        async def call(*args: Any) -> Any:
            self._bomb.step(f"before {name}")
            answer = await method(*args)
            self._bomb.step(f"after {name}")
            return answer

        return call


def crashing(parts: Parts, steps: int) -> tuple[Parts, Bomb]:
    """Parts on the same stores that die at step `steps`."""
    bomb = Bomb(steps)
    wire: Any = CrashingWire(parts.inventory.wire, bomb)
    db = CrashingDb(parts.db, bomb)
    provider: Any = CrashingProvider(parts.provider, bomb)
    inventory = Inventory(wire, parts.inventory.epochs)
    return Parts(db, inventory, provider, parts.provider_name, parts.settings), bomb
