"""Settler or broadcaster as its own process, for tests that kill it or read what it says."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.settings import Settings, inherited_environ, to_environ
from tests.waiting import eventually


class SettlerProcess:
    """`python -m workers.settle` (or another) on given stores; its output goes to a file."""

    def __init__(self, settings: Settings, log: Path, module: str = "workers.settle") -> None:
        self._module = module
        self._environ = inherited_environ() | to_environ(settings)
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def said(self) -> str:
        """All it has written, over all its lives."""
        return self._log.read_text() if self._log.exists() else ""

    def start(self) -> None:
        """Start it (again); does not wait."""
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", self._module],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        assert self._child is not None
        os.kill(self._child.pid, number)
        return self._child.wait(20)

    async def exit_code(self) -> int:
        """Of a process that ends by itself."""
        child = self._child
        assert child is not None
        await eventually(lambda: child.poll() is not None)
        return int(child.returncode)

    def reap(self) -> None:
        """Make sure that it is gone."""
        if self._child is not None and self._child.poll() is None:
            self.kill()


@contextmanager
def settler_process(
    settings: Settings, log: Path, module: str = "workers.settle"
) -> Iterator[SettlerProcess]:
    """A process that is not started yet, and is gone afterwards."""
    process = SettlerProcess(settings, log, module)
    try:
        yield process
    finally:
        process.reap()
