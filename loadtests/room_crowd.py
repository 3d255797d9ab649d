"""A flash sale with a full room, for Locust: `locust -f loadtests/room_crowd.py --plan FILE`.

The shoppers are those of flash_sale.py. The viewers sit in client processes of their own
(`loadtests.crowd`, lean and on asyncio, which Locust's patched standard library is not for): each
checks every offset, and what they saw comes back into Locust's statistics and the result.
"""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust import events

from loadtests.flash_sale import Evening, Shopper
from loadtests.hall import Tally
from loadtests.room_result import sum_up

__all__ = ["Evening", "Shopper"]  # Locust plays what it finds in this file

LAST_WORDS_S = 3.0  # so that the last event, and those who were cut, come in
END_WITHIN_S = 60.0


class Room:
    """The viewers' processes of this run."""

    def __init__(self, plans: tuple[msgspec.Raw, ...]) -> None:
        self.tallies = [Tally() for _ in plans]
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-m", "loadtests.crowd"],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in plans
        ]
        for process, plan in zip(self._processes, plans, strict=True):
            self._tell(process, bytes(plan) + b"\n")
        self._hearing = [
            gevent.spawn(self._hear, number, process)
            for number, process in enumerate(self._processes)
        ]

    def go(self) -> None:
        """From now on they talk."""
        for process in self._processes:
            self._tell(process, b"go\n")

    def end(self) -> None:
        """They leave; waits until each process has said what it saw."""
        gevent.sleep(LAST_WORDS_S)
        for process in self._processes:
            self._tell(process, b"end\n")
        gevent.joinall(self._hearing, timeout=END_WITHIN_S)
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    def _hear(self, number: int, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.tallies[number] = msgspec.json.decode(line, type=Tally)

    def _tell(self, process: "subprocess.Popen[bytes]", word: bytes) -> None:
        assert process.stdin is not None
        process.stdin.write(word)
        process.stdin.flush()


_room: list[Room] = []


def _init(environment: Any, **_: object) -> None:
    plan = Shopper.evening.plan
    room = Room(plan.crowds)
    _room.append(room)
    gevent.spawn_later(max(0.0, plan.begins_at_ms / 1000 - time.time()), room.go)


def _stopped(environment: Any, **_: object) -> None:
    while _room:
        room = _room.pop()
        room.end()
        plan = Shopper.evening.plan
        seen = sum_up(plan.room_topic, plan.viewers, room.tallies)
        Shopper.evening.room = seen
        for lag_ms in seen.lags_ms:
            environment.events.request.fire(
                request_type="ROOM",
                name="event → last viewer",
                response_time=lag_ms,
                response_length=0,
                exception=None,
                context={},
            )


# Before Locust's last look at its statistics, and `quitting` if the test never began: its
# listeners are called backwards, so this one before the result is written.
_hooks: tuple[tuple[Any, Any], ...] = (
    (events.init, _init),
    (events.test_stop, _stopped),
    (events.quitting, _stopped),
)
for _hook, _listener in _hooks:
    _hook.add_listener(_listener)
