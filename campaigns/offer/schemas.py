"""Offers on the wire."""

from typing import Annotated

import msgspec

from campaigns.campaign.schemas import Note, Units
from engine.offers import Audience


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """What a buyer can hope for.

    `state`: `available`, `held` (all units are held; some may come back until
    `may_return_until_ms`), `sold_pending` (all are being paid; few will come back) or `gone`.
    `waiting` people are in the waiting list: while there are any, claims are told `sold_out`, and
    units that come free are held for them.
    `live` tells that the numbers are the hot store's, not those of the last settled orders.
    """

    state: str
    available: int
    held: int
    sold: int
    total: int
    waiting: int
    may_return_until_ms: int | None
    live: bool


class NextPrice(msgspec.Struct, frozen=True):
    """The price that follows, and from when."""

    price_fen: int
    from_ms: int


class TeamTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How teams of this offer work; `says` in a sentence. Whoever opens one claims with
    `captain_price_id` where there is one."""

    size: int
    seat_qty: int
    term_ms: int
    newcomers_only: bool
    captain_price_id: str | None
    captain_price_fen: int | None
    says: str


class LadderStep(msgspec.Struct, frozen=True, kw_only=True):
    """From so many paid seats on this price holds; a `reached` step stays so."""

    seats: int
    price_id: str
    price_fen: int
    reached: bool


class CrowdTerms(msgspec.Struct, frozen=True, kw_only=True):
    """The offer's crowd: how far it is, its ladder, and what is charged when.

    `state`: forming, reached, closing, formed or failed; None before it has opened. `seat_qty`
    None: as many units as ordered.
    """

    team_id: str
    state: str | None
    paid: int
    seat_qty: int | None
    ladder: tuple[LadderStep, ...]
    charging: str
    charging_says: str
    regular_price_fen: int | None


class OfferView(msgspec.Struct, frozen=True, kw_only=True):
    """An offer as buyers see it; claim it, or ask for a seat, with this `price_id`.

    `phase`: waiting (a host will launch it, for `launch_ms`; the window is not known yet),
    upcoming, open, ended or closed. `late` says in words what becomes of a payment
    that arrives after its claim came free, `audience_says` who may buy, `guarantee_says` what a
    crowd of the same item guarantees to who buys here (empty: nothing).
    """

    offer_id: str
    campaign_id: str
    campaign_name: str
    sku_id: str
    sku_name: str
    kind: str
    phase: str
    price_id: str
    price_fen: int
    next_price: NextPrice | None
    shelf_price_fen: int
    mall_price_fen: int
    starts_at_ms: int
    ends_at_ms: int
    launch_ms: int | None
    server_time_ms: int
    availability: Availability
    per_order_max: int
    per_buyer_max: int
    per_campaign_max: int
    hold_ms: int
    pay_ms: int
    audience: Audience
    audience_says: str
    late: str
    late_says: str
    guarantee_says: str
    stores: tuple[str, ...]  # empty: all
    ready_after_days: int | None  # of group buys: days from forming until the goods are there
    team: TeamTerms | None
    crowd: CrowdTerms | None


class OfferPage(msgspec.Struct, frozen=True):
    """One page, newest first; `next` goes into `after` for the next one."""

    offers: tuple[OfferView, ...]
    next: str | None


class RestockIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Units to add to an offer that is on sale."""

    units: Units
    reason: Note = ""


class CloseIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why no more claims are taken."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class CommandOut(msgspec.Struct, frozen=True, kw_only=True):
    """A decision that is committed. `in_effect`: the hot state has it now; else it soon will."""

    command_id: str
    offer_id: str
    kind: str
    units: int
    in_effect: bool
