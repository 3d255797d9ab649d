"""`python -m loadtests.crowd`: a process full of viewers; its plan on stdin, tallies on stdout.

The first line on stdin is a `WatchPlan`. A line `go` lets them comment and like, `end` (or the
end of stdin) lets them leave; with `seconds` they leave by themselves so long after all have
joined. Each line on stdout is a `Tally`; the last one says `done` and has lags and state hashes.
"""

import asyncio
import contextlib
import random
import resource
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from engine.audit.viewer_log import ViewerLog
from loadtests.hall import Hall, PassSource, RoomPass, Tally
from loadtests.passes import PassDesk
from loadtests.viewer import Viewer

TELL_EVERY_S = 0.5
LEAVE_WITHIN_S = 10.0
CATCH_UP_S = 15.0
PLAN_BYTES_MAX = 16 << 20
WORDS = ("来了", "多少钱", "还有货吗", "想要两份", "主播辛苦了", "昨天买的很好", "再讲讲", "支持")


class WatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Who watches what. Either `base_url` and `room_id` (tokens over HTTP, one for each of
    `bearers` and for `anonymous` others), or `passes` made beforehand (`url` is the gateway's).

    The rates are of the whole process: comments by the signed-in (or `passes`) only; cuts break
    a random viewer's connection without a word.
    """

    name: str
    history: str = ""  # the folder for the audit; "": nothing is written down
    base_url: str = ""
    room_id: str = ""
    bearers: tuple[str, ...] = ()
    anonymous: int = 0
    shared_by: int = 1  # anonymous viewers of one token
    passes: tuple[RoomPass, ...] = ()
    origin: str = ""
    joins_per_s: float = 400.0
    comments_per_s: float = 0.0
    likes_per_s: float = 0.0
    cuts_per_s: float = 0.0
    seconds: float = 0.0
    seed: int = 0


class Crowd:
    """All viewers of a plan in this process."""

    def __init__(self, plan: WatchPlan) -> None:
        self.plan = plan
        log = ViewerLog(Path(plan.history), plan.name) if plan.history else None
        self.hall = Hall(log, origin=plan.origin)
        self._rng = random.Random(f"{plan.seed}-{plan.name}")
        self._desk = PassDesk(plan.base_url, plan.room_id, shared_by=plan.shared_by)
        speakers = [self._desk.of(bearer) for bearer in plan.bearers]
        speakers += [_fixed(one) for one in plan.passes]
        listeners = [self._desk.anonymous()] * plan.anonymous
        self.viewers = [
            Viewer(f"{plan.name}-{number}", self.hall, source)
            for number, source in enumerate([*speakers, *listeners])
        ]
        self._speakers = self.viewers[: len(speakers)]

    async def run(self, go: asyncio.Event, end: asyncio.Event) -> Tally:
        """Join at the plan's pace, talk from `go` on, leave at `end`; the tally at the end."""
        watching = []
        acts: list[asyncio.Task[None]] = [asyncio.create_task(self._talk(go))]
        if self.plan.seconds:
            acts.append(asyncio.create_task(self._end_later(end)))
        began = time.monotonic()
        try:
            for number, viewer in enumerate(self.viewers, 1):
                watching.append(asyncio.create_task(viewer.watch()))
                ahead_s = began + number / self.plan.joins_per_s - time.monotonic()
                if ahead_s > 0:
                    await asyncio.sleep(ahead_s)
                if end.is_set():
                    break
            await end.wait()
        finally:
            for task in acts:
                task.cancel()
            await asyncio.gather(*acts, return_exceptions=True)
            self.hall.tally.behind = await self._catch_up()
            await self._leave(watching)
        self.hall.frames.forget()
        if self.hall.log is not None:
            self.hall.log.close()
        await self._desk.close()
        tally = self.hall.tally
        tally.done, tally.cpu_s = True, cpu_s()
        return tally

    async def _catch_up(self) -> int:
        """Wait until each has what any of them has now; how many have not, all the same.

        In the room that all of them watch; one that is cut just now comes back first.
        """
        heard = [one.followed[one.topic] for one in self.viewers if one.topic in one.followed]
        target = max(((at.epoch, at.offset) for at in heard), default=("", 0))
        until = time.monotonic() + CATCH_UP_S
        while True:
            late = [one for one in self.viewers if not one.is_at(*target)]
            if not late or time.monotonic() > until:
                return len(late)
            await asyncio.sleep(0.05)

    async def _leave(self, watching: list[asyncio.Task[None]]) -> None:
        for viewer in self.viewers:
            viewer.leave()
        if watching:
            _, late = await asyncio.wait(watching, timeout=LEAVE_WITHIN_S)
            for task in late:
                task.cancel()
            for result in await asyncio.gather(*watching, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def _end_later(self, end: asyncio.Event) -> None:
        for viewer in self.viewers:
            await viewer.joined.wait()
        await asyncio.sleep(self.plan.seconds)
        end.set()

    async def _talk(self, go: asyncio.Event) -> None:
        """Comments, likes and cuts at their rates, at times that no answer moves."""
        await go.wait()
        rates = [self.plan.comments_per_s, self.plan.likes_per_s, self.plan.cuts_per_s]
        if not sum(rates):
            return
        due = time.monotonic()
        while True:
            due += self._rng.expovariate(sum(rates))
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            act = self._rng.choices(("comment", "like", "cut"), rates)[0]
            who = self._speakers if act == "comment" else self.viewers
            viewer = self._rng.choice(who or self.viewers)
            if not viewer.joined.is_set():
                continue
            if act == "comment":
                viewer.comment(self._rng.choice(WORDS))
            elif act == "like":
                viewer.like(self._rng.randint(1, 9))
            else:
                viewer.cut()


def _fixed(given: RoomPass) -> PassSource:
    async def source() -> RoomPass:
        return given

    return source


def cpu_s() -> float:
    """Processor seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _main() -> None:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader(limit=PLAN_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    crowd = Crowd(msgspec.json.decode(await stdin.readline(), type=WatchPlan))
    go, end = asyncio.Event(), asyncio.Event()
    hearing = asyncio.create_task(_hear(stdin, go, end))
    telling = asyncio.create_task(_tell(crowd.hall.tally))
    tally = await crowd.run(go, end)
    for task in (hearing, telling):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    _say(tally)


async def _hear(stdin: asyncio.StreamReader, go: asyncio.Event, end: asyncio.Event) -> None:
    while line := await stdin.readline():
        if line.strip() == b"end":
            break
        go.set()
    end.set()


async def _tell(tally: Tally) -> None:
    while True:
        tally.cpu_s = cpu_s()
        _say(msgspec.structs.replace(tally, lags_ms=[]))
        await asyncio.sleep(TELL_EVERY_S)


def _say(tally: Tally) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(tally) + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Watch with one crowd."""
    uvloop.run(_main())


if __name__ == "__main__":
    main()
