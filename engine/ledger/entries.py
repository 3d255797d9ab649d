"""What the engine posts, as pure values: payment received, order split, refund done.

An `Entry` is one ledger transaction: a cause with a unique reference and its lines. The
builders here are the only ones that name references, so one cause has one reference.
"""

import msgspec

from engine.ledger import chart
from engine.ledger.chart import Account
from engine.ledger.splits import Credit, Shares, SplitPlan, reversal, split


class Line(msgspec.Struct, frozen=True):
    """`amount_fen` from source to destination. Zero is dropped when posted, below is refused."""

    source: Account
    destination: Account
    amount_fen: int


class Entry(msgspec.Struct, frozen=True):
    """One ledger transaction. The same reference always carries the same lines."""

    reference: str
    kind: str
    order_id: str | None
    at_ms: int
    lines: tuple[Line, ...]


class Standing(msgspec.Struct, frozen=True):
    """An order whose split was posted; `refunded_before_fen` = its refunds done before this one.

    Read both sums under the order's row lock: two refunds must not see the same "before". Of a
    team's order those done before its split count too: it was posted on what they had left.
    """

    plan: SplitPlan
    credit: Credit
    paid_fen: int
    refunded_before_fen: int


def payment_received(
    fact_id: str, provider: str, amount_fen: int, order_id: str | None, at_ms: int
) -> Entry:
    """A committed payment fact: clearing → escrow, once per fact."""
    line = Line(chart.clearing(provider), chart.ESCROW, amount_fen)
    return Entry(f"payment:{fact_id}", "payment", order_id, at_ms, (line,))


def order_split(
    order_id: str, amount_fen: int, plan: SplitPlan, credit: Credit, at_ms: int
) -> Entry:
    """An order that stands: escrow → promoter, upline, store, HQ; once per order."""
    lines = tuple(
        Line(chart.ESCROW, account, fen)
        for account, fen in _by_account(split(amount_fen, plan, credit), credit)
    )
    return Entry(f"split:{order_id}", "split", order_id, at_ms, lines)


def subsidy_seat(command_id: str, amount_fen: int, at_ms: int) -> Entry:
    """Seats of a team that the merchant filled: subsidy → HQ for their price, once per command.

    No customer paid it and no order stands for it, so nobody has a share of it.
    """
    line = Line(chart.SUBSIDY, chart.HQ, amount_fen)
    return Entry(f"subsidy:{command_id}", "subsidy", None, at_ms, (line,))


def subsidy_back(command_id: str, amount_fen: int, at_ms: int) -> Entry:
    """The seats of `subsidy_seat` were of a team that failed: HQ → subsidy, once per command."""
    line = Line(chart.HQ, chart.SUBSIDY, amount_fen)
    return Entry(f"subsidy_back:{command_id}", "subsidy_back", None, at_ms, (line,))


def refund_done(
    refund_id: str,
    provider: str,
    amount_fen: int,
    order_id: str | None,
    at_ms: int,
    standing: Standing | None,
) -> Entry:
    """The provider's success of a refund, once per refund.

    For a payment that never stood (`standing` None): escrow → clearing. For a standing order:
    what each role gives back → escrow, and escrow → clearing, so that escrow is left as it was.
    ValueError when the order's refunds would exceed what was paid.
    """
    out = Line(chart.ESCROW, chart.clearing(provider), amount_fen)
    lines = (*_given_back(amount_fen, standing), out) if standing is not None else (out,)
    return Entry(f"refund:{refund_id}", "refund", order_id, at_ms, lines)


def _given_back(amount_fen: int, standing: Standing) -> list[Line]:
    plan, credit, paid_fen = standing.plan, standing.credit, standing.paid_fen
    before_fen = standing.refunded_before_fen
    if not 0 <= before_fen <= before_fen + amount_fen <= paid_fen:
        raise ValueError(f"refund of {amount_fen} fen after {before_fen} of {paid_fen} fen paid")
    posted = split(paid_fen - before_fen, plan, credit)
    back = reversal(posted, paid_fen, before_fen + amount_fen, plan, credit)
    return [Line(account, chart.ESCROW, fen) for account, fen in _by_account(back, credit)]


def _by_account(shares: Shares, credit: Credit) -> list[tuple[Account, int]]:
    """Each role's account and fen, zeros left out: (promoter, upline, store, HQ)."""
    roles: list[tuple[Account, int]] = []
    if shares.promoter_fen and credit.promoter_id is not None:
        roles.append((chart.promoter_pending(credit.promoter_id), shares.promoter_fen))
    if shares.upline_fen and credit.upline_id is not None:
        roles.append((chart.promoter_pending(credit.upline_id), shares.upline_fen))
    if shares.store_fen and credit.store_id is not None:
        roles.append((chart.store(credit.store_id), shares.store_fen))
    if shares.hq_fen:
        roles.append((chart.HQ, shares.hq_fen))
    return roles
