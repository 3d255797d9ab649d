"""What a client saw, written down while it buys: the audit's only source outside the system.

A directory of `*.jsonl` files, one JSON object a line (docs/history.md is the format). The
writer appends `invoke` before its outcome; a client that is killed leaves at most its last line
cut, and an invoke without an outcome, which means: unknown. The reader refuses anything else.
"""

import os
import secrets
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

import msgspec

from engine.errors import BadInput

LINES_MAX = 64  # lines a writer keeps before it writes them in one call

Op = Literal["claim", "look", "cancel", "pay", "pay_done", "refund"]
Type = Literal["invoke", "ok", "fail", "unknown"]


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line. Which fields belong to which (op, type) is `FIELDS`; all others stay away.

    `at_ms` is the client's wall clock; `id` names the request, unique in the directory.
    """

    op: Op
    type: Type
    process: str
    id: str
    at_ms: int
    buyer: str | None = None
    offer: str | None = None
    key: str | None = None
    qty: int | None = None
    price_id: str | None = None
    team_id: str | None = None
    claim_id: str | None = None
    price_fen: int | None = None
    expires_at_ms: int | None = None
    replay: bool | None = None
    attempt_id: str | None = None
    amount_fen: int | None = None
    transaction_id: str | None = None
    order_id: str | None = None
    request_id: str | None = None
    units: int | None = None
    refund_id: str | None = None
    state: str | None = None
    ordered: bool | None = None
    status: int | None = None
    code: str | None = None
    why: str | None = None


class Fields(NamedTuple):
    """What a line must say, and what it may say besides."""

    must: tuple[str, ...]
    may: tuple[str, ...] = ()


_FAIL = Fields(("status", "code"), ("claim_id",))
_UNKNOWN = Fields((), ("status", "code", "why"))
_ASKED: Mapping[Op, Fields] = {
    "claim": Fields(("buyer", "offer", "key", "qty", "price_id"), ("team_id",)),
    "look": Fields(("claim_id",), ("buyer",)),
    "cancel": Fields(("claim_id",), ("buyer",)),
    "pay": Fields(("claim_id",), ("buyer",)),
    "pay_done": Fields(("attempt_id", "amount_fen"), ("claim_id", "buyer")),
    "refund": Fields(("order_id", "request_id", "units"), ("claim_id", "buyer", "amount_fen")),
}
_GOT: Mapping[Op, Fields] = {
    "claim": Fields(("claim_id", "price_fen", "expires_at_ms", "replay")),
    "look": Fields(("state", "ordered"), ("order_id",)),
    "cancel": Fields(("state",)),
    "pay": Fields(("attempt_id", "amount_fen")),
    "pay_done": Fields(("transaction_id",)),
    "refund": Fields(("refund_id", "amount_fen")),
}
FIELDS: Mapping[tuple[str, str], Fields] = {
    **{(op, "invoke"): fields for op, fields in _ASKED.items()},
    # An outcome may repeat what was asked, so that a line can be read by itself.
    **{
        (op, "ok"): Fields(got.must, got.may + _ASKED[op].must + _ASKED[op].may)
        for op, got in _GOT.items()
    },
    **{
        (op, kind): Fields(fields.must, fields.may + asked.must + asked.may)
        for op, asked in _ASKED.items()
        for kind, fields in (("fail", _FAIL), ("unknown", _UNKNOWN))
    },
}
_COMMON = frozenset({"op", "type", "process", "id", "at_ms"})


class HistoryWriter:
    """Appends one process's lines to a file of its own in `path` (a directory, made if missing).

    A restarted process gets a new file, so that a line cut by a kill stays the last of its file.
    Lines are kept until `lines_max` wait, and written in one call, in order: an invoke is on disk
    before its outcome. Call `flush` before a pause and `close` at the end. One thread only.
    """

    def __init__(self, path: Path, process: str, *, lines_max: int = LINES_MAX) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.process = process
        self.file, self._fd = _new_file(path, process)
        self._run = secrets.token_hex(4)
        self._count = 0
        self._waiting: list[bytes] = []
        self._lines_max = lines_max
        self._ops: dict[str, Op] = {}  # requests under way

    def invoke(self, op: Op, **fields: str | int | bool | None) -> str:
        """A request goes out: what it asks. Returns the id to end it with."""
        self._count += 1
        request_id = f"{self.process}-{self._run}-{self._count}"
        self._ops[request_id] = op
        self._add(op, "invoke", request_id, fields)
        return request_id

    def ok(self, request_id: str, **fields: str | int | bool | None) -> None:
        """The request was granted: what the answer said."""
        self._end("ok", request_id, fields)

    def fail(
        self, request_id: str, status: int, code: str, **fields: str | int | bool | None
    ) -> None:
        """The request was answered with a problem; from 500 on nobody knows its effect."""
        kind: Type = "fail" if status < 500 else "unknown"
        self._end(kind, request_id, {"status": status, "code": code, **fields})

    def unknown(self, request_id: str, why: str = "") -> None:
        """No answer that can be trusted: timeout, lost connection."""
        self._end("unknown", request_id, {"why": why})

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            while data:
                data = data[os.write(self._fd, data) :]

    def close(self) -> None:
        """Write what waits and close the file; a second close does nothing."""
        if self._fd >= 0:
            self.flush()
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> "HistoryWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _end(
        self, kind: Type, request_id: str, fields: Mapping[str, str | int | bool | None]
    ) -> None:
        self._add(self._ops.pop(request_id), kind, request_id, fields)

    def _add(
        self, op: Op, kind: Type, request_id: str, fields: Mapping[str, str | int | bool | None]
    ) -> None:
        given = {name: value for name, value in fields.items() if value is not None}
        wrong = _wrong_fields(op, kind, given.keys())
        if wrong:
            raise ValueError(wrong)
        head = {
            "op": op,
            "type": kind,
            "process": self.process,
            "id": request_id,
            "at_ms": time.time_ns() // 1_000_000,
        }
        self._waiting.append(msgspec.json.encode({**head, **given}) + b"\n")
        if len(self._waiting) >= self._lines_max:
            self.flush()


def _new_file(folder: Path, process: str) -> tuple[Path, int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
    number = 0
    while True:
        path = folder / (f"{process}.{number}.jsonl" if number else f"{process}.jsonl")
        try:
            return path, os.open(path, flags, 0o600)
        except FileExistsError:
            number += 1


def _wrong_fields(op: str, kind: str, names: Collection[str]) -> str:
    """Why these fields are not those of such a line; '' when they are."""
    fields = FIELDS[op, kind]
    missing = [name for name in fields.must if name not in names]
    if missing:
        return f"a {op} {kind} says {', '.join(missing)}, this one does not"
    foreign = set(names) - set(fields.must) - set(fields.may)
    return f"a {op} {kind} does not say {', '.join(sorted(foreign))}" if foreign else ""


_decoder = msgspec.json.Decoder(Line)


def read_history(folder: Path) -> Iterator[Line]:
    """All lines, file by file; BadInput `bad_history` names the file and line that is none.

    Only the last line of a file may be cut (its client was killed): it is passed over.
    """
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise BadInput("bad_history", f"There is no history in {folder}.", "No *.jsonl file there.")
    for file in files:
        with file.open("rb") as lines:
            for number, raw in enumerate(lines, 1):
                if not raw.endswith(b"\n"):
                    break  # cut: without its end nobody knows what it would have said
                yield _read_line(file, number, raw)


def has_history(folder: Path) -> bool:
    """Whether any client wrote a history there."""
    return any(folder.glob("*.jsonl"))


def _read_line(file: Path, number: int, raw: bytes) -> Line:
    try:
        line = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _bad(file, number, str(error)) from error
    given = {name for name in Line.__struct_fields__ if getattr(line, name) is not None}
    wrong = _wrong_fields(line.op, line.type, given - _COMMON)
    if wrong:
        raise _bad(file, number, wrong)
    return line


def _bad(file: Path, number: int, why: str) -> BadInput:
    return BadInput(
        "bad_history", f"The history cannot be read: {file.name} line {number}.", f"{why}."
    )
