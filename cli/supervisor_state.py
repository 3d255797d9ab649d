"""`run.json`: who serves from a place, so that a later start can greet or clean up after it.

Promises: written whole or not at all; a process is trusted only when pid, start time and folder
match. `PlaceLock` keeps two starts apart and is freed by the kernel whatever kills its holder.
"""

import fcntl
import os
from pathlib import Path

import msgspec

from cli.supervisor_child import Identity, end_orphan, identify


class RunState(msgspec.Struct, kw_only=True):
    """The contents of `run.json`."""

    data_dir: str
    owner: Identity
    address: str = ""  # where people reach it; empty until everything is ready
    children: dict[str, Identity] = msgspec.field(default_factory=dict)


class RunFile:
    """`run.json` of a place, kept by the process that serves from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.path = self.folder / "run.json"
        self._state = RunState(data_dir=str(self.folder), owner=identify(os.getpid()))

    def begin(self) -> None:
        """Write this process down as the owner, without children."""
        self._write()

    def record(self, name: str, identity: Identity) -> None:
        self._state.children[name] = identity
        self._write()

    def forget(self, name: str) -> None:
        if self._state.children.pop(name, None) is not None:
            self._write()

    def announce(self, address: str) -> None:
        """Say where it serves; a second start prints this and leaves."""
        self._state.address = address
        self._write()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        new = self.path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_bytes(msgspec.json.format(msgspec.json.encode(self._state), indent=2))
        new.rename(self.path)


def read_state(folder: Path) -> RunState | None:
    """What `run.json` of `folder` says; None when there is none or it cannot be read."""
    try:
        return msgspec.json.decode((folder / "run.json").read_bytes(), type=RunState)
    except (OSError, msgspec.DecodeError):
        return None


def recover(folder: Path) -> list[str]:
    """End what a killed start left running in `folder`; the names of what was ended.

    Call it only while holding the place's lock: then the owner cannot be alive.
    """
    state = read_state(folder)
    if state is None:
        return []
    folder = folder.resolve()
    ended = [
        name
        for name, identity in reversed(list(state.children.items()))
        if state.data_dir == str(folder) and end_orphan(identity, folder)
    ]
    (folder / "run.json").unlink(missing_ok=True)
    return ended


class PlaceLock:
    """An exclusive flock on a file; `fd` may be passed to a child, which then holds it on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = -1

    def take(self) -> bool:
        """True when the lock is ours now; False when somebody else has it."""
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                return False
            if _names(self.path, fd):
                self.fd = fd
                return True
            os.close(fd)  # its last holder removed the file between our open and our lock

    def release(self) -> None:
        """Remove the file while still holding it, then let go; nobody can be in between."""
        if self.fd < 0:
            return
        self.path.unlink(missing_ok=True)
        os.close(self.fd)
        self.fd = -1

    def hand_over(self) -> None:
        """Close our side only: the children that inherited `fd` hold the lock from now on."""
        os.close(self.fd)
        self.fd = -1


def _names(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False
