"""Prices that are published and not over: what a new campaign or a SKU import must not break.

Group buys have a strict order (regular above team above crowd) per SKU, wherever windows and
stores overlap. A flash stands outside of it, but like all below the SKU's shelf and mall price.
"""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, and_, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.campaign.models import Campaign
from campaigns.offer.models import STORES_FIELD, Offer
from engine.offers import OfferConfig

# From the dearest: prices of one are above those of all that follow.
ORDER = ("regular", "team", "crowd")


class Window(NamedTuple):
    """When and where: `stores` empty means all."""

    from_ms: int
    until_ms: int
    stores: frozenset[str]

    def overlaps(self, other: "Window") -> bool:
        """Whether a buyer could meet both."""
        return (
            self.from_ms < other.until_ms
            and other.from_ms < self.until_ms
            and (not self.stores or not other.stores or bool(self.stores & other.stores))
        )

    def says(self) -> str:
        """`all stores, 2026-11-11 20:00 to 2026-11-11 22:00 UTC`"""
        named = sorted(self.stores)
        more = f" and {len(named) - 5} more" if len(named) > 5 else ""
        where = f"stores {', '.join(named[:5])}{more}" if named else "all stores"
        return f"{where}, {_minute(self.from_ms)} to {_minute(self.until_ms)} UTC"


class Priced(NamedTuple):
    """One price: of which `kind` in the order, when and where it holds, and whose it is.

    `at` is its field in a draft; published ones have their offer's and campaign's names instead.
    """

    sku_id: str
    kind: str
    price_fen: int
    window: Window
    at: str = ""
    offer_id: str = ""
    campaign_id: str = ""
    campaign_name: str = ""


async def prices_on_sale(
    session: AsyncSession, sku_ids: Collection[str], *, from_ms: int, until_ms: int
) -> list[Priced]:
    """Each price of published offers of these SKUs that may still be sold in this window."""
    starts, ends = _ms("starts_at_ms"), _ms("ends_at_ms")
    found = await session.execute(
        select(Offer, Campaign.name)
        .join(Campaign, Campaign.id == Offer.campaign_id)
        .where(
            Offer.sku_id.in_(sku_ids),
            or_(
                and_(Campaign.state != "cancelled", Offer.state.in_(("scheduled", "open"))),
                # A cancelled campaign sells nothing more but seats of teams that may finish.
                and_(
                    Campaign.state == "cancelled",
                    Offer.state.in_(("scheduled", "open", "finishing")),
                    Offer.kind.in_(("team", "crowd")),
                    func.coalesce(Offer.config["on_cancel"].astext, "finish") == "finish",
                ),
            ),
            ends > from_ms,
            starts < until_ms,
        )
        .order_by(Offer.id)
    )
    return [priced for offer, name in found for priced in _prices(offer, name)]


def _prices(offer: Offer, campaign_name: str) -> Iterator[Priced]:
    config = msgspec.convert(offer.config, OfferConfig)
    stores = frozenset(offer.config.get(STORES_FIELD, ()))
    starts, ends, team = config.starts_at_ms, config.ends_at_ms, config.team

    def priced(kind: str, fen: int, from_ms: int, until_ms: int) -> Priced:
        window = Window(max(from_ms, starts), until_ms, stores)
        return Priced(
            offer.sku_id, kind, fen, window, "", offer.id, offer.campaign_id, campaign_name
        )

    if team is not None and team.steps:
        for _, _, fen in team.steps:
            yield priced("crowd", fen, starts, ends)
        if team.charging == "regular":  # what its orders stand at when it fails
            yield priced("regular", config.prices[0][1], starts, ends)
        return
    for index, (_, fen, from_ms) in enumerate(config.prices):
        until = config.prices[index + 1][2] if index + 1 < len(config.prices) else ends
        yield priced(config.kind, fen, from_ms, until)
    if team is not None and team.captain_price is not None:
        yield priced("team", team.captain_price[1], starts, ends)


def _ms(field: str) -> Any:
    return cast(Offer.config[field].astext, BigInteger)


def _minute(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
