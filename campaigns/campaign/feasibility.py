"""Feasibility: what the payment channel and the SKUs' floor prices allow a campaign to promise.

Pure, as rules.py, which calls it. Money that is split must be split while the channel still holds
it: from the earliest payment until its team or crowd has ended, the goods are ready and the time
to refund is over. What the channel allows are settings, since each merchant's contract differs.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from campaigns.campaign.group_terms import CLOSING_MAX_MS
from campaigns.campaign.kind_rules import prices_of
from campaigns.campaign.schemas import CampaignIn, OfferIn
from campaigns.problems import FieldError
from engine.ledger.splits import SplitPlan
from engine.money import floor_share, yuan
from engine.settings import Settings

_DAY_MS = 86_400_000


class Channel(NamedTuple):
    """The channel's limits, and how long refunds may be asked for once the goods are there."""

    split_bps_max: int
    receivers_max: int
    freeze_ms: int
    refund_window_ms: int


def channel_of(settings: Settings) -> Channel:
    """What holds for this merchant."""
    return Channel(
        settings.channel_split_bps_max,
        settings.channel_receivers_max,
        settings.channel_freeze_ms,
        settings.refund_window_ms,
    )


def check_feasible(
    draft: CampaignIn, floors: Mapping[str, int], channel: Channel
) -> Iterator[FieldError]:
    """Everything that could not be carried out; `floors`: SKU → floor price in fen, where it has
    one."""
    yield from _split(draft.split_plan, channel)
    for index, offer in enumerate(draft.offers):
        at = f"offers[{index}]"
        floor_fen = floors.get(offer.sku_id)
        if floor_fen is not None:
            yield from _floor(at, offer, draft.split_plan, floor_fen)
        yield from _freeze(at, offer, draft, channel)


def _split(plan: SplitPlan, channel: Channel) -> Iterator[FieldError]:
    if plan.cap_bps > channel.split_bps_max:
        yield FieldError(
            "split_plan.cap_bps",
            f"The payment channel lets at most {channel.split_bps_max} basis points of an order "
            "be given away.",
        )
    receivers = sum(share > 0 for share in _shares(plan))
    if receivers > channel.receivers_max:
        yield FieldError(
            "split_plan",
            f"It has {receivers} receivers; the payment channel takes {channel.receivers_max}.",
        )


def _shares(plan: SplitPlan) -> tuple[int, int, int]:
    return plan.promoter_bps, plan.upline_bps if plan.level_two else 0, plan.store_bps


def _floor(at: str, offer: OfferIn, plan: SplitPlan, floor_fen: int) -> Iterator[FieldError]:
    """HQ keeps the floor price of each unit, whoever is credited."""
    given_bps = sum(_shares(plan))
    for field, price_fen in prices_of(offer):
        left_fen = price_fen - floor_share(price_fen, max(given_bps, 0))
        if left_fen < floor_fen:
            yield FieldError(
                f"{at}.{field}",
                f"{yuan(price_fen)} less all shares leaves {yuan(left_fen)}, which is below the "
                f"floor price {yuan(floor_fen)}.",
            )


def _freeze(at: str, offer: OfferIn, draft: CampaignIn, channel: Channel) -> Iterator[FieldError]:
    undecided_ms, field = _undecided(at, offer, draft)
    ready_ms = offer.ready_after_days * _DAY_MS
    if undecided_ms + ready_ms + channel.refund_window_ms <= channel.freeze_ms:
        return
    if ready_ms and undecided_ms + channel.refund_window_ms <= channel.freeze_ms:
        field = f"{at}.ready_after_days"
    days = _days(undecided_ms), _days(ready_ms), _days(channel.refund_window_ms)
    yield FieldError(
        field,
        f"The first payment of {at} would wait {days[0]} until its order stands, {days[1]} for "
        f"the goods and {days[2]} for refunds; the payment channel holds money for "
        f"{_days(channel.freeze_ms)}.",
    )


def _undecided(at: str, offer: OfferIn, draft: CampaignIn) -> tuple[int, str]:
    """(ms from the earliest payment until no difference or team moves its money any more, the
    field that says so)."""
    whole_ms = max(draft.ends_at_ms - draft.starts_at_ms, 0)
    if offer.kind == "crowd":
        return whole_ms + _closing(offer), "ends_at_ms"
    own = (0, f"{at}.ready_after_days")
    if offer.kind == "team":
        own = (min(offer.term_ms or 0, whole_ms) + _closing(offer), f"{at}.term_ms")
    promised = [
        whole_ms + _closing(crowd)
        for crowd in draft.offers
        if crowd.upgrade_guarantee and crowd.sku_id == offer.sku_id and offer.kind != "flash"
    ]
    return max([own, *((ms, "ends_at_ms") for ms in promised)])


def _closing(offer: OfferIn) -> int:
    return CLOSING_MAX_MS if offer.closing_max_ms is None else offer.closing_max_ms


def _days(ms: int) -> str:
    whole = -(-ms // (_DAY_MS // 10))  # tenths, rounded up
    text = f"{whole // 10}.{whole % 10}" if whole % 10 else str(whole // 10)
    return f"{text} {'day' if whole == 10 else 'days'}"
