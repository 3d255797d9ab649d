"""One pass over what viewers wrote down, for R2, R3 and R4.

A viewer's position is followed line by line as it says it was told, and each range is compared
with the log by its digest. Where the log of an epoch is lost (it was never archived, or is a
member's and was trimmed) only the viewer's own order can be judged.
"""

from dataclasses import dataclass, field

from engine.audit.report import Finding
from engine.audit.room_logs import Logs
from engine.audit.viewer_log import ViewerLine

Place = tuple[str, int]  # epoch, offset


@dataclass
class _Viewer:
    """Where a viewer is: what its token names, and its position by topic."""

    names: frozenset[str] = frozenset()
    at: dict[str, Place] = field(default_factory=dict)
    joined: bool = False


class Viewers:
    """Call `see` with every line, in its file's order."""

    def __init__(self, logs: Logs, ranges: Finding, begins: Finding, private: Finding) -> None:
        self._logs = logs
        self._ranges, self._begins, self._private = ranges, begins, private
        self._viewers: dict[str, _Viewer] = {}
        self._hashes: dict[tuple[str, str, int], str] = {}

    def see(self, line: ViewerLine) -> None:
        """One line."""
        viewer = self._viewers.setdefault(line.viewer, _Viewer())
        if line.do == "join":
            self._join(viewer, line)
        elif line.do == "odd":
            self._odd(line)
        elif line.do == "close":
            viewer.joined = False
        elif line.do == "said":
            self._said(line)
        else:
            self._named(viewer, line)
            if line.do == "snapshot":
                self._snapshot(viewer, line)
            elif line.do == "events":
                self._events(viewer, line)
            else:
                self._state(line)

    def _named(self, viewer: _Viewer, line: ViewerLine) -> None:
        text = f"{line.viewer} was told of {line.topic}, its token names {sorted(viewer.names)}"
        self._private.expect(line.topic in viewer.names, text)

    def _join(self, viewer: _Viewer, line: ViewerLine) -> None:
        viewer.names, viewer.joined = frozenset(line.names), True
        for topic, asked in line.ask.items():
            known = viewer.at.get(topic)
            if asked is not None and known != tuple(asked):
                self._ranges.expect(
                    False, f"{line.viewer} asks for {topic} from {asked}, it has seen {known}"
                )
            if asked is None:
                viewer.at.pop(topic, None)

    def _snapshot(self, viewer: _Viewer, line: ViewerLine) -> None:
        before = viewer.at.get(line.topic)
        back = before is not None and before[0] == line.epoch and line.offset < before[1]
        text = f"{line.viewer}, {line.topic}: a snapshot of {line.offset} after {before}"
        self._ranges.expect(not back, text)
        self._begins.look()
        viewer.at[line.topic] = (line.epoch, line.offset)
        hot = self._logs.hot.get(line.topic)
        if hot is not None and hot.epoch == line.epoch:
            text = f"{line.viewer}, {line.topic}: a snapshot of {line.offset}, the log has less"
            self._ranges.expect(line.offset <= hot.offset, text)
        self._state(line)

    def _events(self, viewer: _Viewer, line: ViewerLine) -> None:
        name = f"{line.viewer}, {line.topic} epoch {line.epoch}"
        before = viewer.at.get(line.topic)
        viewer.at[line.topic] = (line.epoch, line.last)
        if before is None or before[0] != line.epoch:
            self._begins.expect(False, f"{name}: event {line.first} came before a snapshot")
        else:
            self._ranges.look(line.last - line.first)
            text = f"{name}: event {line.first} came after {before[1]}"
            self._ranges.expect(line.first == before[1] + 1 and line.last >= line.first, text)
        self._content(name, line)

    def _content(self, name: str, line: ViewerLine) -> None:
        """What it was told is what the log says at these offsets."""
        hot = self._logs.hot.get(line.topic)
        if hot is not None and hot.epoch == line.epoch and line.last > hot.offset:
            self._ranges.expect(False, f"{name}: told {line.last}, the log ends at {hot.offset}")
            return
        prefix = self._logs.prefix(line.topic, line.epoch)
        if prefix is not None and prefix.has(line.first, line.last):
            self._ranges.expect(
                prefix.digest(line.first, line.last) == line.digest,
                f"{name}: {line.first} to {line.last} are not what the log says",
            )

    def _said(self, line: ViewerLine) -> None:
        """A comment that was acknowledged stands in the log."""
        there = self._logs.origins_at(line.topic, line.offset)
        hot = self._logs.hot.get(line.topic)
        if line.epoch not in there and (hot is None or hot.epoch != line.epoch):
            return  # that epoch's log is lost from there on
        # It may have been said just behind the beginning of an epoch that the viewer had not seen.
        self._ranges.expect(
            any(origin.endswith(line.origin_end) for origin in there.values()),
            f"{line.viewer}, {line.topic}: its comment{line.origin_end} is not at {line.offset}",
        )

    def _state(self, line: ViewerLine) -> None:
        """All who are at the same offset have the same state, and so has the log."""
        at = (line.topic, line.epoch, line.offset)
        if at not in self._hashes:
            hot = self._logs.hot.get(line.topic)
            here = hot is not None and (hot.epoch, hot.offset) == (line.epoch, line.offset)
            self._hashes[at] = hot.hash if hot is not None and here and hot.hash else line.hash
        text = f"{line.viewer}, {line.topic}: another state than others at {line.offset}"
        self._ranges.expect(self._hashes[at] == line.hash, text)

    def _odd(self, line: ViewerLine) -> None:
        """What the viewer itself took for a violation."""
        text = f"{line.viewer}, {line.topic}: {line.what}"
        if line.what.startswith("personal data"):
            self._private.expect(False, text)
        elif line.what.startswith(("an epoch without", "events before")):
            self._begins.expect(False, text)
        else:
            self._ranges.expect(False, text)
