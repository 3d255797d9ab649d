"""A running embedded server: stop it, kill it, start it again on the same port and data.

Calls block for as long as the server takes (tenths of a second); from an event loop that must
go on meanwhile, use `asyncio.to_thread`.
"""

import time
from collections.abc import Callable

from cli.place import Place
from cli.supervisor_child import Child, Service, wait_ready
from engine.errors import RefusedStart

_RESTART_WITHIN_S = 15.0


class Server:
    """One server process of `place`, named in its `run.json` while it runs."""

    def __init__(self, place: Place, service: Service, port: int) -> None:
        self.place = place
        self.service = service
        self.port = port
        self.child = self._spawn()

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def running(self) -> bool:
        return self.child.exit_code() is None

    def stop(self) -> None:
        """End it in order; SIGKILL after the service's limit."""
        self.child.stop()
        self.place.run.forget(self.service.name)

    def kill(self) -> None:
        """`kill -9`, and wait until also its own children are gone."""
        self.child.kill()
        self.place.run.forget(self.service.name)

    def restart(self) -> None:
        """Stop it when it runs, then start it with the same port and data."""
        if self.running:
            self.stop()
        until = time.monotonic() + _RESTART_WITHIN_S
        while True:
            try:
                self.child = self._spawn()
                return
            except RefusedStart:
                # A port in the last moments of its former use, shared memory not yet given back.
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def _spawn(self) -> Child:
        child = self.place.spawn(self.service)
        try:
            wait_ready(child)
        except BaseException:
            child.kill()
            self.place.run.forget(self.service.name)
            raise
        return child


def start_on_free_port(start: Callable[[], Server], *, tries_max: int = 5) -> Server:
    """Call `start` (which chooses a port each time) again when its port was taken meanwhile."""
    for left in range(tries_max - 1, -1, -1):
        try:
            return start()
        except RefusedStart as error:
            taken = "already in use" in error.detail.lower()
            if not taken or left == 0:
                raise
    raise AssertionError("unreachable")
