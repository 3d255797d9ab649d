"""From what HQ typed to what the hot store is told: an offer's prices and its teams' rules.

Each price gets its opaque id here. A crowd's first step is its price from the start when buyers
pay the low price; the scripts switch the list at each step they latch.
"""

from campaigns.campaign.schemas import OfferIn
from engine.ids import crowd_id_of, new_id
from engine.offers import TeamRules

CLOSING_MAX_MS = 600_000  # how long a team waits for payments under way when nothing else is said

Prices = tuple[tuple[str, int, int], ...]


def group_terms(offer_id: str, offer: OfferIn) -> tuple[Prices, TeamRules | None]:
    """(price_id, fen, from_ms) from the start, and the rules of its teams or its crowd."""
    prices = tuple(
        [
            (new_id("prc"), price.price_fen, price.from_ms if index else 0)
            for index, price in enumerate(offer.prices)
        ]
    )
    if offer.kind == "team":
        return prices, _team(offer)
    if offer.kind == "crowd":
        return _crowd(offer_id, offer)
    return prices, None


def _team(offer: OfferIn) -> TeamRules:
    assert offer.size is not None
    assert offer.term_ms is not None
    captain = offer.captain_price_fen
    return TeamRules(
        size=offer.size,
        seat_qty=offer.seat_qty or 1,
        term_ms=offer.term_ms,
        closing_max_ms=offer.closing_max_ms or CLOSING_MAX_MS,
        newcomers_only=offer.newcomers_only,
        captain_price=None if captain is None else (new_id("prc"), captain),
        subsidy_max=offer.subsidy_max,
    )


def _crowd(offer_id: str, offer: OfferIn) -> tuple[Prices, TeamRules]:
    steps = tuple([(step.seats, new_id("prc"), step.price_fen) for step in offer.steps])
    low = offer.regular_price_fen is None
    first = (steps[0][1], steps[0][2]) if low else (new_id("prc"), offer.regular_price_fen or 0)
    return ((*first, 0),), TeamRules(
        size=0,
        seat_qty=offer.seat_qty or 0,
        term_ms=0,
        closing_max_ms=offer.closing_max_ms or CLOSING_MAX_MS,
        crowd_id=crowd_id_of(offer_id),
        steps=steps,
        charging="low" if low else "regular",
    )
