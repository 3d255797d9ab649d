"""What all viewers of a load run have seen together, and what of it must not be. Pure data."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from loadtests.hall import Tally
from loadtests.plan import percentile

GOOD_CLOSES = frozenset({"1000"})  # they left; with cuts on purpose also 1006
HELD_AT_MOST = 10


class RoomSeen(msgspec.Struct, kw_only=True):
    """Sums over the client processes.

    `events` are deliveries: each event once for each viewer. `behind`: viewers who lack an event
    that others of their process have; `states`: the most different states of one offset (one is
    right).
    `lags_ms`: from an event's decision to its last hearer of a process.
    """

    wanted: int
    joined: int  # at least once
    joins: int = 0
    resumes: int = 0
    snapshots: int = 0
    frames: int = 0
    events: int = 0
    comments_sent: int = 0
    comments_said: int = 0
    closes: dict[str, int] = {}
    refused: dict[str, int] = {}
    violations: dict[str, int] = {}
    odd: list[str] = []
    last_offset: int = 0
    behind: int = 0
    states: int = 0
    lags_ms: list[int] = []
    cpu_s: float = 0.0
    unfinished: int = 0  # processes that did not come to their end


def sum_up(topic: str, wanted: int, tallies: Sequence[Tally]) -> RoomSeen:
    """The processes' last tallies as one."""
    seen = RoomSeen(wanted=wanted, joined=sum(one.entered for one in tallies))
    closes, refused, violations, at = (Counter[str]() for _ in range(4))
    for one in tallies:
        for name in ("joins", "resumes", "snapshots", "frames", "events", "comments_sent"):
            setattr(seen, name, getattr(seen, name) + getattr(one, name))
        seen.comments_said += one.comments_said
        seen.lags_ms = seen.lags_ms + one.lags_ms
        seen.odd = (seen.odd + one.odd)[:HELD_AT_MOST]
        seen.cpu_s += one.cpu_s
        seen.unfinished += not one.done
        closes.update(one.closes)
        refused.update(one.refused)
        violations.update(one.violations)
        at.update({key: n for key, n in one.hashes.items() if key.split(" ")[0] == topic})
    seen.closes, seen.refused, seen.violations = dict(closes), dict(refused), dict(violations)
    by_offset: dict[tuple[str, int], set[str]] = {}
    for key in at:
        _, epoch, offset, state = key.split(" ")
        by_offset.setdefault((epoch, int(offset)), set()).add(state)
    seen.last_offset = max((offset for _, offset in by_offset), default=0)
    seen.states = max((len(states) for states in by_offset.values()), default=0)
    seen.behind = sum(one.behind for one in tallies) + max(0, seen.joined - at.total())
    return seen


def room_complaints(seen: RoomSeen, *, cuts: bool) -> list[str]:
    """What is wrong with the watching, in sentences; `cuts`: viewers lost their network."""
    said = [f"{count:,} × a viewer saw {what}." for what, count in sorted(seen.violations.items())]
    if seen.unfinished:
        said.append(f"{seen.unfinished} processes of viewers did not come to their end.")
    if seen.joined < seen.wanted:
        said.append(f"Only {seen.joined:,} of {seen.wanted:,} viewers came into the room.")
    if not seen.events:
        said.append("No event was delivered: the run says nothing about the room.")
    if seen.behind:
        said.append(f"{seen.behind:,} viewers lack events that others heard.")
    if seen.states > 1:
        said.append(f"Viewers at the same offset have {seen.states} different states.")
    good = GOOD_CLOSES | ({"1006"} if cuts else set())
    said += [
        f"{count:,} connections were closed with {code}."
        for code, count in sorted(seen.closes.items())
        if code not in good
    ]
    return said


def room_lines(seen: RoomSeen, seconds: float) -> list[str]:
    """Figures for people."""
    p50, p99 = (percentile([float(one) for one in seen.lags_ms], share) for share in (0.5, 0.99))
    rate = seen.events / seconds if seconds else 0.0
    return [
        f"{seen.joined:,} viewers heard {seen.events:,} events in {seen.frames:,} frames "
        f"({rate:,.0f} deliveries/s on average); the room's log ended at {seen.last_offset:,}.",
        f"{seen.joins:,} joins, {seen.resumes:,} went on where they had been, "
        f"{seen.snapshots:,} snapshots; {seen.comments_said:,} of {seen.comments_sent:,} comments "
        f"are in the log{_refusals(seen)}.",
        f"From an event's decision to the last viewer of a client process: p50 {p50:,.0f} ms, "
        f"p99 {p99:,.0f} ms ({len(seen.lags_ms):,} frames); the clients used {seen.cpu_s:,.1f} s "
        "of processor time.",
    ]


def _refusals(seen: RoomSeen) -> str:
    listed = ", ".join(f"{count:,} {code}" for code, count in sorted(seen.refused.items()))
    return f", refused: {listed}" if listed else ""
