"""Keep named child processes serving from a place, and leave nothing behind.

    async with Supervisor(place, say=print) as supervisor:
        supervisor.adopt(await asyncio.to_thread(start_valkey, place))
        await supervisor.start([api_1, api_2])      # together; returns when both are ready
        await supervisor.start([settle, worker])    # then these
        await supervisor.serve("http://127.0.0.1:8080", environ)

Promises: only one supervisor per place; what a killed one left is ended first; a child that dies
is started again, with growing pauses and a limit; SIGINT, SIGTERM and SIGHUP drain in reverse
order, a second one kills; no process, socket or lock stays.
"""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, TypeVar

from cli.embedded.server import Server
from cli.place import Place
from cli.supervisor_child import Child, Service, not_ready
from cli.supervisor_lock import PlaceLock
from cli.supervisor_state import read_state, recover
from engine.errors import KaituanError, RefusedStart

T = TypeVar("T")
_POLL_S = 0.05
_PAUSE_FIRST_S, _PAUSE_CAP_S = 0.2, 5.0
_STARTING_WITHIN_S, _TELL_AFTER_S = 90.0, 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class AlreadyRunning(KaituanError):
    """Another supervisor serves from this place; `address` is where."""

    def __init__(self, address: str) -> None:
        super().__init__("already_running", f"Kaituan is already running: {address}")
        self.address = address


class StopRequested(Exception):
    """A signal asked to stop while starting; the supervisor's `async with` swallows it."""


