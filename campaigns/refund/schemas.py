"""Refunds on the wire."""

from typing import Annotated

import msgspec

from campaigns.campaign.schemas import Fen
from campaigns.refund.models import Refund


class RefundIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`units` go back for their price. HQ may give `amount_fen` instead, or with them."""

    units: Annotated[int, msgspec.Meta(ge=0, le=99)] = 0
    amount_fen: Fen | None = None


class RefundView(msgspec.Struct, frozen=True, kw_only=True):
    """A refund on its way. `state`: due, done (the provider said so) or failed (we look at it)."""

    refund_id: str
    order_id: str | None
    cause: str
    state: str
    amount_fen: int
    units: int
    created_at_ms: int
    done_at_ms: int | None


class RefundList(msgspec.Struct, frozen=True):
    """All refunds of an order, oldest first; a payment has at most fifty."""

    refunds: tuple[RefundView, ...]


class RefundEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A refund as HQ sees it. `age_ms`: since it was asked for, until it was done or is now.

    `tries` counts the times the provider was asked, `last_error` is its last answer that was no
    success, `next_at_ms` when it is asked again. No order: the payment never bought anything.
    """

    refund_id: str
    state: str
    cause: str
    amount_fen: int
    units: int
    age_ms: int
    tries: int
    last_error: str
    next_at_ms: int | None
    created_at_ms: int
    done_at_ms: int | None
    requested_by: str
    payment_id: str
    order_id: str | None
    offer_id: str | None
    team_id: str | None
    buyer_id: str | None


class RefundCount(msgspec.Struct, frozen=True, kw_only=True):
    """Refunds in a state: how many, how much, how old the oldest is, and the most tries of one."""

    state: str
    refunds: int
    amount_fen: int
    oldest_ms: int
    tries_most: int


class RefundPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page, oldest first; `next` goes into `after` for the next one.

    `counts` by state over all that fit the filters (the state's own aside), on the first page;
    null, too, when counting would take too long: narrow the filters.
    `to_book`: of a decided crowd, orders whose refund or split is not written yet, and others that
    wait for the difference that it guarantees.
    """

    refunds: tuple[RefundEntry, ...]
    counts: tuple[RefundCount, ...] | None
    to_book: int
    next: str | None


def view_of(refund: Refund) -> RefundView:
    """The row without what is only ours: tries, leases, the provider's words."""
    return RefundView(
        refund_id=refund.id,
        order_id=refund.order_id,
        cause=refund.cause,
        state=refund.state,
        amount_fen=refund.amount_fen,
        units=refund.units,
        created_at_ms=refund.created_at_ms,
        done_at_ms=refund.done_at_ms,
    )
