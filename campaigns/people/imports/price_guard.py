"""A SKU's new prices must stay above every published offer of it: flash and group buys alike.

Publishing locks the SKUs' rows, and so does an import before it reads what is on sale: whoever
comes second sees what the first one did.
"""

from collections.abc import Mapping

from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.offer.on_sale import Priced, prices_on_sale
from campaigns.people.imports.known import Known
from campaigns.people.imports.problems import Problems
from campaigns.people.imports.reading import Row
from engine.money import yuan

FOREVER_MS = 2**53
_COLUMNS = ("shelf_price_fen", "mall_price_fen")


async def check_prices(
    session: AsyncSession,
    rows: Mapping[str, list[Row]],
    known: Known,
    problems: Problems,
    now_ms: int,
) -> None:
    """Refuse each SKU row that would break a published offer which is not over, and name that."""
    lowered = {
        row.values["id"]: row for row in rows.get("skus", []) if _is_lowered(row, known.skus)
    }
    if not lowered:
        return
    on_sale = await prices_on_sale(session, lowered.keys(), from_ms=now_ms, until_ms=FOREVER_MS)
    dearest: dict[str, Priced] = {}
    for priced in on_sale:
        before = dearest.setdefault(priced.sku_id, priced)
        if priced.price_fen > before.price_fen:
            dearest[priced.sku_id] = priced
    for sku_id, priced in dearest.items():
        row = lowered[sku_id]
        for column in _COLUMNS:
            if row.values[column] <= priced.price_fen:
                row.complain(problems, column, _sentence(row.values[column], priced))


def _is_lowered(row: Row, skus: Mapping[str, Mapping[str, int]]) -> bool:
    stored = skus.get(row.values.get("id", ""))
    if stored is None or not all(column in row.values for column in _COLUMNS):
        return False
    return any(row.values[column] < stored[column] for column in _COLUMNS)


def _sentence(price_fen: int, priced: Priced) -> str:
    return (
        f"{yuan(price_fen)} is not above the {priced.kind} price {yuan(priced.price_fen)} of offer "
        f"{priced.offer_id} of “{priced.campaign_name}” ({priced.window.says()}); close that "
        "offer first, or wait for its end"
    )
