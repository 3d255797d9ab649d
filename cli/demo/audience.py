"""The room's viewers: client processes of `loadtests.crowd`, and what they have seen together."""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cli.demo.staff import Refused
from engine.settings import Settings
from loadtests.crowd import WatchPlan
from loadtests.hall import Tally

PROCESSES = 2
SIGNED_IN_SHARE = 0.5
JOIN_WITHIN_S = 60.0
END_WITHIN_S = 30.0
# Of each process; a room of some hundreds that talks, likes, and rides through tunnels.
COMMENTS_PER_S, LIKES_PER_S, CUTS_PER_S = 2.5, 6.0, 1.0
LINE_BYTES_MAX = 8 << 20  # the last tally lists all lags and state hashes


class Seen(msgspec.Struct, kw_only=True):
    """All processes' tallies in figures, as `--json` writes them."""

    watched: int = 0  # viewers there were
    viewers: int = 0  # joined now
    events: int = 0  # deliveries
    comments: int = 0
    likes: int = 0
    cuts: int = 0
    resumes: int = 0
    snapshots: int = 0
    violations: dict[str, int] = {}
    odd: list[str] = []
    states: int = 0  # different states of the room at its last offset; one is right


class Audience:
    """Viewers of one room: `join` → `go` → `end`, and `stop` whatever happened."""

    def __init__(self, settings: Settings, room_id: str, history: Path, *, seed: int) -> None:
        self._settings, self._room_id, self._history = settings, room_id, history
        self._seed = seed
        self._wanted = 0
        self._processes: list[asyncio.subprocess.Process] = []
        self._listeners: list[asyncio.Task[None]] = []
        self._tallies: list[Tally] = []

    async def start(self, viewers: int, bearers: Sequence[str]) -> None:
        """Start the client processes; half of the viewers are signed in, with these tokens."""
        self._wanted = viewers
        signed_in = min(len(bearers), round(viewers * SIGNED_IN_SHARE))
        for number in range(PROCESSES):
            mine = bearers[:signed_in][number::PROCESSES]
            others = viewers - signed_in
            plan = WatchPlan(
                name=f"{self._history.name}-viewers-{number}",
                history=str(self._history),
                base_url=self._settings.public_url,
                room_id=self._room_id,
                bearers=tuple(mine),
                anonymous=others // PROCESSES + (number < others % PROCESSES),
                shared_by=20,
                origin=self._settings.origins.split(",")[0],
                joins_per_s=50.0,
                comments_per_s=COMMENTS_PER_S,
                likes_per_s=LIKES_PER_S,
                cuts_per_s=CUTS_PER_S,
                seed=self._seed,
            )
            await self._start(plan, number)

    async def all_joined(self) -> None:
        """Wait until everybody watches; Refused when they cannot."""
        until = asyncio.get_running_loop().time() + JOIN_WITHIN_S
        while self.seen().viewers < self._wanted:
            if asyncio.get_running_loop().time() > until:
                closes = [one.closes for one in self._tallies]
                raise Refused(
                    f"only {self.seen().viewers} of {self._wanted} viewers came in: {closes}"
                )
            await asyncio.sleep(0.1)

    async def go(self) -> None:
        """From now on they comment, like and lose their network."""
        await self._tell(b"go\n")

    async def end(self) -> Seen:
        """They leave; what they saw. Refused when a process does not come to its end."""
        await self._tell(b"end\n")
        try:
            async with asyncio.timeout(END_WITHIN_S):
                await asyncio.gather(*self._listeners)
                codes = [await process.wait() for process in self._processes]
        except TimeoutError:
            raise Refused("the viewers do not leave") from None
        if any(codes):
            raise Refused(f"a process of viewers ended with {codes}")
        return self.seen()

    async def stop(self) -> None:
        """End what is left."""
        for task in self._listeners:
            task.cancel()
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await asyncio.gather(*self._listeners, return_exceptions=True)

    def seen(self) -> Seen:
        """The sums so far."""
        seen = Seen(watched=self._wanted)
        violations, hashes = Counter[str](), Counter[str]()
        for tally in self._tallies:
            seen.viewers += tally.viewers
            seen.events += tally.events
            seen.comments += tally.comments_said
            seen.likes += tally.likes
            seen.cuts += tally.closes.get("1006", 0)
            seen.resumes += tally.resumes
            seen.snapshots += tally.snapshots
            seen.odd = (seen.odd + tally.odd)[:10]
            violations.update(tally.violations)
            hashes.update(tally.hashes)
        seen.violations = dict(violations)
        seen.states = _states_at_the_end(f"room:{self._room_id}", hashes)
        return seen

    async def _start(self, plan: WatchPlan, number: int) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "loadtests.crowd"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            limit=LINE_BYTES_MAX,
        )
        assert process.stdin is not None
        self._processes.append(process)
        self._tallies.append(Tally())
        self._listeners.append(asyncio.create_task(self._listen(process, number)))
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        await process.stdin.drain()

    async def _listen(self, process: asyncio.subprocess.Process, number: int) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._tallies[number] = msgspec.json.decode(line, type=Tally)

    async def _tell(self, word: bytes) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(word)
            await process.stdin.drain()


def _states_at_the_end(topic: str, hashes: Counter[str]) -> int:
    """How many different states of `topic` viewers had who heard its last offset."""
    at_end: dict[int, set[str]] = {}
    for key in hashes:
        name, _epoch, offset, state = key.split(" ")
        if name == topic:
            at_end.setdefault(int(offset), set()).add(state)
    return len(at_end[max(at_end)]) if at_end else 0
