"""Wires and databases that pass a gate at each step, so that a test can crash or delay there.

The stores are the real ones. A gate is called before every command and statement, and around a
commit; whatever it awaits delays that step, whatever it raises ends the caller there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from engine.db import Database
from engine.scripts import load_all
from engine.wire import Wire

# As many as there are keys, and they change nothing: no steps.
_READS = ("TYPE", "GET", "HGETALL", "ZRANGE")

Gate = Callable[[str], Awaitable[None]]


class Crash(BaseException):
    """A crash of the process: nothing of ours may catch it."""


class GatedDatabase(Database):
    """A database whose every statement and commit passes the gate."""

    def __init__(self, url: str, gate: Gate) -> None:
        super().__init__(url)
        self._gate = gate

        class Gated(AsyncSession):
            async def execute(self, statement: Any, *given: Any, **more: Any) -> Any:
                await gate(f"sql {' '.join(str(statement).split())[:60]}")
                return await super().execute(statement, *given, **more)

            async def scalar(self, statement: Any, *given: Any, **more: Any) -> Any:
                await gate(f"sql {' '.join(str(statement).split())[:60]}")
                return await super().scalar(statement, *given, **more)

            async def scalars(self, statement: Any, *given: Any, **more: Any) -> Any:
                await gate(f"sql {' '.join(str(statement).split())[:60]}")
                return await super().scalars(statement, *given, **more)

            async def connection(self, *given: Any, **more: Any) -> Any:
                await gate("sql COPY orders")  # the only use of a session's bare connection
                return await super().connection(*given, **more)

            async def flush(self, objects: Any = None) -> None:
                await gate("sql flush")
                await super().flush(objects)

        self._sessions = async_sessionmaker(self.engine, class_=Gated, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncSession]:
        """As the parent's; the gate is passed before the commit and after it."""
        async with super().begin() as session:
            yield session
            await self._gate("before commit")
        await self._gate("after commit")


class GatedWire(Wire):
    """A wire whose every command passes the gate before it is sent."""

    def __init__(self, url: str, gate: Gate) -> None:
        super().__init__(url, load_all().values())
        self._names = {script.sha: name for name, script in load_all().items()}
        self._gate = gate

    def call(self, *command: str | bytes | int) -> asyncio.Future[Any]:
        """As the parent's, in a task of its own."""
        return asyncio.ensure_future(self._through(command))

    async def _through(self, command: tuple[str | bytes | int, ...]) -> Any:
        name = self._names.get(str(command[1])) if command[0] == "EVALSHA" else None
        name = name or str(command[0])
        if name in _READS:
            return await super().call(*command)
        await self._gate(f"before {name}")
        return await super().call(*command)


class Steps:
    """A gate that counts, and crashes at step `at` (0: never). `where` names that step."""

    def __init__(self, at: int = 0) -> None:
        self.count, self.at, self.where = 0, at, ""

    async def __call__(self, name: str) -> None:
        self.count += 1
        if self.count == self.at:
            self.where = name
            raise Crash(name)


class Pause:
    """A gate that holds everything from step `at` on, until `release` is set.

    Inside a transaction it crashes instead: a process that stands still there keeps its row
    locks, and everybody rightly waits for it until its connection is gone. Of a transaction's
    steps only the commit counts, since all of them come to the same; and to stand still after it
    is to stand still before the next step.
    """

    def __init__(self) -> None:
        self.set(0)
        self.release.set()

    def set(self, at: int) -> None:
        """Begin anew."""
        self.count, self.at, self.where = 0, at, ""
        self.reached = asyncio.Event()
        self.release = asyncio.Event()

    async def __call__(self, name: str) -> None:
        if name == "after commit":
            return
        self.count += not name.startswith("sql")
        if self.count < self.at or self.release.is_set():
            return
        self.where = self.where or name
        self.reached.set()
        if name.startswith(("sql", "before commit")):
            raise Crash(name)
        await self.release.wait()
