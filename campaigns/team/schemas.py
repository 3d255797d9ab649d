"""Seats and teams on the wire."""

from typing import Annotated

import msgspec

from campaigns.claim.schemas import QTY_MAX, PriceId

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
