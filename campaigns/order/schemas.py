"""Orders on the wire."""

from typing import Any

import msgspec


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order as its buyer sees it; all amounts in fen, all times in ms.

    `state`: open, paid, ready, fulfilled, completed, released, rejected, refunding or refunded.
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


class OrderForHq(OrderView, frozen=True, kw_only=True):
    """The same with its buyer, its payment, and who is credited and why."""

    buyer_id: str
    payment_id: str | None
    credit: dict[str, Any]


class OrderPage(msgspec.Struct, frozen=True):
    """One page, newest first; `next` goes into `after` for the next one."""

    orders: tuple[OrderForHq | OrderView, ...]
    next: str | None
