"""Seats and teams on the wire."""

from typing import Annotated

import msgspec

from campaigns.claim.schemas import QTY_MAX, PriceId
from campaigns.offer.schemas import LadderStep

TeamId = Annotated[str, msgspec.Meta(max_length=80, pattern=r"^[A-Za-z0-9_-]*\Z")]


class SeatIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A seat at the price that the page showed.

    `team_id` empty: opens a team, or takes a seat of the offer's crowd. `consent`: may be moved to
    another team of this offer when this one would fail, or the seat is gone when they pay late.
    """

    qty: Annotated[int, msgspec.Meta(ge=1, le=QTY_MAX)]
    price_id: PriceId
    team_id: TeamId = ""
    consent: bool = False


class SeatOut(msgspec.Struct, frozen=True, gc=False):
    """A held seat is a held claim: pay before `expires_at_ms`, never past the team's deadline."""

    claim_id: str
    team_id: str
    price_id: str
    price_fen: int
    expires_at_ms: int


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Someone who sits in a team, by nickname only. `paid` false: their seat is held."""

    nickname: str
    captain: bool
    paid: bool
    me: bool


class TeamView(msgspec.Struct, frozen=True, kw_only=True):
    """A team as its page shows it; join it with this `price_id`.

    `state`: opening (its captain has not paid), forming, reached (a crowd), closing (its time is
    up, payments under way are being settled), formed or failed. `paid` are seats, `pending` those
    held or being paid, `subsidy` those that the merchant filled. `stock_for_missing`: there are
    units for the missing seats now. `my_claim_id`: the asker's own seat. A crowd has no members
    here and no size, but a `ladder`. `live` false: as last settled. `why` it was decided: full,
    reached, deadline, empty or cancelled; else "". `cancelled`: its campaign was; what that does
    to an open team is `cancel_says`, in a sentence, beforehand too.
    """

    team_id: str
    offer_id: str
    kind: str
    state: str
    sku_id: str
    sku_name: str
    size: int | None
    seat_qty: int | None
    paid: int
    pending: int
    subsidy: int
    seats_left: int | None
    stock_for_missing: bool
    newcomers_only: bool
    captain: str | None
    members: tuple[Member, ...]
    my_claim_id: str | None
    price_id: str
    price_fen: int
    ladder: tuple[LadderStep, ...]
    deadline_ms: int
    server_time_ms: int
    ready_after_days: int
    late_says: str
    guarantee_says: str
    says: str
    why: str
    cancelled: bool
    cancel_says: str
    live: bool


class OpenTeam(msgspec.Struct, frozen=True, kw_only=True):
    """A team that can be joined. `linked`: of the captain whose link was followed."""

    team_id: str
    captain: str
    linked: bool
    same_store: bool
    size: int
    seats_left: int
    deadline_ms: int


class OpenTeams(msgspec.Struct, frozen=True, kw_only=True):
    """Open teams in the order to show them. `stock_for_one`: there are units for one more seat;
    `stock_for_new`: for all seats of a new team."""

    teams: tuple[OpenTeam, ...]
    stock_for_one: bool
    stock_for_new: bool
    server_time_ms: int


class MyTeam(msgspec.Struct, frozen=True, kw_only=True):
    """A seat of mine and what its team became, and `why`; `seat`: taken or left."""

    team_id: str
    offer_id: str
    sku_name: str
    kind: str
    state: str
    why: str
    size: int | None
    paid: int
    subsidy: int
    deadline_ms: int
    captain: bool
    seat: str
    claim_id: str
    order_id: str
    order_state: str
    paid_fen: int
    refunded_fen: int


class MyTeams(msgspec.Struct, frozen=True):
    """One page, newest first; `next` goes into `after` for the next one."""

    teams: tuple[MyTeam, ...]
    next: str | None


class SubsidyIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So many free seats of a team that the merchant fills, and why."""

    seats: Annotated[int, msgspec.Meta(ge=1, le=2)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class TeamProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A decided team's money: `to_book` orders wait for their split or refund, or for the
    difference that a crowd guarantees; of its members' refunds for its failing or its differences
    `due` ones are not with the provider yet, the oldest for `oldest_due_ms`, after at most
    `tries_max` tries."""

    team_id: str
    state: str
    why: str
    decided_at_ms: int | None
    booked_at_ms: int | None
    to_book: int
    refunds_due: int
    refunds_done: int
    due_fen: int
    done_fen: int
    oldest_due_ms: int | None
    tries_max: int
