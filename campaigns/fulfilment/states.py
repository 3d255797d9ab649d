"""What becomes of an order that stands, as data: who waits for what, checked in one place.

`paid → ready` when its goods are in the store, `ready → fulfilled` when they were handed over.
A team's order is `paid` before its team is decided, too: only `split_fen` says that it stands.
"""

from typing import Final, Literal

from engine.errors import Conflict

Action = Literal["choose", "ready", "hand_over"]

# Kinds whose goods come after the sale.
STOCKED: Final = ("regular", "team", "crowd")

MOVES: Final[dict[tuple[str, Action], str]] = {
    ("open", "choose"): "open",
    ("paid", "choose"): "paid",
    ("paid", "ready"): "ready",
    ("ready", "hand_over"): "fulfilled",
}

_WHY: Final = {
    "open": "It is not paid yet.",
    "paid": "Its goods are not in the store yet.",
    "ready": "Its goods wait in the store already.",
    "fulfilled": "It was handed over already.",
    "completed": "It was handed over already.",
    "released": "It was never paid.",
    "rejected": "It could not be kept; its money went back.",
    "refunding": "Its money is on its way back.",
    "refunded": "Its money went back.",
}


def move(state: str, action: Action) -> str:
    """The order's state after `action`; Conflict `order_state` says what it is instead."""
    after = MOVES.get((state, action))
    if after is None:
        raise Conflict(
            "order_state",
            "This order cannot take this step.",
            f"{_WHY.get(state, 'It is not on sale.')} Nothing was changed.",
            state=state,
        )
    return after
