"""A room's life as data: what its host may do from where, checked in one place.

scheduled → live → paused → live → ended. A step that leads to where the room is already changes
nothing, so that a request may be repeated.
"""

from typing import Literal

from engine.errors import Conflict

Action = Literal["live", "pause", "end", "shelf", "pin", "launch"]

MOVES: dict[tuple[str, Action], str] = {
    ("scheduled", "live"): "live",
    ("paused", "live"): "live",
    ("live", "live"): "live",
    ("live", "pause"): "paused",
    ("paused", "pause"): "paused",
    ("scheduled", "end"): "ended",
    ("live", "end"): "ended",
    ("paused", "end"): "ended",
    ("ended", "end"): "ended",
    # What is on the table may be set before the evening and during it; a countdown needs viewers.
    **{(state, "shelf"): state for state in ("scheduled", "live", "paused")},
    **{(state, "pin"): state for state in ("scheduled", "live", "paused")},
    ("live", "launch"): "live",
}

_WAY_OUT = {
    "scheduled": "It has not begun: go live first.",
    "live": "It is live.",
    "paused": "It is paused: go live again first.",
    "ended": "It is over, and an ended room never changes. Schedule a new one.",
}


def move(state: str, action: Action) -> str:
    """The state after `action`; Conflict `room_state` says what is possible instead."""
    after = MOVES.get((state, action))
    if after is None:
        raise Conflict(
            "room_state",
            f"This room cannot take the step `{action}` now.",
            f"{_WAY_OUT[state]} Nothing was changed.",
            state=state,
            possible=sorted(step for from_state, step in MOVES if from_state == state),
        )
    return after
