"""Campaigns on the wire; a draft is kept as it was sent."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from engine.ledger.splits import SplitPlan
from engine.money import FEN_MAX
from engine.offers import Audience

OFFERS_MAX = 200
PRICES_MAX = 20
LIMIT_MAX = 1_000_000
STORES_MAX = 2_000
STEPS_MAX = 10
SEATS_MAX = 1_000_000
DAYS_MAX = 90
UNITS_MAX = 1_000_000_000

Ms = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Fen = Annotated[int, msgspec.Meta(ge=1, le=FEN_MAX)]
Term = Annotated[int, msgspec.Meta(ge=1, le=86_400_000)]
TeamTerm = Annotated[int, msgspec.Meta(ge=1, le=72 * 3_600_000)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)]
Units = Annotated[int, msgspec.Meta(ge=1, le=UNITS_MAX)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Note = Annotated[str, msgspec.Meta(max_length=500)]
SkuId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
StoreId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Kind = Literal["flash", "regular", "team", "crowd"]
Late = Literal["refund", "retake", "seat", "other", "new"]
OnCancel = Literal["finish", "refund", "honour"]
Charging = Literal["pay_low_refund_if_failed", "pay_regular_return_difference"]


class _In(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Strict: an unknown field is a misunderstanding."""


class PriceIn(_In, frozen=True, kw_only=True):
    """A unit price in fen; the first holds from the start, each later one from its `from_ms`."""

    price_fen: Fen
    from_ms: Ms = 0


class StepIn(_In, frozen=True, kw_only=True):
    """A step of a crowd's ladder: its price holds once so many seats were paid."""

    seats: Annotated[int, msgspec.Meta(ge=1, le=SEATS_MAX)]
    price_fen: Fen


class OfferIn(_In, frozen=True, kw_only=True):
    """One SKU of the campaign, with its stock, prices and limits per order and per buyer.

    `late` None: the campaign's, for a team `new`, for a crowd `seat`. A crowd has no `prices`: its
    `steps` are its prices, and with `pay_regular_return_difference` its `regular_price_fen`.
    """

    sku_id: SkuId
    total: Units
    prices: Annotated[Sequence[PriceIn], msgspec.Meta(max_length=PRICES_MAX)] = ()
    kind: Kind = "flash"
    # `host`: the host of a live room opens it with a countdown, for `duration_ms`.
    launch: Literal["schedule", "host"] = "schedule"
    duration_ms: Term | None = None
    per_order_max: Annotated[int, msgspec.Meta(ge=1, le=99)] = 1
    per_buyer_max: Limit = 1
    audience: Audience = "all"  # `new`: also one such claim per buyer and campaign
    late: Late | None = None
    coupons: bool = False  # both always refused on group buys
    points: bool = False
    # Group buys
    ready_after_days: Annotated[int, msgspec.Meta(ge=0, le=DAYS_MAX)] = 0
    seat_qty: Annotated[int, msgspec.Meta(ge=1, le=99)] | None = None  # None: 1; a crowd's any
    closing_max_ms: Term | None = None  # None: ten minutes
    # Teams
    size: Literal[2, 3] | None = None
    term_ms: TeamTerm | None = None  # from opening, never past the campaign's end
    newcomers_only: bool = False  # those who join; the captain may be an old customer (老带新)
    captain_price_fen: Fen | None = None
    subsidy_max: Annotated[int, msgspec.Meta(ge=0, le=SEATS_MAX)] = 0
    # Crowds
    steps: Annotated[Sequence[StepIn], msgspec.Meta(max_length=STEPS_MAX)] = ()
    charging: Charging = "pay_low_refund_if_failed"
    regular_price_fen: Fen | None = None
    # Its difference also for team and regular orders of the SKU, paid before it formed.
    upgrade_guarantee: bool = False


class CampaignIn(_In, frozen=True, kw_only=True):
    """A campaign as HQ drafts it. The rules of prices, window and split are checked at submit."""

    name: Name
    starts_at_ms: Ms
    ends_at_ms: Ms
    offers: Annotated[Sequence[OfferIn], msgspec.Meta(min_length=1, max_length=OFFERS_MAX)]
    split_plan: SplitPlan
    per_campaign_max: Limit = 1
    hold_ms: Term | None = None  # None: the house's default
    pay_ms: Term | None = None
    late: Literal["refund", "retake"] = "refund"  # of flash and regular offers
    on_cancel: OnCancel = "finish"  # what becomes of open teams should it be cancelled
    stores: Annotated[Sequence[StoreId], msgspec.Meta(max_length=STORES_MAX)] = ()  # empty: all


class ReviewIn(_In, frozen=True, kw_only=True):
    """The reviewer's decision; a rejection needs a note that says why."""

    decision: Literal["approve", "reject"]
    note: Note = ""


class CancelIn(_In, frozen=True, kw_only=True):
    """Why the campaign is cancelled."""

    note: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """Who cancelled a campaign, when and why."""

    by: str
    at_ms: int
    note: str


class CampaignOut(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign for HQ. `state` follows the clock once it is scheduled: running, then ended.

    `on_cancel_says`: what a cancellation does to open teams, or has done, in a sentence.
    """

    id: str
    state: str
    version: int
    shard: int | None
    review_note: str
    created_by: str
    created_at_ms: int
    draft: CampaignIn
    on_cancel_says: str
    cancelled: Cancelled | None = None
    offers: tuple["PublishedOffer", ...] = ()


class PublishedOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer of the published version, with the ids that claims and seats name."""

    offer_id: str
    kind: str
    sku_id: str
    state: str
    audience: str
    total: int
    held: int
    sold: int
    price_ids: tuple[str, ...]
    captain_price_id: str | None = None
    crowd_id: str | None = None


class CampaignPage(msgspec.Struct, frozen=True):
    """One page, newest first; `next` goes into `after` for the next one."""

    campaigns: tuple[CampaignOut, ...]
    next: str | None
