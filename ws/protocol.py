"""The frames between a viewer and the gateway: JSON text, told apart by `type`.

docs/protocol.md is the contract, docs/protocol.json its schemas, made from these Structs. What a
viewer sends is decoded strictly: an unknown type or field closes the connection. What the gateway
sends may grow by fields, types and kinds, so clients skip what they do not know.
Frames that many viewers get are put together from bytes that are JSON already, once.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

Topic = Annotated[str, Meta(min_length=4, max_length=96, pattern=r"^[a-z]{2,8}:[A-Za-z0-9_-]+$")]
Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
Ms = Annotated[int, Meta(ge=0, le=1 << 53)]
Offset = Annotated[int, Meta(ge=0, le=1 << 53)]
TokenText = Annotated[str, Meta(min_length=1, max_length=1_024)]


class _In(msgspec.Struct, frozen=True, tag_field="type", forbid_unknown_fields=True):
    """From a viewer."""


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A topic, and what was last applied of it; without `epoch` a snapshot is wanted."""

    topic: Topic
    epoch: Annotated[str, Meta(max_length=64)] = ""
    offset: Offset = 0


class Join(_In, frozen=True, tag="join"):
    """The first frame."""

    token: TokenText
    topics: Annotated[list[Position], Meta(min_length=1, max_length=64)]


class Comment(_In, frozen=True, tag="comment"):
    """Say something; a repeat with the same `id` is said once."""

    topic: Topic
    id: Id
    text: Annotated[str, Meta(min_length=1, max_length=1_000)]


class Like(_In, frozen=True, tag="like"):
    """`n` likes since the last such frame; summed, not reliable."""

    topic: Topic
    n: Annotated[int, Meta(ge=1, le=100)]


class Token(_In, frozen=True, tag="token"):
    """A fresh token of the same subject, before the old one expires."""

    token: TokenText


class Ping(_In, frozen=True, tag="ping"):
    """Answered at once with `pong`; `at_ms` is the viewer's own clock."""

    at_ms: Ms


FromViewer = Join | Comment | Like | Token | Ping


class _Out(msgspec.Struct, frozen=True, tag_field="type", rename={"from_": "from"}):
    """To a viewer."""


class Joined(_Out, frozen=True, tag="joined"):
    """The token is good; each topic's `snapshot` or `events` follow, then what is new."""

    server_ms: int
    heartbeat_ms: int
    tick_ms: int
    topics: list[str]


class Snapshot(_Out, frozen=True, tag="snapshot"):
    """The whole state of a topic at `offset`; comments oldest first."""

    topic: str
    epoch: str
    offset: int
    parts: dict[str, dict[str, Any]]
    comments: list[dict[str, Any]]


class Events(_Out, frozen=True, tag="events"):
    """The events with offsets `from` to `to`, in order and without a gap."""

    topic: str
    epoch: str
    from_: int
    to: int
    events: list[dict[str, Any]]


class Live(_Out, frozen=True, tag="live"):
    """The lane that is not reliable, and the heartbeat: counts of all gateways together.

    `behind_ms`: for so long the gateway has not reached the hot store; what is shown is as old.
    """

    topic: str
    server_ms: int
    viewers: int
    likes: int
    behind_ms: int = 0


class Said(_Out, frozen=True, tag="said"):
    """The comment with this `id` is in the log at `offset`."""

    id: str
    offset: int


class Refused(_Out, frozen=True, tag="refused"):
    """A frame without effect: `code` for programs, `says` for people, `retry_ms` if waiting helps.

    `unknown` is the one code whose effect is not known: the same id may be sent again.
    """

    code: str
    says: str
    id: str | UnsetType = UNSET
    retry_ms: int | UnsetType = UNSET


class Pong(_Out, frozen=True, tag="pong"):
    """Echo of a ping, with the server's clock."""

    at_ms: int
    server_ms: int


class Bye(_Out, frozen=True, tag="bye"):
    """The close that follows at once, by its name in the table; come back after `after_ms`."""

    code: str
    says: str
    after_ms: int


ToViewer = Joined | Snapshot | Events | Live | Said | Refused | Pong | Bye
FROM_VIEWER = (Join, Comment, Like, Token, Ping)
TO_VIEWER = (Joined, Snapshot, Events, Live, Said, Refused, Pong, Bye)

decode = msgspec.json.Decoder(FromViewer).decode
_encode = msgspec.json.Encoder().encode


def text_frame(payload: bytes) -> bytes:
    """A whole WebSocket text frame from server to client: not masked, not compressed."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


def frame(message: ToViewer) -> bytes:
    """`message` as a WebSocket frame."""
    return text_frame(_encode(message))


def events_frame(topic: str, epoch: str, first: int, events: Iterable[bytes]) -> bytes:
    """An `Events` frame from events that are JSON already; the first has offset `first`."""
    many = list(events)
    return text_frame(
        b'{"type":"events","topic":%s,"epoch":%s,"from":%d,"to":%d,"events":[%s]}'
        % (_encode(topic), _encode(epoch), first, first + len(many) - 1, b",".join(many))
    )


def snapshot_frame(
    topic: str, epoch: str, offset: int, parts: Mapping[str, bytes], comments: Iterable[bytes]
) -> bytes:
    """A `Snapshot` frame from parts and comments (oldest first) that are JSON already."""
    inside = b",".join(_encode(part) + b":" + event for part, event in parts.items())
    return text_frame(
        b'{"type":"snapshot","topic":%s,"epoch":%s,"offset":%d,"parts":{%s},"comments":[%s]}'
        % (_encode(topic), _encode(epoch), offset, inside, b",".join(comments))
    )
