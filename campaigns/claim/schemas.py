"""Claims on the wire."""

from typing import Annotated

import msgspec

QTY_MAX = 99

PriceId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+\Z")]


class ClaimIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """How many units, at the price that the page showed; the amount itself never comes from it."""

    qty: Annotated[int, msgspec.Meta(ge=1, le=QTY_MAX)]
    price_id: PriceId


class ClaimOut(msgspec.Struct, frozen=True, gc=False):
    """A held claim. Pay before `expires_at_ms`; `price_fen` is the price of one unit."""

    claim_id: str
    price_id: str
    price_fen: int
    expires_at_ms: int


class ClaimView(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a claim is now.

    `state`: held, paying, paid, released or returned. `ordered` becomes true once its order is
    committed in the database: only then is it safe whatever happens, and only then can it be paid.
    A seat names the team it is in now: a rescue or a late payment may have moved it.
    """

    claim_id: str
    state: str
    ordered: bool
    order_id: str | None
    offer_id: str
    qty: int
    units: int
    price_fen: int
    expires_at_ms: int
    pay_expires_at_ms: int | None = None
    order_state: str | None = None
    reason: str | None = None
    team_id: str | None = None


class CancelOut(msgspec.Struct, frozen=True):
    """The claim is released; its units are free for others."""

    claim_id: str
    state: str
