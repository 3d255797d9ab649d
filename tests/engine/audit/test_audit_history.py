"""The clients' history: what is written is read back; only a cut last line is forgiven."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.audit.history import FIELDS, HistoryWriter, Line, read_history
from engine.audit.sources import open_scratch
from engine.audit.spool import spool_history
from engine.errors import BadInput

Given = dict[str, Any]
CLAIM: Given = {"buyer": "b1", "offer": "ofr_1", "key": "k", "qty": 1, "price_id": "p1"}
HELD: Given = {"claim_id": "clm-x", "price_fen": 990, "expires_at_ms": 5, "replay": False}


def _line(**fields: object) -> bytes:
    head = {"op": "claim", "process": "c", "id": "c-1", "at_ms": 1}
    return msgspec.json.encode({**head, **fields}) + b"\n"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "new" / "folder", "c3") as writer:
        first = writer.invoke("claim", **CLAIM)
        second = writer.invoke("claim", **CLAIM)
        third = writer.invoke("claim", **CLAIM)
        writer.ok(first, **HELD)
        writer.fail(second, 409, "sold_out")
        writer.fail(third, 503, "busy")
        writer.unknown(writer.invoke("look", claim_id="clm-x"), "timeout")
    lines = list(read_history(tmp_path / "new" / "folder"))
    assert [(one.op, one.type) for one in lines[3:]] == [
        ("claim", "ok"),
        ("claim", "fail"),
        ("claim", "unknown"),
        ("look", "invoke"),
        ("look", "unknown"),
    ]
    assert (lines[0].id, lines[0].process, lines[0].qty) == (first, "c3", 1)
    assert lines[3].expires_at_ms == 5
    assert len({first, second, third}) == 3


def test_an_invoke_is_on_disk_before_its_outcome(tmp_path: Path) -> None:
    """Lines wait together and go out in their order, in one write."""
    writer = HistoryWriter(tmp_path, "c", lines_max=3)
    first = writer.invoke("claim", **CLAIM)
    writer.ok(first, **HELD)
    assert writer.file.read_bytes() == b""
    writer.invoke("claim", **CLAIM)
    assert writer.file.read_bytes().count(b"\n") == 3
    writer.invoke("claim", **CLAIM)
    writer.flush()
    assert writer.file.read_bytes().count(b"\n") == 4
    writer.close()
    writer.close()


def test_a_process_that_starts_again_writes_a_new_file(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        with HistoryWriter(tmp_path, "c") as writer:
            ids.append(writer.invoke("claim", **CLAIM))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["c.1.jsonl", "c.jsonl"]
    assert len(set(ids)) == 2
    assert len(list(read_history(tmp_path))) == 2


def test_the_writer_refuses_what_the_reader_would(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path, "c") as writer:
        with pytest.raises(ValueError, match="says buyer, offer, key, qty, price_id"):
            writer.invoke("claim")
        request = writer.invoke("claim", **CLAIM)
        with pytest.raises(ValueError, match="does not say refund_id"):
            writer.ok(request, **HELD, refund_id="x")


def test_a_cut_last_line_is_passed_over(tmp_path: Path) -> None:
    with HistoryWriter(tmp_path, "c") as writer:
        request = writer.invoke("claim", **CLAIM)
        writer.ok(request, **HELD)
    size = writer.file.stat().st_size
    os.truncate(writer.file, size - 9)
    (line,) = read_history(tmp_path)
    assert line.type == "invoke"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([b'{"op":\n', _line(type="invoke", **CLAIM)], "c.jsonl line 1"),
        ([_line(type="invoke", **CLAIM, mood="good")], "mood"),
        ([_line(type="invoke", **{**CLAIM, "qty": "1"})], "qty"),
        ([_line(type="invoke", **CLAIM, status=409)], "does not say status"),
        ([_line(type="fail", status=409)], "says code, this one does not"),
        ([_line(type="ok", **HELD)], "without its own invoke"),
        ([_line(type="invoke", **CLAIM)] * 2, "is invoked twice"),
        ([_line(type="invoke", **CLAIM), *[_line(type="ok", **HELD)] * 2], "two outcomes"),
    ],
)
def test_what_no_client_can_have_written_is_refused(
    tmp_path: Path, lines: list[bytes], why: str
) -> None:
    (tmp_path / "c.jsonl").write_bytes(b"".join(lines))
    with open_scratch() as scratch, pytest.raises(BadInput, match="bad_history") as caught:
        spool_history(scratch, tmp_path)
    assert why in str(caught.value)


def test_a_folder_without_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="There is no history"):
        list(read_history(tmp_path))


def test_every_kind_of_line_names_fields_that_exist() -> None:
    known = set(Line.__struct_fields__)
    for fields in FIELDS.values():
        assert set(fields.must) | set(fields.may) <= known
    assert len(FIELDS) == 6 * 4
