"""The stocking list: what each store needs, has and handed over, from orders that stand.

An order stands once its split is posted (`split_fen`): a sale without a team when it is paid, a
seat when its team formed. Its store is the one its customer chose, else that of its credit.
Units with a refund intent are not stocked. Pages go by store and offer, never by offset.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.exports import Cell
from campaigns.fulfilment.schemas import StockingLine, StockingPage
from campaigns.fulfilment.states import STOCKED
from campaigns.people.attribution import guide_term_at
from engine.db import Database
from engine.errors import BadInput
from engine.ids import now_ms
from engine.tokens import Access

DAY_MS: Final = 86_400_000
CSV_HEADER: Final = StockingLine.__struct_fields__

# Of the order `o`, with its pick-up `p` (or none): its store, and the units not asked back.
STORE: Final = "coalesce(p.store_id, o.credit #>> '{credit,store_id}', '')"
STORE_NOW: Final = STORE.replace(
    "p.store_id", "(SELECT p.store_id FROM pick_ups p WHERE p.order_id = o.id)"
)
UNITS: Final = (
    "(o.qty - coalesce((SELECT sum(r.units) FROM refunds r WHERE r.payment_id = o.payment_id), 0))"
)

_LINES: Final = f"""
WITH offer AS (
  SELECT f.id, f.kind, f.sku_id, f.campaign_id,
         coalesce(CAST(f.config ->> 'ready_after_days' AS int), 0) AS days
  FROM offers f
  WHERE f.kind = ANY(CAST(:kinds AS text[]))
    AND (f.id = CAST(:offer_id AS text) OR (CAST(:offer_id AS text) IS NULL
         AND CAST(f.config ->> 'ends_at_ms' AS bigint) >= :ended_after_ms))
), piece AS (
  SELECT {STORE} AS store_id, o.offer_id, o.state, {UNITS} AS units,
         coalesce(t.decided_at_ms, o.paid_at_ms) + f.days * {DAY_MS} AS expected_ms
  FROM offer f
  JOIN orders o ON o.offer_id = f.id
  LEFT JOIN pick_ups p ON p.order_id = o.id
  LEFT JOIN teams t ON t.id = o.team_id
  WHERE o.claim_state = 'paid' AND o.split_fen IS NOT NULL
    AND o.state IN ('paid', 'ready', 'fulfilled', 'completed')
), line AS (
  SELECT store_id, offer_id, count(*) AS orders,
         coalesce(sum(units) FILTER (WHERE state = 'paid'), 0) AS to_stock,
         coalesce(sum(units) FILTER (WHERE state = 'ready'), 0) AS ready,
         coalesce(sum(units) FILTER (WHERE state IN ('fulfilled', 'completed')), 0) AS fulfilled,
         min(expected_ms) FILTER (WHERE state = 'paid') AS expected_from_ms
  FROM piece
  WHERE units > 0 AND (CAST(:store_id AS text) IS NULL OR store_id = CAST(:store_id AS text))
  GROUP BY store_id, offer_id
)
SELECT line.store_id, coalesce(s.name, '') AS store_name, line.offer_id, offer.kind,
       c.name AS campaign_name, offer.sku_id, k.name AS sku_name,
       offer.days AS ready_after_days, line.orders,
       CAST(line.to_stock AS bigint) AS to_stock, CAST(line.ready AS bigint) AS ready,
       CAST(line.fulfilled AS bigint) AS fulfilled, line.expected_from_ms
FROM line
JOIN offer ON offer.id = line.offer_id
JOIN campaigns c ON c.id = offer.campaign_id
JOIN skus k ON k.id = offer.sku_id
LEFT JOIN stores s ON s.id = line.store_id
WHERE (line.store_id COLLATE "C", line.offer_id COLLATE "C") > (:after_store, :after_offer)
ORDER BY line.store_id COLLATE "C", line.offer_id COLLATE "C"
LIMIT :limit
"""  # noqa: S608


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines: of one store or all, of one offer or all that ended after `ended_after_ms`."""

    store_id: str | None
    offer_id: str | None
    ended_after_ms: int


async def store_of(session: AsyncSession, who: Access) -> str | None:
    """The store where the guide who asks works now; None without one."""
    term = await guide_term_at(session, who.scope, now_ms()) if who.scope else None
    return term.store_id if term else None


async def wanted_by(
    db: Database, who: Access, *, store_id: str | None, offer_id: str | None, keep_ms: int
) -> Wanted | None:
    """A guide's list is that of their store, whatever is asked; None: they work in none."""
    if who.role != "hq":
        async with db.begin() as session:
            store_id = await store_of(session, who)
        if store_id is None:
            return None
    return Wanted(store_id=store_id, offer_id=offer_id, ended_after_ms=now_ms() - keep_ms)


async def page(
    db: Database, wanted: Wanted | None, *, limit: int, after: str | None
) -> StockingPage:
    """Lines by store and offer; BadInput `bad_cursor`."""
    if wanted is None:
        return StockingPage((), None)
    found = await _lines(db, wanted, limit + 1, _read_cursor(after))
    more = len(found) > limit
    return StockingPage(tuple(found[:limit]), _cursor(found[limit - 1]) if more else None)


async def csv_batches(
    db: Database, wanted: Wanted | None, *, batch_max: int, rows_max: int
) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    """All lines, in batches."""
    after = ("", "")
    for _ in range(-(-rows_max // batch_max) if wanted else 0):
        assert wanted is not None
        found = await _lines(db, wanted, batch_max, after)
        if found:
            yield [msgspec.structs.astuple(line) for line in found]
            after = (found[-1].store_id, found[-1].offer_id)
        if len(found) < batch_max:
            return


async def _lines(
    db: Database, wanted: Wanted, limit: int, after: tuple[str, str]
) -> list[StockingLine]:
    given: dict[str, Any] = {
        **msgspec.structs.asdict(wanted),
        "kinds": list(STOCKED),
        "after_store": after[0],
        "after_offer": after[1],
        "limit": limit,
    }
    async with db.begin() as session:
        rows = await session.execute(text(_LINES), given)
        return [StockingLine(**row._mapping) for row in rows]


def _cursor(line: StockingLine) -> str:
    return f"{line.store_id}~{line.offer_id}"


def _read_cursor(after: str | None) -> tuple[str, str]:
    if after is None:
        return "", ""
    store_id, found, offer_id = after.rpartition("~")
    if not found:
        raise BadInput("bad_cursor", "`after` is not from a stocking list.", "Leave it out.")
    return store_id, offer_id
