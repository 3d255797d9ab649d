"""Orders on the wire."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order; all amounts in fen, all times in ms.

    `state`: open, paid, ready, fulfilled, completed, released, rejected, refunding or refunded.
    `seat`: `taken` or `left` of its team; empty for sales without one. `team_failed`: why its team
    failed, `deadline`, `empty` or `cancelled` (its campaign was); None while it did not.
    `final_price_fen`: what a unit costs since a crowd formed for less than was paid, its own or one
    that guarantees its difference; `difference_says` tells in words why money came back.
    """

    order_id: str
    claim_id: str
    offer_id: str
    campaign_id: str
    version: int
    state: str
    claim_state: str
    reason: str
    qty: int
    units: int
    price_id: str
    unit_price_fen: int
    amount_fen: int
    paid_fen: int
    refunded_fen: int
    claimed_at_ms: int
    expires_at_ms: int
    pay_expires_at_ms: int | None
    paid_at_ms: int | None
    team_id: str | None
    seat: str
    team_failed: str | None
    final_price_fen: int | None
    difference_says: str
    ready_after_days: int | None  # of group buys: from paying (or forming) until it is there
    # For HQ only; a customer's answer does not have these.
    buyer_id: str | UnsetType = UNSET
    payment_id: str | UnsetType | None = UNSET
    credit: dict[str, Any] | UnsetType = UNSET


class OrderPage(msgspec.Struct, frozen=True):
    """One page, newest first; `next` goes into `after` for the next one."""

    orders: tuple[OrderView, ...]
    next: str | None
