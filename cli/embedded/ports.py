"""Free loopback ports, found by binding them.

Below the range from which kernels give ports to outgoing connections (32768 on Linux, 49152 on
macOS), so that a server that is down for a moment gets its own port back. Between finding and
using, somebody else may take a port: starters try again with another one.
"""

import random
import socket

_LOWEST, _HIGHEST = 15_000, 32_000
_TRIES_MAX = 200


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(wanted: int = 0) -> int:
    """`wanted` when it is free, else some other free port; OSError when none can be found."""
    if wanted and is_free(wanted):
        return wanted
    for _ in range(_TRIES_MAX):
        port = random.randint(_LOWEST, _HIGHEST)
        if is_free(port):
            return port
    raise OSError("no free loopback port found")


def listening_socket(wanted: int, host: str = "127.0.0.1", *, backlog: int = 2048) -> socket.socket:
    """A bound and listening socket on `wanted`, or on a free port when that one is taken.

    Children share it by `pass_fds`; the caller closes its own side at the end.
    """
    for port in (wanted, *(free_port() for _ in range(3))):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(backlog)
        except OSError:
            listener.close()
            continue
        listener.set_inheritable(True)
        return listener
    raise OSError(f"no free port found on {host}")
