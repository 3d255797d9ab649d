"""What an offer promises, in plain words: where a late payment lands, and how a crowd charges.

Shown before anybody pays. `late` is what the hot store was told (engine/offers.py); the script
that decides is pay_confirm.
"""

from engine.money import yuan

_REFUND = "is refunded in full"

LATE = {
    "refund": "A payment that arrives after your hold has lapsed is refunded in full.",
    "retake": "A payment that arrives after your hold has lapsed buys the same units at the price "
    "you paid if they are still free; otherwise it is refunded in full.",
}
_LATE_SEAT = "A payment that arrives after your seat was given up "
_AGAIN = "takes the same seat again if it is free and the team is not decided yet; "
LATE_TEAM = {
    "refund": f"{_LATE_SEAT}{_REFUND}.",
    "seat": f"{_LATE_SEAT}{_AGAIN}otherwise it {_REFUND}.",
    "other": f"{_LATE_SEAT}{_AGAIN}else, if you agreed to be moved, a free seat of another team of "
    f"this offer; otherwise it {_REFUND}.",
    "new": f"{_LATE_SEAT}{_AGAIN}else, if you agreed to be moved, a free seat of another team of "
    "this offer; else it opens a new team of your own, with its full time but never past the "
    f"campaign's end; otherwise it {_REFUND}.",
}
LATE_CROWD = {
    "refund": f"{_LATE_SEAT}{_REFUND}.",
    "seat": f"{_LATE_SEAT}joins the crowd again while it is open and there is stock; otherwise it "
    f"{_REFUND}.",
}

CHARGING = {
    "low": (
        "pay_low_refund_if_failed",
        "You pay the price that holds now. If the crowd is not reached by the end, you are "
        "refunded in full; if it climbs further, the difference comes back to you. Once it is "
        "reached, a seat is not given back before the end.",
    ),
    "regular": (
        "pay_regular_return_difference",
        "You pay the regular price now. When the crowd is reached, the difference to the lowest "
        "price it got to comes back to you at the end; otherwise your order stands at the regular "
        "price. Once it is reached, a seat is not given back before the end.",
    ),
}


# With the upgrade guarantee: on the crowd itself, and on the SKU's other group buys beside it.
GUARANTEE = {
    "crowd": "When this crowd forms, whoever has paid more for the same item in this campaign, "
    "alone or in a team that forms, gets the difference to its final price back.",
    "other": "If the crowd for the same item in this campaign forms for less than you have paid, "
    "the difference comes back to you, once, for each unit you keep.",
}


def guarantee_says(kind: str, guaranteed: bool) -> str:
    """The sentence for an offer of this kind; empty without the guarantee."""
    if not guaranteed or kind == "flash":
        return ""
    return GUARANTEE["crowd" if kind == "crowd" else "other"]


def difference_says(paid_fen: int, final_fen: int) -> str:
    """Why some of an order's money came back, by the unit; and what a later refund pays."""
    return (
        f"The crowd for this item formed at {yuan(final_fen)} a unit, and you had paid "
        f"{yuan(paid_fen)}: the difference for each unit you keep goes back to you. A unit that "
        f"you give back later brings {yuan(final_fen)}."
    )


def late_says(kind: str, late: str) -> str:
    """The sentence for an offer of this kind."""
    return {"team": LATE_TEAM, "crowd": LATE_CROWD}.get(kind, LATE)[late]


def team_says(size: int, newcomers_only: bool) -> str:
    """How a team of this offer works."""
    joins = "new customers" if newcomers_only else "others"
    missing = "one more" if size == 2 else "two more"
    return (
        f"Open a team and share it: it is complete when {missing} {joins} have paid. If it does "
        "not fill up in time, everybody is refunded in full."
    )
