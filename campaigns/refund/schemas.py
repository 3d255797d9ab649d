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
