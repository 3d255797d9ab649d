"""The price guard against its definition: at every moment, in every store, the order is strict."""

from itertools import product
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.campaign.price_guard import conflicts, draft_prices
from campaigns.campaign.schemas import CampaignIn
from campaigns.offer.on_sale import ORDER, Priced
from tests.campaigns.server import crowd_offer, draft, team_offer

STORES = ("a", "b", "c")
SKUS = ("sku_tea", "sku_cup")
MOMENTS = range(13)

fens = st.integers(1, 4)


@st.composite
def offers(draw: st.DrawFn, starts: int, ends: int) -> dict[str, Any]:
    """An offer of any kind in this window; rules of other files may be broken."""
    sku = {"sku_id": draw(st.sampled_from((SKUS[0], *SKUS)))}
    kind = draw(st.sampled_from(("flash", *ORDER)))
    if kind == "crowd":
        steps = draw(st.lists(fens, min_size=1, max_size=2))
        regular = draw(st.none() | fens)
        ladder = crowd_offer(*[(2 + number, fen) for number, fen in enumerate(steps)])
        return {**ladder, **sku, "regular_price_fen": regular}
    later = sorted(draw(st.sets(st.integers(starts + 1, ends - 1), max_size=2)))
    prices = [{"price_fen": draw(fens), "from_ms": from_ms} for from_ms in (0, *later)]
    if kind == "team":
        captain = draw(st.none() | fens)
        return {**team_offer(prices=prices, captain_price_fen=captain), **sku}
    return {"kind": kind, "prices": prices, **sku}


@st.composite
def campaigns(draw: st.DrawFn) -> CampaignIn:
    starts = draw(st.integers(0, 8))
    ends = draw(st.integers(starts + 2, 12))
    sent = draw(st.lists(offers(starts, ends), min_size=1, max_size=2))
    stores = draw(st.lists(st.sampled_from(STORES), unique=True, max_size=2))
    filled = [draft(offer=offer)["offers"][0] for offer in sent]
    window = {"starts_at_ms": starts, "ends_at_ms": ends, "stores": stores}
    return msgspec.convert(draft(offers=filled, **window), CampaignIn)


Found = list[tuple[int, int]]  # place in the order, price


def _of_campaign(campaign: CampaignIn, moment: int, store: str, sku: str) -> Found:
    """The prices of a SKU that a buyer meets then and there, read off the draft itself."""
    if not campaign.starts_at_ms <= moment < campaign.ends_at_ms:
        return []
    if campaign.stores and store not in campaign.stores:
        return []
    found: Found = []
    for offer in campaign.offers:
        if offer.kind == "flash" or offer.sku_id != sku:
            continue
        found += [(2, step.price_fen) for step in offer.steps]
        found += [(0, fen) for fen in (offer.regular_price_fen,) if fen is not None]
        found += [(1, fen) for fen in (offer.captain_price_fen,) if fen is not None]
        begun = [price for price in offer.prices if price.from_ms <= moment]
        found += [(ORDER.index(offer.kind), begun[-1].price_fen)] if begun else []
    return found


def _of_published(prices: list[Priced], moment: int, store: str, sku: str) -> Found:
    return [
        (ORDER.index(one.kind), one.price_fen)
        for one in prices
        if one.sku_id == sku
        and one.window.from_ms <= moment < one.window.until_ms
        and (not one.window.stores or store in one.window.stores)
    ]


def _is_strict(mine: CampaignIn | None, on_sale: list[Priced]) -> bool:
    """Whether at no moment and in no store a dearer kind costs no more than a cheaper one."""
    for at in product(MOMENTS, STORES, SKUS):
        here = _of_published(on_sale, *at)
        if mine is not None:
            here += _of_campaign(mine, *at)
        for (place, fen), (other_place, other_fen) in product(here, here):
            if place < other_place and fen <= other_fen:
                return False
    return True


@settings(max_examples=300)
@given(campaigns(), campaigns())
def test_what_passes_is_in_order_and_what_is_not_is_refused(
    mine: CampaignIn, theirs: CampaignIn
) -> None:
    on_sale: list[Priced] = []
    for one in draft_prices(theirs):  # of those prices what could have been published
        published = one._replace(offer_id="ofr_x", at="")
        if _is_strict(None, [*on_sale, published]):
            on_sale.append(published)
    found = list(conflicts(mine, on_sale))
    assert (found == []) == _is_strict(mine, on_sale)
