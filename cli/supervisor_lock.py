"""A lock between processes: an flock on a file, freed by the kernel whatever kills its holder.

Promises: one holder at a time, also while the file is being removed by the one before.
"""

import fcntl
import os
from pathlib import Path


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
