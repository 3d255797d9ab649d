"""What a viewer saw, written down while it watches: source W of the room laws R1 to R4.

One `*.jsonl` file per client process in the folder `viewers` below the history's directory. A
viewer's lines stand in its file in their order; contiguous events are one line, with the digest
of what was told. A killed client leaves at most its last line cut, and what it had not yet
written is not known. The reader refuses anything else.
"""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from engine.errors import BadInput

FOLDER = "viewers"  # below the history's directory, so that its own reader passes over it
LINES_MAX = 256

Do = Literal["join", "snapshot", "events", "said", "odd", "close", "end"]


class ViewerLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line; `do` says which fields it has besides `viewer` and `at_ms`.

    join: `names` (topics that the token names) and `ask` (topic → [epoch, offset], or null);
    snapshot: `topic`, `epoch`, `offset`, `hash`; events: `topic`, `epoch`, `first`, `last`,
    `digest`; said: `topic`, `epoch`, `offset`, `origin_end` (how its origin ends); odd: `topic`,
    `what` (a violation that it saw itself); close: `code`; end: `topic`, `epoch`, `offset`, `hash`.
    """

    do: Do
    viewer: str
    at_ms: int
    names: tuple[str, ...] = ()
    ask: dict[str, tuple[str, int] | None] = {}
    topic: str = ""
    epoch: str = ""
    offset: int = 0
    first: int = 0
    last: int = 0
    digest: int = 0
    hash: str = ""
    origin_end: str = ""
    what: str = ""
    code: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ViewerLine)


class ViewerLog:
    """Appends the lines of all viewers of one process to a new file of its own."""

    def __init__(self, history: Path, process: str) -> None:
        folder = history / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self._fd = _new_file(folder, process)
        self._waiting: list[bytes] = []

    def join(
        self, viewer: str, names: tuple[str, ...], ask: Mapping[str, tuple[str, int] | None]
    ) -> None:
        """A connection joins: what its token names, and from where it wants each topic."""
        self._add(ViewerLine(do="join", viewer=viewer, at_ms=_now(), names=names, ask=dict(ask)))

    def snapshot(self, viewer: str, topic: str, epoch: str, offset: int, hash: str) -> None:
        """A snapshot came with this watermark; `hash` is that of its state."""
        line = ViewerLine(
            do="snapshot",
            viewer=viewer,
            at_ms=_now(),
            topic=topic,
            epoch=epoch,
            offset=offset,
            hash=hash,
        )
        self._add(line)

    def events(
        self, viewer: str, topic: str, epoch: str, span: tuple[int, int], digest: int
    ) -> None:
        """Events `span[0]` to `span[1]` came, in order, each once."""
        line = ViewerLine(
            do="events",
            viewer=viewer,
            at_ms=_now(),
            topic=topic,
            epoch=epoch,
            first=span[0],
            last=span[1],
            digest=digest,
        )
        self._add(line)

    def said(self, viewer: str, topic: str, epoch: str, offset: int, origin_end: str) -> None:
        """A comment was acknowledged: it is in the log at this offset."""
        line = ViewerLine(
            do="said",
            viewer=viewer,
            at_ms=_now(),
            topic=topic,
            epoch=epoch,
            offset=offset,
            origin_end=origin_end,
        )
        self._add(line)

    def odd(self, viewer: str, topic: str, what: str) -> None:
        """The viewer itself saw something that must not be."""
        self._add(ViewerLine(do="odd", viewer=viewer, at_ms=_now(), topic=topic, what=what))

    def closed(self, viewer: str, code: int) -> None:
        """The connection ended with this code (1006: without one)."""
        self._add(ViewerLine(do="close", viewer=viewer, at_ms=_now(), code=code))

    def end(self, viewer: str, topic: str, epoch: str, offset: int, hash: str) -> None:
        """The viewer goes; this is the state it saw last."""
        line = ViewerLine(
            do="end",
            viewer=viewer,
            at_ms=_now(),
            topic=topic,
            epoch=epoch,
            offset=offset,
            hash=hash,
        )
        self._add(line)

    def flush(self) -> None:
        """Write what waits."""
        data, self._waiting = b"".join(self._waiting), []
        while data:
            data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Write what waits and close the file; a second close does nothing."""
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def _add(self, line: ViewerLine) -> None:
        self._waiting.append(_encoder.encode(line) + b"\n")
        if len(self._waiting) >= LINES_MAX:
            self.flush()


def _now() -> int:
    return time.time_ns() // 1_000_000


def _new_file(folder: Path, process: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
    number = 0
    while True:
        name = f"{process}.{number}.jsonl" if number else f"{process}.jsonl"
        try:
            return os.open(folder / name, flags, 0o600)
        except FileExistsError:
            number += 1


def viewer_files(history: Path) -> list[Path]:
    """The viewer logs below a history's directory; empty when nobody watched."""
    return sorted((history / FOLDER).glob("*.jsonl"))


def read_viewer_logs(history: Path) -> Iterator[ViewerLine]:
    """All lines, file by file; BadInput `bad_viewer_log` names the file and line that is none."""
    for file in viewer_files(history):
        with file.open("rb") as lines:
            for number, raw in enumerate(lines, 1):
                if not raw.endswith(b"\n"):
                    break  # its client was killed
                try:
                    yield _decoder.decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise BadInput(
                        "bad_viewer_log",
                        f"The viewer log cannot be read: {file.name} line {number}.",
                        f"{error}.",
                    ) from error
