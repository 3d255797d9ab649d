"""I3 and I9: stock, windows and prices, as PostgreSQL's orders say."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.audit.report import Finding, LawResult
from engine.audit.sources import Given, pages, snapshot
from engine.audit.team_facts import tell

_LIVE = "claim_state IN ('held', 'paying', 'paid')"
_COUNTERS = f"""
SELECT f.id, f.total, f.held, f.sold, coalesce(o.held, 0) AS live_held,
       coalesce(o.sold, 0) AS live_sold, coalesce(c.units, 0) AS granted
FROM offers f
LEFT JOIN (SELECT offer_id, sum(units) FILTER (WHERE claim_state <> 'paid') AS held,
                  sum(units) FILTER (WHERE claim_state = 'paid') AS sold
           FROM orders WHERE {_LIVE} AND state <> 'rejected' GROUP BY offer_id) o
       ON o.offer_id = f.id
LEFT JOIN (SELECT offer_id, sum(units) AS units FROM offer_commands
           WHERE kind IN ('open', 'restock') AND applied_seq IS NOT NULL GROUP BY offer_id) c
       ON c.offer_id = f.id
"""
_SILENT = """
SELECT o.id FROM orders o LEFT JOIN incidents i ON i.cause = 'guard:' || o.claim_id
WHERE o.state = 'rejected' AND o.reason = 'guard' AND i.cause IS NULL
"""
_OPEN_GUARDS = "SELECT cause FROM incidents WHERE kind = 'guard' AND resolved_at_ms IS NULL"
_GUARDS = text(
    "SELECT count(*) FROM pg_constraint WHERE conrelid = 'offers'::regclass"
    " AND conname IN ('offers_guard', 'offers_not_negative') AND convalidated"
)


async def i3_rows_within_total(given: Given) -> LawResult:
    """Live orders ≤ total, the guarded counters are their sum, and no guard fired unseen."""
    finding = Finding("I3", "live orders stay within each offer's total; the SQL guard is silent")
    async with snapshot(given.db) as session:
        async for page in pages(session, _COUNTERS):
            for row in page:
                live = row["live_held"] + row["live_sold"]
                text_ = f"offer {row['id']}: {live} units in live orders, total {row['total']}"
                finding.expect(live <= row["total"], text_)
                counted = (row["held"], row["sold"], row["total"])
                found = (row["live_held"], row["live_sold"], row["granted"])
                text_ = (
                    f"offer {row['id']}: its row says held, sold, total = {list(counted)}, "
                    f"orders and commands say {[int(one) for one in found]}"
                )
                finding.expect(counted == found, text_)
        async for page in pages(session, _SILENT):
            for row in page:
                finding.expect(False, f"order {row['id']} was rejected without an incident")
        async for page in pages(session, _OPEN_GUARDS):
            for row in page:
                finding.expect(False, f"incident {row['cause']} is not resolved")
        guards = await session.scalar(_GUARDS)
        finding.expect(guards == 2, "the CHECK constraints on offers are not in force")
    return finding.result()


_PRICES = """
WITH prices AS (
  SELECT f.id AS offer_id, p.one ->> 0 AS price_id, (p.one ->> 1)::bigint AS fen,
         (p.one ->> 2)::bigint AS from_ms,
         lead((p.one ->> 2)::bigint, 1, 9223372036854775807)
           OVER (PARTITION BY f.id ORDER BY (p.one ->> 2)::bigint) AS until_ms
  FROM offers f CROSS JOIN LATERAL jsonb_array_elements(f.config -> 'prices') AS p (one)
)
SELECT o.id, o.claimed_at_ms, o.price_id, o.unit_price_fen, o.amount_fen, o.qty,
       (f.config ->> 'starts_at_ms')::bigint AS starts_at_ms,
       (f.config ->> 'ends_at_ms')::bigint AS ends_at_ms,
       p.price_id AS right_price_id, p.fen AS right_fen,
       f.config ->> 'kind' IN ('team', 'crowd') AS is_seat
FROM orders o LEFT JOIN offers f ON f.id = o.offer_id
LEFT JOIN prices p ON p.offer_id = o.offer_id
                  AND o.claimed_at_ms >= p.from_ms AND o.claimed_at_ms < p.until_ms
"""


async def i9_window_and_price(given: Given) -> LawResult:
    """Each claim inside its window, at the price in force, by the hot store's clock.

    Orders have no coupon or points columns, so a group-buy line cannot carry any.
    """
    finding = Finding("I9", "each claim lies in its window and has its price_id's price")
    async with snapshot(given.db) as session:
        async for page in pages(session, _PRICES):
            for row in page:
                starts, ends = row["starts_at_ms"] or 0, row["ends_at_ms"] or 0
                text_ = f"order {row['id']} was claimed at {row['claimed_at_ms']}"
                inside = starts <= row["claimed_at_ms"] < ends
                finding.expect(inside, f"{text_}, outside of {starts} to {ends}")
                if row["is_seat"]:  # a captain's price, a ladder's step: the archive knows
                    whole = row["amount_fen"] == row["unit_price_fen"] * row["qty"]
                    finding.expect(whole, f"order {row['id']} costs {row['amount_fen']} fen")
                    continue
                price = (row["price_id"], row["unit_price_fen"], row["amount_fen"])
                fen = row["right_fen"] or 0
                right = (row["right_price_id"], fen, fen * row["qty"])
                finding.expect(price == right, f"order {row['id']} has price {price}, not {right}")
        if given.history:
            await _shown_prices(given, session, finding)
    await tell(given, "I9", finding)
    return finding.result()


_CONFIGS = text(
    "SELECT id, config -> 'prices', config -> 'team' -> 'captain_price',"
    " config -> 'team' -> 'steps' FROM offers"
)


async def _shown_prices(given: Given, session: AsyncSession, finding: Finding) -> None:
    """What clients were told is the price of the price_id that they had asked for."""
    prices = {
        (offer_id, price_id): fen
        for offer_id, listed, captain, steps in await session.execute(_CONFIGS)
        for price_id, fen in (
            *(one[:2] for one in listed),
            *([captain] if captain else []),
            *(one[1:] for one in steps or []),
        )
    }
    told = given.scratch.execute(
        "SELECT id, offer, price_id, price_fen FROM requests WHERE op = 'claim' AND type = 'ok'"
    )
    for row in told:
        right = prices.get((row["offer"], row["price_id"]))
        text_ = f"request {row['id']} was told {row['price_fen']} fen for {row['price_id']}"
        finding.expect(row["price_fen"] == right, f"{text_}, which is {right}")
