"""What a formed crowd owes its own orders and those it guarantees, and who may leave: part of M9.

An order has at most one difference. What is left of its payment is then exactly the units left at
the final price, in whatever order refunds and difference were asked for: this holds to the fen as
long as nobody but the buyer asked for refunds, since only HQ may name an amount.
"""

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncSession

from engine.audit.report import Finding
from engine.audit.sources import GRACE_MS, pages

_ORDERS = """
WITH promised AS (
  SELECT f.campaign_id, f.sku_id, t.decided_at_ms, t.guarantee_due,
         (f.config -> 'team' -> 'steps' -> (t.step - 1) ->> 2)::bigint AS final_fen
  FROM teams t JOIN offers f ON f.id = t.offer_id
  WHERE t.kind = 'crowd' AND t.state = 'formed' AND f.config -> 'upgrade_guarantee' = 'true'
), intents AS (
  SELECT r.payment_id, sum(r.amount_fen)::bigint AS fen, sum(r.units)::bigint AS units,
         count(*) FILTER (WHERE r.cause IN ('crowd_difference', 'upgrade_guarantee')) AS n,
         count(*) FILTER (WHERE r.cause = 'upgrade_guarantee') AS guaranteed,
         coalesce(sum(r.amount_fen) FILTER
           (WHERE r.cause IN ('crowd_difference', 'upgrade_guarantee')), 0)::bigint AS difference,
         count(*) FILTER (WHERE r.cause NOT IN ('crowd_difference', 'upgrade_guarantee')
           AND r.requested_by <> o.buyer_id) AS by_others
  FROM refunds r JOIN orders o ON o.payment_id = r.payment_id GROUP BY r.payment_id
)
SELECT o.id, o.qty, o.paid_fen, o.unit_price_fen, o.final_price_fen, p.final_fen, p.guarantee_due,
       coalesce(i.fen, 0) AS fen, coalesce(i.units, 0) AS units, coalesce(i.n, 0) AS n,
       coalesce(i.guaranteed, 0) AS guaranteed, coalesce(i.difference, 0) AS difference,
       coalesce(i.by_others, 0) AS by_others
FROM orders o JOIN offers f ON f.id = o.offer_id
LEFT JOIN promised p ON p.campaign_id = f.campaign_id AND p.sku_id = f.sku_id
  AND f.kind IN ('regular', 'team') AND o.paid_at_ms <= p.decided_at_ms
  AND o.unit_price_fen > p.final_fen AND (o.team_id IS NULL OR (o.seat = 'taken' AND EXISTS
    (SELECT 1 FROM teams t WHERE t.id = o.team_id AND t.state = 'formed')))
LEFT JOIN intents i ON i.payment_id = o.payment_id
WHERE o.payment_id IS NOT NULL
  AND (p.final_fen IS NOT NULL OR o.final_price_fen IS NOT NULL OR i.n > 0)
"""


_LEFT = """
SELECT r.id, r.created_at_ms, t.id AS team_id, t.reached_at_ms, t.decided_at_ms
FROM refunds r JOIN orders o ON o.payment_id = r.payment_id JOIN teams t ON t.id = o.team_id
WHERE t.kind = 'crowd' AND t.reached_at_ms IS NOT NULL AND r.requested_by = o.buyer_id
  AND r.cause LIKE 'after_sale:%'
"""


async def asked_in_time(session: AsyncSession, finding: Finding) -> None:
    """No buyer asked for a refund while their crowd was reached and not decided."""
    async for page in pages(session, _LEFT):
        for row in page:
            at_ms, decided_at_ms = row["created_at_ms"], row["decided_at_ms"]
            before = at_ms <= row["reached_at_ms"] + GRACE_MS
            after = decided_at_ms is not None and at_ms >= decided_at_ms - GRACE_MS
            text = f"refund {row['id']} was asked for at {at_ms} by a buyer of crowd"
            since = f"{row['team_id']}, reached at {row['reached_at_ms']}"
            finding.expect(before or after, f"{text} {since}")


async def differences(session: AsyncSession, finding: Finding) -> None:
    """Each covered order has its difference, once, and no other order has one."""
    async for page in pages(session, _ORDERS):
        for row in page:
            why = _wrong(row)
            finding.expect(not why, f"order {row['id']}: {why}")


def _wrong(row: RowMapping) -> str:
    final_fen, got_fen = row["final_price_fen"], row["difference"]
    if row["n"] > 1:
        return f"it has {row['n']} differences"
    if row["guaranteed"] and row["final_fen"] is None:
        return "it has a difference that no crowd guarantees"
    if row["guarantee_due"] is False and final_fen != row["final_fen"]:
        return f"its final price is {final_fen}, its crowd guarantees {row['final_fen']}"
    if final_fen is None:
        return f"it has {got_fen} fen of difference and no final price" if row["n"] else ""
    most_fen = row["qty"] * (row["unit_price_fen"] - final_fen)
    if got_fen > most_fen:
        return f"it has {got_fen} fen of difference, at most {most_fen} are due"
    left_fen, due_fen = row["paid_fen"] - row["fen"], (row["qty"] - row["units"]) * final_fen
    if not row["by_others"] and left_fen != due_fen:
        return f"{left_fen} fen are left of it, its units at {final_fen} fen are {due_fen}"
    return ""
