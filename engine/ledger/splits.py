"""Who gets how many fen of an order: a pure function of amount, plan and credit.

An amount is divided by three cuts with two sides each: house | roles, commissions | store,
promoter | upline. The roles' side of the first cut is rounded down, so that the channel's cap
holds to the fen and HQ keeps the exact rest; the other two are largest remainder. Each side of
such a cut grows with the amount, which plain largest remainder over four roles does not: there
a refund could *raise* a role's share (docs/decisions: splits in two-sided cuts). Hence what a
refund takes back is never negative, and the path of partial refunds does not matter.
Two distribution levels at most: no third field exists.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.errors import BadInput
from engine.money import BPS, FEN_MAX, floor_share, largest_remainder


class SplitPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Shares in basis points of the paid amount; `level_two=False` switches the upline off.

    `cap_bps` is the most the payment channel lets us give away of one order.
    """

    promoter_bps: int
    upline_bps: int
    store_bps: int
    level_two: bool
    cap_bps: int


class Credit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is credited with an order; None means HQ keeps that share.

    `buyer_guide_id` is the guide the buyer is, if the buyer is one: nobody earns from their own
    order, on either level.
    """

    promoter_id: str | None = None
    upline_id: str | None = None
    store_id: str | None = None
    buyer_guide_id: str | None = None


class Shares(msgspec.Struct, frozen=True):
    """Fen by role, each at least 0."""

    promoter_fen: int
    upline_fen: int
    store_fen: int
    hq_fen: int

    @property
    def roles_fen(self) -> int:
        """What leaves the house."""
        return self.promoter_fen + self.upline_fen + self.store_fen

    @property
    def total_fen(self) -> int:
        """The amount that was split."""
        return self.roles_fen + self.hq_fen


def validate_plan(plan: SplitPlan) -> None:
    """Refuse a plan that cannot be carried out; BadInput `split_infeasible` says why."""
    for name in ("promoter_bps", "upline_bps", "store_bps", "cap_bps"):
        value = getattr(plan, name)
        if not 0 <= value <= BPS:
            raise _infeasible(f"{name} is {value}; it must be between 0 and {BPS}.")
    given = plan.promoter_bps + (plan.upline_bps if plan.level_two else 0) + plan.store_bps
    if given > plan.cap_bps:
        raise _infeasible(
            f"The shares add up to {given} basis points; at most {plan.cap_bps} may be given away."
        )


def _infeasible(detail: str) -> BadInput:
    return BadInput("split_infeasible", "This split plan cannot be carried out.", detail)


def _weights(plan: SplitPlan, credit: Credit) -> tuple[int, int, int]:
    """Basis points of promoter, upline and store, 0 for a role that nobody fills here."""
    promoter, upline, buyer = credit.promoter_id, credit.upline_id, credit.buyer_guide_id
    earns_one = promoter is not None and promoter != buyer
    earns_two = (
        plan.level_two
        and promoter is not None  # an upline is the upline of a promoter
        and upline is not None
        and upline not in (promoter, buyer)
    )
    return (
        plan.promoter_bps if earns_one else 0,
        plan.upline_bps if earns_two else 0,
        plan.store_bps if credit.store_id is not None else 0,
    )


def _cut(amount_fen: int, left: int, right: int) -> tuple[int, int]:
    """Two sides of `amount_fen` by largest remainder; nothing when nobody is on either side."""
    if left + right == 0:
        return 0, 0
    one, other = largest_remainder(amount_fen, (left, right))
    return one, other


def split(amount_fen: int, plan: SplitPlan, credit: Credit) -> Shares:
    """`amount_fen` (paid, less refunds) by role; the shares sum to it exactly.

    Raises BadInput for an infeasible plan, ValueError for an amount outside 0..FEN_MAX.
    """
    validate_plan(plan)
    if not 0 <= amount_fen <= FEN_MAX:
        raise ValueError(f"an amount is 0 to {FEN_MAX} fen, not {amount_fen}")
    promoter_bps, upline_bps, store_bps = _weights(plan, credit)
    roles_fen = floor_share(amount_fen, promoter_bps + upline_bps + store_bps)
    commission_fen, store_fen = _cut(roles_fen, promoter_bps + upline_bps, store_bps)
    promoter_fen, upline_fen = _cut(commission_fen, promoter_bps, upline_bps)
    return Shares(promoter_fen, upline_fen, store_fen, amount_fen - roles_fen)


def reversal(
    posted: Shares, paid_fen: int, refunded_fen: int, plan: SplitPlan, credit: Credit
) -> Shares:
    """What each role gives back: `posted` less `split(paid − refunded)`, never below 0.

    `posted` is what the roles hold of this order now, `refunded_fen` the sum of its refunds
    including this one. Path-independent: after any sequence of refunds the roles keep exactly
    the split of what is left. ValueError when more is refunded than was paid, or when `posted`
    is less than what should remain (then it is not this order's split).
    """
    if not 0 <= refunded_fen <= paid_fen:
        raise ValueError(f"refunds of {refunded_fen} fen on {paid_fen} fen paid")
    kept = split(paid_fen - refunded_fen, plan, credit)
    back = Shares(
        posted.promoter_fen - kept.promoter_fen,
        posted.upline_fen - kept.upline_fen,
        posted.store_fen - kept.store_fen,
        posted.hq_fen - kept.hq_fen,
    )
    if min(msgspec.structs.astuple(back)) < 0:
        raise ValueError(f"posted {posted} is less than what remains, {kept}")
    return back


class _Snapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    plan: SplitPlan
    credit: Credit
    why: dict[str, Any] = {}


def to_snapshot(
    plan: SplitPlan, credit: Credit, why: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """`orders.credit` as JSON: `{"plan": …, "credit": …, "why": …}`, `why` = rule and touches."""
    return {
        "plan": msgspec.structs.asdict(plan),
        "credit": msgspec.structs.asdict(credit),
        "why": dict(why or {}),
    }


def from_snapshot(snapshot: Mapping[str, Any]) -> tuple[SplitPlan, Credit]:
    """Plan and credit out of `orders.credit`; msgspec.ValidationError when it is not one."""
    read = msgspec.convert(dict(snapshot), _Snapshot)
    return read.plan, read.credit
