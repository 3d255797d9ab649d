"""Who may buy an offer, in plain words: on the offer, and to whom it is refused.

What decides is the token's traits (engine/tokens.py, sign_in/service.py) in the claiming scripts.
"""

from typing import NamedTuple

from engine.offers import Audience


class Words(NamedTuple):
    """One sentence for the offer, and a refusal's title with the next step."""

    says: str
    title: str
    next_step: str


_AGAIN = "If you have become one since you signed in, sign in again and claim once more."
WORDS: dict[Audience, Words] = {
    "all": Words("Everybody may buy this.", "", ""),
    "members": Words(
        "Only members may buy this: everybody on the shop's list of members, and whoever has "
        "bought here before.",
        "This offer is for members.",
        f"You become one with your first paid order. {_AGAIN}",
    ),
    "bound": Words(
        "Only customers who have a guide of their own may buy this.",
        "This offer is for customers who have a guide.",
        f"Scan the code of a guide in the shop, or open a link that a guide sent you. {_AGAIN}",
    ),
    "new": Words(
        "Only new customers may buy this, those without a paid order so far; once in a campaign.",
        "This offer is for new customers.",
        "You have bought here before, or signed in long ago: if you have never bought here, sign "
        "in again and claim once more. Other offers are open to you.",
    ),
}
