"""R1 to R4: what rooms told, by the logs themselves and by what viewers wrote down.

R1 and R4 look at the logs alone, too. R2, R3 and the viewers' side of R4 need viewer logs
(source W). All four are found in one pass over them, which the first of the laws makes.
"""

import asyncio
import re
from collections.abc import Iterator

from engine.audit.report import Finding, LawResult, not_checked
from engine.audit.room_logs import PAGE_MAX, Logs
from engine.audit.sources import Given
from engine.audit.viewer_log import ViewerLine, read_viewer_logs
from engine.audit.viewers import Viewers

NO_ROOM = "there is no room"
NO_VIEWERS = "it needs the logs of viewers (--history)"
_ORIGINS = re.compile(
    r"(?P<tick>tick-s\d+-e\d+-\d+-.+)|(?P<shard>s\d+-e\d+-\d+)|(?P<command>rcm_[0-9a-z]+)"
    r"|(?P<say>say-.+-.+)|(?P<recovered>recovered-s\d+-e\d+-\d+)|(?P<look>look-.+)"
)


async def r1_numbered_without_gap(given: Given) -> LawResult:
    """Each epoch's events are numbered 1..n, each with one origin, and each origin once."""
    found = await _found(given)
    return found.numbered.result() if found.logs.rooms else not_checked("R1", NO_ROOM)


async def r2_one_contiguous_range(given: Given) -> LawResult:
    """Each viewer was told one range after another, and what the log says at those offsets."""
    found = await _found(given)
    return found.ranges.result() if given.viewers else not_checked("R2", NO_VIEWERS)


async def r3_epochs_begin_with_snapshots(given: Given) -> LawResult:
    """No viewer was told events of an epoch before its snapshot."""
    found = await _found(given)
    return found.begins.result() if given.viewers else not_checked("R3", NO_VIEWERS)


async def r4_told_to_nobody_else(given: Given) -> LawResult:
    """No topic that the token does not name; nobody's phone number or open id."""
    found = await _found(given)
    if not found.logs.rooms and not given.viewers:
        return not_checked("R4", NO_ROOM)
    return found.private.result()


class _Found:
    """What one pass found for all four laws."""

    def __init__(self, given: Given) -> None:
        self.numbered = Finding("R1", "rooms number their events 1..n, each cause once")
        self.ranges = Finding("R2", "each viewer was told every event of its range, as logged")
        self.begins = Finding("R3", "a viewer's epochs begin with a snapshot")
        self.private = Finding("R4", "nobody was told another's topic, a phone number or open id")
        self.logs = Logs(given, self.numbered, self.private)


async def _found(given: Given) -> _Found:
    if "rooms" not in given.kept:
        given.kept["rooms"] = found = _Found(given)
        followed = {line.topic for line in _lines(given) if line.topic}
        await found.logs.read(sorted(followed))
        _epochs(found)
        await _origins(given, found)
        viewers = Viewers(found.logs, found.ranges, found.begins, found.private)
        for line in _lines(given):
            viewers.see(line)
    kept: _Found = given.kept["rooms"]
    return kept


def _lines(given: Given) -> Iterator[ViewerLine]:
    return read_viewer_logs(given.viewers) if given.viewers else iter(())


def _epochs(found: _Found) -> None:
    for topic, epoch, first, last, count in found.logs.epochs():
        found.numbered.look(count)
        name = f"{topic} epoch {epoch}"
        found.numbered.expect(
            last - first + 1 == count, f"{name}: {count} events are numbered {first} to {last}"
        )
        if topic.startswith("room:"):  # others are short by design
            found.numbered.expect(first == 1, f"{name}: its first event has the number {first}")


async def _origins(given: Given, found: _Found) -> None:
    """Each event has an origin in the form of its kind; no cause has changed a part twice."""
    rows = given.scratch.execute('SELECT topic, epoch, "offset", origin, kind FROM log_events')
    for number, (topic, epoch, offset, origin, kind) in enumerate(rows):
        if number % PAGE_MAX == 0:
            await asyncio.sleep(0)  # a worker has more to do than to check laws
        form = _ORIGINS.fullmatch(origin)
        said = (form.lastgroup == "say") == (kind == "comment") if form else False
        found.numbered.expect(
            said, f"{topic} {epoch} {offset}: a {kind} of no such origin, {origin!r}"
        )
    twice = given.scratch.execute(
        "SELECT topic, epoch, origin, count(*) FROM log_events"
        " GROUP BY topic, epoch, origin, part HAVING count(*) > 1"
    )
    for topic, epoch, origin, count in twice:
        found.numbered.expect(False, f"{topic} {epoch}: {origin} is there {count} times")
