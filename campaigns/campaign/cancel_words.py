"""What is declared for the day on which a campaign must be cancelled, in one plain sentence.

Published with the campaign, so that whoever opens a team or joins one knows it beforehand.
"""

from typing import Final

_HQ: Final = {
    "finish": "open teams and crowds may still fill up until their deadline, and nobody opens a "
    "new team",
    "refund": "teams that are not complete end at once and their members are refunded in full; a "
    "crowd is formed if it has reached its threshold, else it fails as it charges",
    "honour": "the merchant fills the missing seats of every team in which somebody has paid; a "
    "crowd is formed if it has reached its threshold, else it fails as it charges",
}
_TEAM: Final = {
    "finish": "this team may still fill up until its deadline",
    "refund": "this team ends at once: unless it is complete, everybody in it is refunded in full",
    "honour": "this team ends at once: if anybody has paid, the merchant fills its missing seats, "
    "so that everybody who has paid gets the goods",
}
_CROWD_ENDS: Final = "this crowd ends at once: it is formed if its threshold is reached, else "
_CROWD: Final = {
    "low": f"{_CROWD_ENDS}everybody in it is refunded in full",
    "regular": f"{_CROWD_ENDS}your order stands at the regular price",
}


def campaign_says(on_cancel: str, *, is_cancelled: bool) -> str:
    """For HQ: what a cancellation does, or has done, to teams that are open."""
    paid = "paid orders of other sales stand"
    return _sentence(f"{_HQ[on_cancel]}; {paid}", is_cancelled=is_cancelled)


def team_says(kind: str, on_cancel: str, charging: str, *, is_cancelled: bool) -> str:
    """For who looks at a team or crowd."""
    if kind == "crowd":
        goes_on = "this crowd goes on to its deadline as announced"
        what = goes_on if on_cancel == "finish" else _CROWD[charging]
    else:
        what = _TEAM[on_cancel]
    return _sentence(what, is_cancelled=is_cancelled)


def _sentence(what: str, *, is_cancelled: bool) -> str:
    when = "This campaign was cancelled" if is_cancelled else "Should this campaign be cancelled"
    return f"{when}{':' if is_cancelled else ','} {what}."