class Supervisor:
    """Starts, watches and drains children; at most `restarts_max` restarts per child and minute."""

    def __init__(self, place: Place, *, say: Callable[[str], None], restarts_max: int = 10) -> None:
        self.place = place
        self.children: dict[str, Child] = {}
        self._say = say
        self._restarts_max = restarts_max
        self._stages: list[list[str]] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._lock = PlaceLock(place.folder / "supervisor.lock")
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._handlers = ExitStack()
        self._kept = ExitStack()
        self._failure: RefusedStart | None = None

    async def __aenter__(self) -> "Supervisor":
        await self._become_the_only_one()
        try:
            ended = await asyncio.to_thread(recover, self.place.folder)
            if ended:
                self._say(f"The last start was killed; ended what it left: {', '.join(ended)}.")
            self.place.run.begin()
        except BaseException:
            self._lock.release()
            raise
        self._listen_for_signals()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> bool:
        try:
            await self._drain()
        finally:
            self._kept.close()
            self._handlers.close()
            self.place.run.remove()
            self._lock.release()
        return isinstance(error, StopRequested)

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def stop(self) -> None:
        """What the first signal does: `serve` returns, a start under way is given up."""
        self._stop.set()

    def keep(self, sock: socket.socket) -> None:
        """Hold a listening socket until all children have ended.

        A child that is started again inherits it, and connections that arrive meanwhile wait in
        its backlog instead of being refused.
        """
        self._kept.enter_context(sock)

    def adopt(self, server: Server) -> None:
        """Watch an embedded server that was started on this place; a stage of its own.

        From now its process is `children[name]`; do not stop or restart it through `server`.
        """
        self._add([server.child])

    async def start(self, services: Sequence[Service]) -> None:
        """Start these together and wait until all are ready; RefusedStart if one fails."""
        self._check_stop()
        spawned = [self.place.spawn(service) for service in services]
        self._add(spawned)
        await asyncio.gather(*(self._until_ready(child) for child in spawned))
        self._check_stop()

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns; when a signal asks to stop, it is cancelled and all is drained."""
        task = asyncio.create_task(work)
        try:
            while not task.done():
                self._check_stop()
                await asyncio.wait({task}, timeout=0.1)
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def serve(self, address: str, environ: Mapping[str, str]) -> None:
        """Say where it serves and go on until a signal; RefusedStart when a child is hopeless."""
        self._check_stop()
        self.place.run.announce(address, environ)
        await self._stop.wait()
        if self._failure is not None:
            raise self._failure

    # -- being the only one

    async def _become_the_only_one(self) -> None:
        began, told = time.monotonic(), False
        while not self._lock.take():
            state = read_state(self.place.folder)
            # A start that is just cleaning up after a killed one still has the old file there.
            if state is not None and state.address and state.owner.find(None) is not None:
                raise AlreadyRunning(state.address)
            waited_s = time.monotonic() - began
            if waited_s > _TELL_AFTER_S and not told:
                self._say("Another start is under way here; waiting until it serves …")
                told = True
            if waited_s > _STARTING_WITHIN_S:
                raise RefusedStart(
                    "start_under_way",
                    f"Another start holds {self._lock.path} and does not get ready: "
                    "look at its terminal, or end it and start again.",
                )
            await asyncio.sleep(_POLL_S)

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # under nohup the end of the terminal shall not end us
            self._handlers.callback(signal.signal, number, signal.getsignal(number))
            self._handlers.callback(loop.remove_signal_handler, number)
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _check_stop(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._stop.is_set():
            raise StopRequested

    # -- watching

    def _add(self, children: Sequence[Child]) -> None:
        self._stages.append([child.service.name for child in children])
        for child in children:
            self.children[child.service.name] = child
            self._watchers.append(asyncio.create_task(self._watch(child)))

    async def _until_ready(self, child: Child) -> None:
        service = child.service
        until = time.monotonic() + service.ready_within_s
        while service.ready is not None and not await asyncio.to_thread(service.ready):
            self._check_stop()
            if child.exit_code() is not None or time.monotonic() > until:
                raise not_ready(child)
            await asyncio.sleep(_POLL_S)

    async def _watch(self, child: Child) -> None:
        """Start the service of `child` again whenever it dies, until the stop."""
        name, deaths, pause_s = child.service.name, list[float](), _PAUSE_FIRST_S
        while await self._dies(child):
            code, now = child.exit_code(), time.monotonic()
            deaths = [at for at in deaths if at > now - 60] + [now]
            if len(deaths) > self._restarts_max:
                self._give_up(child, len(deaths))
                return
            pause_s = _PAUSE_FIRST_S if len(deaths) == 1 else min(pause_s * 2, _PAUSE_CAP_S)
            self._say(f"{name} ended by itself ({_in_words(code)}); starting it again.")
            await asyncio.to_thread(child.kill)  # what is left of its session
            if await self._stops_within(pause_s):
                return
            try:
                child = self.children[name] = self.place.spawn(child.service)
                await self._until_ready(child)
            except RefusedStart:
                child.kill()  # dead or hanging: the next turn counts it and waits longer
            except StopRequested:
                return

    async def _dies(self, child: Child) -> bool:
        """True when the child has ended; False when the stop comes first."""
        while child.exit_code() is None:
            if await self._stops_within(_POLL_S):
                return False
        return not self.stopping

    async def _stops_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return False
        return True

    def _give_up(self, child: Child, deaths: int) -> None:
        self._failure = RefusedStart(
            "service_failed",
            f"{child.service.name} ended {deaths} times within a minute, so all is stopped; "
            f"what was acknowledged is safe. Its log is {child.log}.",
        )
        self._stop.set()

    # -- draining

    async def _drain(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for stage in reversed(self._stages):
            await asyncio.gather(*(self._end(self.children[name]) for name in stage))

    async def _end(self, child: Child) -> None:
        child.ask_to_stop()
        until = time.monotonic() + child.service.stop_within_s
        while child.exit_code() is None and not self._hurry.is_set():
            if time.monotonic() > until:
                self._say(f"{child.service.name} did not stop in time and is killed.")
                break
            await asyncio.sleep(_POLL_S)
        await asyncio.to_thread(child.kill)
        self.place.run.forget(child.service.name)


def _in_words(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit code {code}"
