"""A campaign's life as data: who may do what from where, checked in one place.

Stored are the states that people decide. `running` and `ended` follow from the window and the
clock when the campaign is shown, never from a job that writes them.
"""

from typing import Literal

from engine.errors import Conflict

Action = Literal["edit", "submit", "approve", "reject", "publish", "cancel"]

MOVES: dict[tuple[str, Action], str] = {
    ("draft", "edit"): "draft",
    ("rejected", "edit"): "draft",
    ("approved", "edit"): "draft",  # what was approved is no longer what would be published
    ("draft", "submit"): "in_review",
    ("in_review", "approve"): "approved",
    ("in_review", "reject"): "rejected",
    ("approved", "publish"): "scheduled",
    ("scheduled", "cancel"): "cancelled",  # also while it runs, not once it has ended
}

_WAY_OUT = {
    "draft": "It is a draft: submit it for review first.",
    "in_review": "It is in review: approve or reject it first.",
    "rejected": "It was rejected: edit it, then submit it again.",
    "approved": "It is approved: publish it, or edit it (it then needs a new review).",
    "scheduled": "It is published, and what is published never changes; stock can be added, and "
    "the whole campaign be cancelled.",
    "ended": "It has ended: nothing of it is on sale any more.",
    "cancelled": "It was cancelled, and stays so; draft a new one.",
}


def move(state: str, action: Action) -> str:
    """The state after `action`; Conflict `campaign_state` says what is possible instead."""
    after = MOVES.get((state, action))
    if after is None:
        raise refuse(state, action)
    return after


def refuse(state: str, action: Action) -> Conflict:
    """Conflict `campaign_state`: not from this state."""
    return Conflict(
        "campaign_state",
        f"This campaign cannot take the step `{action}` now.",
        _WAY_OUT.get(state, "Nothing was changed."),
        state=state,
        possible=sorted(step for from_state, step in MOVES if from_state == state),
    )


def shown(state: str, starts_at_ms: int, ends_at_ms: int, now_ms: int) -> str:
    """The state for people: a scheduled campaign runs and ends by the clock."""
    if state != "scheduled" or now_ms < starts_at_ms:
        return state
    return "running" if now_ms < ends_at_ms else "ended"
