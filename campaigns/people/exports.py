"""CSV out, in the shape that the import takes: phones masked, cells safe to open in a spreadsheet.

Importing an export again changes nothing. A text cell that a spreadsheet would run as a formula
gets an apostrophe in front, which the import takes off.
"""

import csv
import io
import re
from collections.abc import AsyncIterator

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.people.imports.kinds import KINDS

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_BOM = "\ufeff"  # without it Excel reads Chinese as GBK

# The columns in the order of the kind's own.
_QUERIES = {
    "stores": "SELECT id, name, city, address, latitude, longitude FROM stores ORDER BY id",
    "guides": """
        SELECT g.id, g.name, t.store_id, t.recruiter_id FROM guides g
        LEFT JOIN LATERAL (
          SELECT store_id, recruiter_id FROM guide_terms WHERE guide_id = g.id
          ORDER BY from_ms DESC LIMIT 1
        ) t ON true ORDER BY g.id""",
    "members": """
        SELECT m.id, m.nickname, m.phone_shown, b.guide_id FROM members m
        LEFT JOIN LATERAL (
          SELECT guide_id FROM bindings WHERE member_id = m.id ORDER BY from_ms DESC LIMIT 1
        ) b ON true ORDER BY m.id""",
    "skus": "SELECT id, name, shelf_price_fen, mall_price_fen, floor_price_fen FROM skus"
    " ORDER BY id",
    "stock": "SELECT sku_id, store_id, units FROM sku_stock ORDER BY sku_id, store_id",
}
EXPORTS = tuple(_QUERIES)


def cell_of(column: str, value: object) -> str:
    """A value as its cell: fen as yuan, None as nothing, formulas made harmless."""
    if value is None:
        return ""
    if column.endswith("_fen") and isinstance(value, int):
        return f"{value // 100}.{value % 100:02d}"
    if isinstance(value, str) and _FORMULA.match(value):
        return "'" + value
    return str(value)


async def export_csv(
    session: AsyncSession, kind_name: str, *, batch_max: int = 1_000
) -> AsyncIterator[str]:
    """The file of one kind (`EXPORTS`) in pieces of up to `batch_max` rows."""
    kind = next(kind for kind in KINDS if kind.name == kind_name)
    out = io.StringIO()
    writer = csv.writer(out)
    out.write(_BOM)
    writer.writerow([column.headers[0] for column in kind.columns])
    found = await session.stream(text(_QUERIES[kind_name]))
    async for batch in found.partitions(batch_max):
        for row in batch:
            pairs = zip(kind.columns, row, strict=True)
            writer.writerow([cell_of(column.name, value) for column, value in pairs])
        yield out.getvalue()
        out.seek(0)
        out.truncate()
    if out.tell():
        yield out.getvalue()
