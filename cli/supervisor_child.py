"""One child process: how it is started, stopped and killed.

Promises: a child runs in its own session, so a terminal's Ctrl-C does not reach it; it begins
its work only after `run.json` names it, so there is no instant at which a killed parent leaves
a process that nobody knows.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cli.supervisor_identity import Identity, family_of, identify, kill_and_wait, wait_gone
from cli.supervisor_lock import PlaceLock
from engine.errors import RefusedStart

# The child waits for a line on stdin before it becomes its program (same pid, same start time).
# When the parent dies before it has written the pid down, `read` meets the end and it exits.
_GATE = ("/bin/sh", "-c", 'read -r _ && exec "$@" </dev/null', "gate")


@dataclass(frozen=True, kw_only=True)
class Service:
    """What to run and how to know that it serves.

    `env` is the whole environment of the child. `ready` is called in a thread until it returns
    True; None means ready at once. `pass_fds` are kept open in the child under the same numbers.
    `cwd` must lie in the place, since that is how the child is known again. `lock` is a file the
    child holds an flock on for as long as it or a fork of it lives, however its parent ended.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    ready_within_s: float = 30.0
    cwd: Path | None = None
    user: int | None = None
    group: int | None = None
    pass_fds: Sequence[int] = ()
    lock: Path | None = None
    stop_signal: int = signal.SIGTERM
    stop_within_s: float = 10.0


class Child:
    """A running `Service`; `record` is told its identity before the program begins.

    RefusedStart when the program cannot be run or somebody else holds its data.
    """

    def __init__(
        self, service: Service, *, cwd: Path, log: Path, record: Callable[[Identity], None]
    ) -> None:
        self.service = service
        self.log = log
        self._gone = False
        self._popen = _spawn(service, service.cwd or cwd, log)
        assert self._popen.stdin is not None
        try:
            self.identity = identify(self._popen.pid, service.stop_signal)
            record(self.identity)
            with self._popen.stdin as gate:
                gate.write(b"go\n")
        except BaseException:
            self._popen.stdin.close()
            self.kill()
            raise

    @property
    def pid(self) -> int:
        return self.identity.pid

    def exit_code(self) -> int | None:
        """None while it runs, else its exit code (negative: the signal that ended it)."""
        return self._popen.poll()

    def ask_to_stop(self) -> None:
        """Send its stop signal to the program; nothing happens when it has ended."""
        self._popen.send_signal(self.service.stop_signal)

    def stop(self) -> None:
        """Ask it to end, wait `stop_within_s`, then kill it and what it started."""
        self.ask_to_stop()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(self.service.stop_within_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the program and all it started; waits until they are gone.

        Also right for one that has ended: what is left of its session ends, too.
        """
        if self._gone:  # its group's number may be a stranger's by now
            return
        # Children of PostgreSQL lead sessions of their own, so the group is not all of them.
        family = family_of(self._popen.pid) if self._popen.poll() is None else []
        with suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a zombie's group
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        # They notice that it is gone and end by themselves; this only makes sure.
        kill_and_wait(wait_gone(family, 5))
        self._gone = True


def _spawn(service: Service, cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    pass_fds = tuple(service.pass_fds)
    lock = None if service.lock is None else PlaceLock(service.lock)
    if lock is not None:
        if not lock.take():
            raise RefusedStart(
                "data_in_use",
                f"Another process still uses the data of {service.name} in {lock.path.parent}: "
                "end it, then start again. Nothing was changed.",
            )
        pass_fds = (*pass_fds, lock.fd)
    try:
        with log.open("ab") as out:
            return subprocess.Popen(
                [*_GATE, *service.argv],
                cwd=cwd,
                env=dict(service.env),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=pass_fds,
                user=service.user,
                group=service.group,
                extra_groups=None if service.user is None else [],
                bufsize=0,
            )
    except OSError as error:
        raise RefusedStart(
            "cannot_execute", f"{service.name} cannot be started: {error}."
        ) from error
    finally:
        if lock is not None:
            lock.hand_over()


def wait_ready(child: Child) -> None:
    """Block until the service is ready; RefusedStart when it ends or takes too long."""
    service = child.service
    until = time.monotonic() + service.ready_within_s
    while service.ready is not None and not service.ready():
        code = child.exit_code()
        if code is not None or time.monotonic() > until:
            raise not_ready(child)
        time.sleep(0.02)


def not_ready(child: Child) -> RefusedStart:
    """The error that says why a child is not serving, with the last lines of its log."""
    code = child.exit_code()
    why = (
        f"was not ready after {child.service.ready_within_s:g} s"
        if code is None
        else f"ended at once (exit code {code})"
    )
    return RefusedStart(
        "service_failed",
        f"{child.service.name} {why}; its log is {child.log}.",
        tail(child.log),
    )


def tail(path: Path, *, bytes_max: int = 2_000) -> str:
    """The last lines of a log file, for people; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - bytes_max))
            return file.read().decode(errors="replace").strip()
    except FileNotFoundError:
        return ""
