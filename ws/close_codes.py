"""Every code the gateway closes a connection with, as one table.

A code tells a client what to do next, so the table says it: `again` is whether to come back, and
with what. docs/protocol.md shows this table; a test keeps the two the same.
"""

from typing import Final, Literal, NamedTuple

# "later": after `bye`'s `after_ms`, else with a growing, random pause.
Again = Literal["no", "at once", "later", "with a new token"]

BAD_FRAME: Final = 4400
TOKEN: Final = 4401
NOT_ALLOWED: Final = 4403
NO_ROOM: Final = 4404
SLOW: Final = 4408
TOO_MANY: Final = 4409
ROOM_GONE: Final = 4410
BROKEN: Final = 1011
RESTART: Final = 1012
BUSY: Final = 1013


class CloseCode(NamedTuple):
    """`code_name` is the close frame's reason and the label in metrics; `says` is for people."""

    code_name: str
    says: str
    again: Again


TABLE: Final[dict[int, CloseCode]] = {
    BAD_FRAME: CloseCode("bad_frame", "A frame that this protocol does not know.", "no"),
    TOKEN: CloseCode(
        "token", "The room token is missing, forged or has expired.", "with a new token"
    ),
    NOT_ALLOWED: CloseCode(
        "not_allowed", "The token does not name this topic.", "with a new token"
    ),
    NO_ROOM: CloseCode("no_room", "There is no such room now.", "later"),
    SLOW: CloseCode(
        "slow", "The connection did not take what was sent to it; others do not wait.", "at once"
    ),
    TOO_MANY: CloseCode("too_many", "More frames than a viewer may send.", "later"),
    ROOM_GONE: CloseCode("room_gone", "The room's log has been away for too long.", "later"),
    BROKEN: CloseCode("broken", "The gateway failed on this connection; it is logged.", "later"),
    RESTART: CloseCode("restart", "The gateway restarts; nothing is lost.", "later"),
    BUSY: CloseCode("busy", "The gateway cannot take this viewer now.", "later"),
}


def as_markdown() -> str:
    """The table as docs/protocol.md shows it."""
    rows = [
        f"| {code} | `{one.code_name}` | {one.says} | {one.again} |" for code, one in TABLE.items()
    ]
    return "\n".join(["| code | name | what happened | come back |", "|---|---|---|---|", *rows])
