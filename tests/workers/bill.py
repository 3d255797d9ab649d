"""The provider's bill as witness: our rows, our ledger and our stock held against it."""

from collections.abc import Sequence

from sqlalchemy import text

from campaigns.payment.provider import BillRow
from tests.workers.stage import Stage

_FACTS = text(
    """
    SELECT f.id, f.amount_fen, f.currency,
           EXISTS (SELECT 1 FROM orders o
                   WHERE o.payment_id = f.id AND o.refunded_fen < o.paid_fen),
           coalesce((SELECT sum(r.amount_fen) FROM refunds r
                     WHERE r.payment_id = f.id AND r.state = 'done'), 0)::bigint
    FROM payment_facts f
    """
)
_DONE = text("SELECT id, payment_id, amount_fen FROM refunds WHERE state = 'done'")
_SUMS = text(
    """
    SELECT account, sum(fen)::bigint FROM (
      SELECT destination AS account, amount_fen AS fen FROM postings
      UNION ALL SELECT source, -amount_fen FROM postings) moved GROUP BY account
    """
)
_OFFERS = text("SELECT id, shard, total, held, sold FROM offers WHERE state <> 'scheduled'")


async def check_rows(stage: Stage, bill: Sequence[BillRow]) -> None:
    """Each payment on the bill is one fact, each refund one row; an order stands or all is back."""
    payments = [row for row in bill if row.kind == "payment"]
    returns = [row for row in bill if row.kind == "refund"]
    async with stage.db.begin() as session:
        facts = (await session.execute(_FACTS)).all()
        done = (await session.execute(_DONE)).all()
        dead = await session.scalar(text("SELECT count(*) FROM dead_letters"))
    assert sorted((row[0], row[1], row[2]) for row in facts) == sorted(
        (one.transaction_id, one.amount_fen, one.currency) for one in payments
    )
    assert sorted((row[0], row[1], row[2]) for row in done) == sorted(
        (one.refund_no or "", one.transaction_id, one.amount_fen) for one in returns
    )
    assert len({one.refund_no for one in returns}) == len(returns)
    for fact_id, amount_fen, _, stands, refunded_fen in facts:
        assert stands != (refunded_fen == amount_fen), (fact_id, stands, refunded_fen)
        assert refunded_fen <= amount_fen
    assert dead == 0


async def check_ledger(stage: Stage, bill: Sequence[BillRow]) -> None:
    """What we hold at the provider is what the bill says; escrow is empty; all sums to zero."""
    held = sum(one.amount_fen if one.kind == "payment" else -one.amount_fen for one in bill)
    async with stage.db.begin() as session:
        sums = {row[0]: row[1] for row in await session.execute(_SUMS)}
    assert sums.get("clearing:sandbox", 0) == -held
    assert sums.get("escrow", 0) == 0
    assert sum(sums.values()) == 0


async def check_stock(stage: Stage) -> None:
    """Hot state and rows agree on every offer."""
    async with stage.db.begin() as session:
        offers = (await session.execute(_OFFERS)).all()
    for offer_id, shard, total, held, sold in offers:
        hot = await stage.inventory.offer_state(shard, offer_id)
        seen = tuple(int(hot[name]) for name in ("total", "held", "sold"))
        assert seen == (total, held, sold)
        assert int(hot["available"]) == total - held - sold
