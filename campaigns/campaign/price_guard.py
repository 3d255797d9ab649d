"""The price guard: for one SKU, wherever windows and stores overlap, each regular price is above
each team price, and that above each step of a crowd.

Pure: the draft's prices against each other and against those on sale. A refusal names the other
offer with its campaign, stores and window, so that one of the two can be changed.
"""

from collections.abc import Iterable, Iterator, Sequence

from campaigns.campaign.schemas import CampaignIn, OfferIn
from campaigns.offer.on_sale import ORDER, Priced, Window
from campaigns.problems import FieldError
from engine.money import yuan

CONFLICTS_MAX = 20  # named in one refusal; correcting these shows the rest


def conflicts(draft: CampaignIn, on_sale: Sequence[Priced]) -> Iterator[tuple[FieldError, Priced]]:
    """Each price of the draft that breaks the order, with the price that it breaks it with."""
    own = list(draft_prices(draft))
    found = 0
    for mine in own:
        # Within the draft a pair is named once, by the lower price that is too high or equal.
        others = [other for other in own if _rank(other) < _rank(mine)]
        for other in (*others, *on_sale):
            if _breaks(mine, other):
                yield FieldError(mine.at, _sentence(mine, other)), other
                found += 1
                if found == CONFLICTS_MAX:
                    return


def draft_prices(draft: CampaignIn) -> Iterator[Priced]:
    """The draft's prices of group buys, each with its field."""
    for index, offer in enumerate(draft.offers):
        if offer.kind in ORDER:
            yield from _prices_of(f"offers[{index}]", offer, draft)


def _prices_of(at: str, offer: OfferIn, draft: CampaignIn) -> Iterator[Priced]:
    stores, starts, ends = frozenset(draft.stores), draft.starts_at_ms, draft.ends_at_ms
    whole = Window(starts, ends, stores)
    for index, step in enumerate(offer.steps):
        field = f"{at}.steps[{index}].price_fen"
        yield Priced(offer.sku_id, "crowd", step.price_fen, whole, field)
    if offer.regular_price_fen is not None:
        field = f"{at}.regular_price_fen"
        yield Priced(offer.sku_id, "regular", offer.regular_price_fen, whole, field)
    if offer.captain_price_fen is not None:
        field = f"{at}.captain_price_fen"
        yield Priced(offer.sku_id, "team", offer.captain_price_fen, whole, field)
    for index, price in enumerate(offer.prices):
        later = offer.prices[index + 1 : index + 2]
        window = Window(max(price.from_ms, starts), later[0].from_ms if later else ends, stores)
        yield Priced(
            offer.sku_id, offer.kind, price.price_fen, window, f"{at}.prices[{index}].price_fen"
        )


def _rank(priced: Priced) -> int:
    return ORDER.index(priced.kind)


def _breaks(mine: Priced, other: Priced) -> bool:
    if other.kind not in ORDER or mine.sku_id != other.sku_id or mine.kind == other.kind:
        return False
    if not mine.window.overlaps(other.window):
        return False
    if _rank(mine) < _rank(other):
        return mine.price_fen <= other.price_fen
    return mine.price_fen >= other.price_fen


def _sentence(mine: Priced, other: Priced) -> str:
    side = "above" if _rank(mine) < _rank(other) else "below"
    whose = (
        f"offer {other.offer_id} of “{other.campaign_name}” ({other.window.says()})"
        if other.offer_id
        else f"{other.at} of this campaign"
    )
    return (
        f"The {mine.kind} price {yuan(mine.price_fen)} is not {side} the {other.kind} price "
        f"{yuan(other.price_fen)} of {whose}."
    )


def as_members(others: Iterable[Priced]) -> list[dict[str, object]]:
    """The published prices among them for a problem document, each once."""
    named = dict.fromkeys(other for other in others if other.offer_id)
    return [
        {
            "offer_id": other.offer_id,
            "campaign_id": other.campaign_id,
            "campaign_name": other.campaign_name,
            "sku_id": other.sku_id,
            "kind": other.kind,
            "price_fen": other.price_fen,
            "stores": sorted(other.window.stores),
            "starts_at_ms": other.window.from_ms,
            "ends_at_ms": other.window.until_ms,
        }
        for other in named
    ]
