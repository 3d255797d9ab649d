"""Refund requests after a sale: who may ask, for how much, once per request.

The order's row is locked while the sum of its intents is read, so that any number of requests
at once never ask for more than was paid. A row is an intent and the promise that it is carried
out: workers/refunds.py sends it until the provider says done, done.py books that.
"""

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.order.models import Order
from campaigns.refund.done import give_units_back, record_refund_done
from campaigns.refund.models import Refund
from campaigns.team.models import UNDECIDED, Team
from engine.db import Database
from engine.errors import BadInput, Conflict, Missing, Unprocessable
from engine.ids import new_id, now_ms
from engine.models import AuditRow

__all__ = ["give_units_back", "record_refund_done", "request_refund"]

# The channel's own limit of partial refunds of one payment.
REFUNDS_PER_PAYMENT_MAX: Final = 50
# Stock can come back until the goods leave; `refunding` still has other refunds under way.
REFUNDABLE: Final = frozenset({"paid", "ready", "refunding"})
HANDED_OVER: Final = frozenset({"fulfilled", "completed"})


async def request_refund(
    db: Database,
    *,
    order_id: str,
    request_id: str,
    units: int,
    amount_fen: int | None,
    actor: str,
    buyer_id: str | None = None,
    asked_at_ms: int | None = None,
) -> Refund:
    """The intent of this request: `units` go back for their price, or for `amount_fen`.

    `units` 0 with an amount is a price-only refund. With `buyer_id` the order must be theirs and
    the amount is ours to say. `asked_at_ms`: when, if not now. The same request again gives the
    same row, with other content Unprocessable `request_reused`. Missing `order_not_found`;
    BadInput `refund_of_nothing`, `amount_not_yours`; Conflict `not_refundable`, `crowd_reached`
    (buyers only: HQ may), `handed_over` (HQ may give an amount), `refund_exceeds_units`,
    `refund_exceeds_paid`, `too_many_refunds`.
    """
    if units < 0 or (amount_fen is not None and amount_fen <= 0):
        raise BadInput("refund_of_nothing", "A refund needs units or an amount above zero")
    if buyer_id is not None and amount_fen is not None:
        raise amount_not_yours()
    if units == 0 and amount_fen is None:
        raise BadInput("refund_of_nothing", "A refund needs units or an amount above zero")
    async with db.begin() as session:
        order = await session.scalar(select(Order).where(Order.id == order_id).with_for_update())
        if order is None or (buyer_id is not None and order.buyer_id != buyer_id):
            raise Missing("order_not_found", "There is no such order of yours")
        if order.payment_id is None:
            raise _not_refundable(order)
        known = await _intents(session, order.payment_id)
        cause = cause_of(request_id)
        for refund in known:
            if refund.cause == cause:
                return _same(refund, order, units, amount_fen)
        if buyer_id is not None:
            await _check_crowd(session, order)
        if order.state in HANDED_OVER and (units or buyer_id is not None):
            raise _handed_over(buyer_id is None)
        amount = _check(order, known, units, amount_fen)
        refund = _insert(session, order, cause, units, amount, actor)
        refund.created_at_ms = asked_at_ms or refund.created_at_ms
        if sum(one.amount_fen for one in known) + amount == order.paid_fen:
            order.state = "refunding"
        if buyer_id is None:
            _write_audit(session, refund)
        return refund


def amount_not_yours() -> BadInput:
    """Only HQ names amounts."""
    return BadInput("amount_not_yours", "The amount follows from the units; leave it out")


async def _intents(session: AsyncSession, payment_id: str) -> list[Refund]:
    rows = await session.scalars(select(Refund).where(Refund.payment_id == payment_id))
    return list(rows)


async def _check_crowd(session: AsyncSession, order: Order) -> None:
    """Everybody's price hangs on a reached crowd: nobody leaves it before its end.

    By the rows, which may be behind: of_buyers.py has asked the hot store before.
    """
    if order.team_id is None or order.seat != "taken":
        return
    team = await session.get(Team, order.team_id)
    if team is not None and team.kind == "crowd" and team.step > 0 and team.state in UNDECIDED:
        raise crowd_reached(team.deadline_ms)


def crowd_reached(deadline_ms: int) -> Conflict:
    """A buyer wants to leave a crowd that has been reached."""
    return Conflict(
        "crowd_reached",
        "This crowd has been reached: its seats stand until the end",
        "Nothing was changed. Ask again once it is formed, or ask the shop.",
        deadline_ms=deadline_ms,
    )


