"""`run.json`: who serves from a place, so that a later start can greet or clean up after it.

Promises: written whole or not at all; a process is trusted only when pid, start time and folder
match. It holds passwords inside addresses, hence mode 0600.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path

import msgspec

from cli.supervisor_identity import Identity, end_orphan, identify


class RunState(msgspec.Struct, kw_only=True):
    """The contents of `run.json`."""

    data_dir: str
    owner: Identity
    address: str = ""  # where people reach it; empty until everything is ready
    environ: dict[str, str] = {}  # KAITUAN_* for commands that want to reach the same servers
    children: dict[str, Identity] = {}


class RunFile:
    """`run.json` of a place, kept by the process that serves from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.path = self.folder / "run.json"
        self._writing = threading.Lock()  # servers may be started in threads
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

    def announce(self, address: str, environ: Mapping[str, str]) -> None:
        """Say where it serves; a second start prints `address` and leaves.

        `environ` is what other commands need to reach the same servers (`KAITUAN_*`).
        """
        self._state.address = address
        self._state.environ = dict(environ)
        self._write()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def _write(self) -> None:
        new = self.path.with_suffix(".new")
        with self._writing:
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
