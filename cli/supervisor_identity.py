"""Which process is which: a pid alone may be anybody's by now.

Promises: a process counts as ours only if pid, start time and working folder all match what was
written down; only then is it ended.
"""

import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

# The kernel gives a boot time in whole seconds that may wobble by one while the clock is slewed,
# and psutil computes start times from it.
_START_TOLERANCE_MS = 2_000


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A process as `run.json` remembers it."""

    pid: int
    started_at_ms: int
    stop_signal: int = signal.SIGTERM

    def find(self, folder: Path | None) -> psutil.Process | None:
        """The live process this names, or None; its working folder must lie in `folder`."""
        try:
            process = psutil.Process(self.pid)
            if abs(_start_ms(process) - self.started_at_ms) > _START_TOLERANCE_MS:
                return None
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            if folder is not None and not _lies_in(process.cwd(), folder):
                return None
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return None
        return process


def _lies_in(cwd: str, folder: Path) -> bool:
    # Linux marks a working folder that was removed meanwhile with " (deleted)".
    return Path(cwd.removesuffix(" (deleted)")).is_relative_to(folder.resolve())


def _start_ms(process: psutil.Process) -> int:
    return int(process.create_time() * 1000)


def identify(pid: int, stop_signal: int = signal.SIGTERM) -> Identity:
    """The identity of the live process `pid`; psutil.NoSuchProcess when it is gone."""
    return Identity(
        pid=pid, started_at_ms=_start_ms(psutil.Process(pid)), stop_signal=int(stop_signal)
    )


def family_of(pid: int) -> list[psutil.Process]:
    """Everything the process `pid` has started, also through others; empty when it is gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_gone(processes: Sequence[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Wait until they have ended; those that still run.

    A zombie has ended: it holds no file, socket or lock any more. Who reaps it is its parent's
    business, and in a container whose first process reaps nobody it stays for ever.
    """
    until = time.monotonic() + within_s
    while left := [process for process in processes if _runs(process)]:
        if time.monotonic() > until:
            return left
        time.sleep(0.01)
    return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill_and_wait(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL; processes that have already gone are no error."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_gone(processes, 5)


def end_orphan(identity: Identity, folder: Path, *, within_s: float = 10.0) -> bool:
    """End a process that an earlier start left behind; False when it is not there or not ours.

    First its own stop signal, then SIGKILL, also for what it started.
    """
    process = identity.find(folder)
    if process is None:
        return False
    family = family_of(identity.pid)
    try:
        process.send_signal(identity.stop_signal)
    except psutil.NoSuchProcess:
        return True
    kill_and_wait(wait_gone([process, *family], within_s))
    return True
