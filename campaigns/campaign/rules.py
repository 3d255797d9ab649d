"""The rules a campaign must keep before it can be reviewed and published: all broken ones at once.

Pure: draft, the SKUs' reference prices, what is on sale, limits and the clock in; field errors
out. What each kind must say is in kind_rules.py, the order of prices in price_guard.py.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from campaigns.campaign import price_guard
from campaigns.campaign.feasibility import Channel, channel_of, check_feasible
from campaigns.campaign.kind_rules import TeamTerms, check_guarantees, check_kind, prices_of
from campaigns.campaign.schemas import CampaignIn, OfferIn
from campaigns.offer.on_sale import Priced
from campaigns.problems import FieldError
from engine.errors import BadInput, Unprocessable
from engine.ledger.splits import validate_plan
from engine.money import yuan
from engine.settings import Settings


class Reference(NamedTuple):
    """A SKU's shelf, mall and floor price, in fen; not every SKU has the last."""

    shelf_price_fen: int
    mall_price_fen: int
    floor_price_fen: int | None = None


class Terms(NamedTuple):
    """How long holds, payments and teams may last, in ms; and what the payment channel allows."""

    hold_min_ms: int
    hold_max_ms: int
    pay_min_ms: int
    pay_max_ms: int
    team: TeamTerms
    channel: Channel = channel_of(Settings())


_HOUR_MS = 3_600_000
PRODUCTION = Terms(
    *(60_000, 120_000, 120_000, 900_000), TeamTerms(_HOUR_MS, 72 * _HOUR_MS, 60_000, _HOUR_MS)
)
# Demos and tests do not wait two minutes for a lapsed hold, nor an hour for a team.
DEVELOPMENT = Terms(*(100, 120_000, 100, 900_000), TeamTerms(100, 72 * _HOUR_MS, 100, _HOUR_MS))


def terms_of(settings: Settings) -> Terms:
    """What holds in this mode."""
    terms = DEVELOPMENT if settings.mode == "development" else PRODUCTION
    return terms._replace(channel=channel_of(settings))


def check(
    draft: CampaignIn,
    skus: Mapping[str, Reference],
    stores: Collection[str],
    on_sale: Sequence[Priced],
    terms: Terms,
    now_ms: int,
) -> None:
    """Unprocessable `campaign_invalid` with every broken rule, or nothing.

    `stores`: those of the draft that exist; `on_sale`: published prices of its SKUs. `conflicts`
    names the published offers whose price order it breaks.
    """
    broken = list(price_guard.conflicts(draft, on_sale))
    errors = [
        *_window(draft, now_ms),
        *_terms(draft, terms),
        *_split(draft),
        *_stores(draft, stores),
        *(
            error
            for index, offer in enumerate(draft.offers)
            for error in _offer(f"offers[{index}]", offer, draft, skus, terms)
        ),
        *check_guarantees(draft.offers),
        *check_feasible(draft, _floors(skus), terms.channel),
        *(error for error, _ in broken),
    ]
    if errors:
        raise Unprocessable(
            "campaign_invalid",
            "This campaign breaks a rule.",
            " ".join(f"{error.field}: {error.message}" for error in errors[:5])
            + " Nothing was changed.",
            errors=errors,
            conflicts=price_guard.as_members(other for _, other in broken),
        )


def _floors(skus: Mapping[str, Reference]) -> dict[str, int]:
    return {
        sku_id: one.floor_price_fen
        for sku_id, one in skus.items()
        if one.floor_price_fen is not None
    }


def _window(draft: CampaignIn, now_ms: int) -> Iterator[FieldError]:
    if draft.ends_at_ms <= draft.starts_at_ms:
        yield FieldError("ends_at_ms", "The end must be after the start.")
    elif draft.ends_at_ms <= now_ms:
        yield FieldError("ends_at_ms", "The end is in the past.")


def _terms(draft: CampaignIn, terms: Terms) -> Iterator[FieldError]:
    for field, value, least, most in (
        ("hold_ms", draft.hold_ms, terms.hold_min_ms, terms.hold_max_ms),
        ("pay_ms", draft.pay_ms, terms.pay_min_ms, terms.pay_max_ms),
    ):
        if value is not None and not least <= value <= most:
            yield FieldError(field, f"It must be between {least} and {most} ms.")


def _split(draft: CampaignIn) -> Iterator[FieldError]:
    try:
        validate_plan(draft.split_plan)
    except BadInput as error:
        yield FieldError("split_plan", error.detail or error.title)


def _stores(draft: CampaignIn, known: Collection[str]) -> Iterator[FieldError]:
    for index, store_id in enumerate(draft.stores):
        if store_id not in known:
            yield FieldError(f"stores[{index}]", f"There is no store {store_id}.")
        elif store_id in draft.stores[:index]:
            yield FieldError(f"stores[{index}]", f"{store_id} is in it twice.")


def _offer(
    at: str,
    offer: OfferIn,
    draft: CampaignIn,
    skus: Mapping[str, Reference],
    terms: Terms,
) -> Iterator[FieldError]:
    if offer.per_order_max > offer.per_buyer_max:
        yield FieldError(f"{at}.per_order_max", "It is above what one buyer may have.")
    if offer.per_order_max > draft.per_campaign_max:
        yield FieldError(f"{at}.per_order_max", "It is above the campaign's limit per buyer.")
    yield from _intervals(at, offer, draft)
    yield from _launch(at, offer, draft)
    yield from check_kind(at, offer, terms.team)
    reference = skus.get(offer.sku_id)
    if reference is None:
        yield FieldError(f"{at}.sku_id", f"There is no SKU {offer.sku_id}.")
        return
    # Every price of every kind stands below both reference prices.
    least = min(reference.shelf_price_fen, reference.mall_price_fen)
    which = "shelf" if reference.shelf_price_fen == least else "mall"
    for field, price_fen in prices_of(offer):
        if price_fen >= least:
            yield FieldError(
                f"{at}.{field}",
                f"{yuan(price_fen)} is not below the {which} price {yuan(least)}.",
            )


def _launch(at: str, offer: OfferIn, draft: CampaignIn) -> Iterator[FieldError]:
    """A flash that its host opens lasts a stated time, at one price; others have the window."""
    if offer.launch == "schedule":
        if offer.duration_ms is not None and offer.kind == "flash":
            yield FieldError(f"{at}.duration_ms", "Only an offer that a host launches has one.")
        return
    if offer.duration_ms is None:
        yield FieldError(f"{at}.duration_ms", "Say how long it is open once it is launched.")
    elif offer.duration_ms > draft.ends_at_ms - draft.starts_at_ms:
        yield FieldError(f"{at}.duration_ms", "It is longer than the campaign.")
    if len(offer.prices) > 1:
        yield FieldError(f"{at}.prices", "An offer that a host launches has one price.")


def _intervals(at: str, offer: OfferIn, draft: CampaignIn) -> Iterator[FieldError]:
    """Price intervals: the first from the start, the others in order and inside the window."""
    if not offer.prices:
        return
    first, *later = offer.prices
    if first.from_ms > draft.starts_at_ms:
        yield FieldError(f"{at}.prices[0].from_ms", "No price would hold at the start.")
    before = max(first.from_ms, draft.starts_at_ms)
    for index, price in enumerate(later, 1):
        if price.from_ms <= before:
            yield FieldError(
                f"{at}.prices[{index}].from_ms", "Each price must begin after the one before it."
            )
        elif price.from_ms >= draft.ends_at_ms:
            yield FieldError(f"{at}.prices[{index}].from_ms", "It begins after the end.")
        before = max(before, price.from_ms)
