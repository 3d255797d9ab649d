"""The frames' bytes, and that docs/protocol.md says what the code does."""

from pathlib import Path

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from ws import close_codes, protocol

DOC = (Path(__file__).parents[2] / "docs/protocol.md").read_text()


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 300_000])
def test_a_frame_is_what_the_library_would_send(size: int) -> None:
    payload = b"x" * size
    assert protocol.text_frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)


def payload_of(frame: bytes) -> bytes:
    """The text inside a server's frame."""
    return frame[frame.index(b"{") :]


def test_frames_from_ready_bytes_are_those_of_the_schemas() -> None:
    event = msgspec.json.encode({"kind": "pin", "at_ms": 1, "offer_id": "ofr_龙"})
    told = protocol.events_frame("room:a", 'e"1', 7, [event, event])
    events = msgspec.json.decode(payload_of(told), type=protocol.Events)
    assert (events.topic, events.epoch, events.from_, events.to) == ("room:a", 'e"1', 7, 8)
    assert protocol.frame(events) == told.replace("龙".encode(), "龙".encode())
    parts = {'offer:"x"': event, "pin": event}
    snapshot = msgspec.json.decode(
        payload_of(protocol.snapshot_frame("room:a", "e", 9, parts, [event])),
        type=protocol.Snapshot,
    )
    assert (snapshot.offset, list(snapshot.parts)) == (9, ['offer:"x"', "pin"])
    assert snapshot.comments == [{"kind": "pin", "at_ms": 1, "offer_id": "ofr_龙"}]


def test_the_table_of_close_codes_is_the_codes() -> None:
    assert close_codes.as_markdown() in DOC


def test_every_frame_is_in_the_contract() -> None:
    for one in (*protocol.FROM_VIEWER, *protocol.TO_VIEWER):
        tag = one.__struct_config__.tag
        row = next(line for line in DOC.splitlines() if line.startswith(f"| `{tag}` |"))
        for field in one.__struct_encode_fields__:
            assert field in row, f"{tag}.{field}"


def test_what_is_refused_is_in_the_contract() -> None:
    from ws.session import _SAYS

    for code in _SAYS:
        assert f"`{code}`" in DOC