def cause_of(request_id: str) -> str:
    """The cause of what this request asks for."""
    return f"after_sale:{request_id}"


def _not_refundable(order: Order) -> Conflict:
    return Conflict(
        "not_refundable",
        "This order cannot be refunded",
        f"It is {order.state}; only a paid order has money to give back.",
        state=order.state,
    )


def _handed_over(by_hq: bool) -> Conflict:
    """Goods that left the store do not go back on sale by a refund; only money goes back."""
    return Conflict(
        "handed_over",
        "This order was handed over",
        "Nothing was changed. "
        + ("Give the amount, without units." if by_hq else "Bring the goods to the store."),
    )


def _same(refund: Refund, order: Order, units: int, amount_fen: int | None) -> Refund:
    """The row of a repeated request; an amount left out matches whatever it came to."""
    if refund.units == units and amount_fen in (None, refund.amount_fen):
        return refund
    raise Unprocessable(
        "request_reused",
        "This request id already stands for another refund",
        "Nothing was changed. Use a new id for a new request.",
        refund_id=refund.id,
        order_id=order.id,
    )


def _check(order: Order, known: list[Refund], units: int, amount_fen: int | None) -> int:
    """The amount in fen, if it may be asked for now."""
    units_left = order.qty - sum(one.units for one in known)
    fen_left = order.paid_fen - sum(one.amount_fen for one in known)
    if order.state not in REFUNDABLE | HANDED_OVER:
        raise _not_refundable(order)
    if units > units_left:
        raise Conflict(
            "refund_exceeds_units",
            "So many units are not left to give back",
            f"{units_left} of {order.qty} are left. Nothing was changed.",
            units_left=units_left,
        )
    amount = _worth(order, units, units_left, fen_left) if amount_fen is None else amount_fen
    if amount > fen_left or amount == 0:
        raise Conflict(
            "refund_exceeds_paid",
            "So much is not left to refund",
            f"{fen_left} of {order.paid_fen} fen are left. Nothing was changed.",
            fen_left=fen_left,
        )
    # The refund of a team that fails takes its members' units back; nobody's without any money.
    waits = order.team_id is not None and order.split_fen is None
    if waits and amount == fen_left and units < units_left:
        raise Conflict(
            "units_stay",
            "All the money of a seat goes back only with its units",
            f"Its team is not formed yet, and {units_left - units} units would be nobody's. "
            "Nothing was changed. Ask for all units.",
            units_left=units_left,
        )
    if len(known) >= REFUNDS_PER_PAYMENT_MAX:
        raise Conflict(
            "too_many_refunds",
            "This payment has as many refunds as the payment channel allows",
            "Settle the rest outside the payment channel.",
        )
    return amount


def _worth(order: Order, units: int, units_left: int, fen_left: int) -> int:
    """What `units` bring, in fen; an earlier price-only refund may have taken from it.

    Once a crowd's difference went back, a unit is worth the final price, and the units that stay
    keep theirs: paid - refunded - units left * final price.
    """
    if order.final_price_fen is None:
        return min(order.unit_price_fen * units, fen_left)
    stays_fen = (units_left - units) * order.final_price_fen
    return max(0, min(order.final_price_fen * units, fen_left - stays_fen))


def _insert(
    session: AsyncSession, order: Order, cause: str, units: int, amount_fen: int, actor: str
) -> Refund:
    now = now_ms()
    assert order.payment_id is not None
    refund = Refund(
        id=new_id("rfd"),
        payment_id=order.payment_id,
        order_id=order.id,
        claim_id=order.claim_id,
        shard=order.shard,
        cause=cause,
        amount_fen=amount_fen,
        units=units,
        state="due",
        requested_by=actor,
        created_at_ms=now,
        next_at_ms=now,
    )
    session.add(refund)
    return refund


def _write_audit(session: AsyncSession, refund: Refund) -> None:
    session.add(
        AuditRow(
            at_ms=refund.created_at_ms,
            actor=refund.requested_by,
            action="refund.request",
            subject=f"order:{refund.order_id}",
            detail={
                "refund_id": refund.id,
                "cause": refund.cause,
                "amount_fen": refund.amount_fen,
                "units": refund.units,
            },
        )
    )
