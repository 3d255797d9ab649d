"""CSV answers: streamed in batches, bounded, and safe to open in a spreadsheet.

A cell that a spreadsheet would run as a formula (it begins with = + - @, also in their full width,
or a control character) gets an apostrophe in front. The byte order mark lets spreadsheets read
Chinese names.
"""

import csv
import io
from collections.abc import AsyncIterator, Sequence

from litestar.response import Stream

from engine.errors import Unprocessable

MEDIA_TYPE = "text/csv"  # the framework adds the charset
_BOM = "\ufeff"
_RISKY = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
_BLANK = " \u00a0\u3000\ufeff\u200b"  # some drop it before they look

Cell = str | int | None


def safe_cell(value: Cell) -> str:
    """Text that no spreadsheet runs; numbers stay numbers, None is empty."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    return f"'{value}" if value.lstrip(_BLANK).startswith(_RISKY) else value


def lines(rows: Sequence[Sequence[Cell]]) -> str:
    """CSV text of some rows."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([map(safe_cell, row) for row in rows])
    return out.getvalue()


def wants_csv(accept: str) -> bool:
    """Whether an Accept header asks for CSV rather than JSON."""
    return any(part.split(";")[0].strip() == "text/csv" for part in accept.split(","))


def too_many_rows(rows_max: int) -> Unprocessable:
    """More rows than one file may have; said before the first byte."""
    return Unprocessable(
        "too_many_rows",
        "This export would be too large.",
        f"One file holds at most {rows_max} rows. Narrow the filters, by time for example.",
        rows_max=rows_max,
    )


def answer(
    name: str, header: Sequence[str], batches: AsyncIterator[Sequence[Sequence[Cell]]]
) -> Stream:
    """A streamed file `<name>.csv`."""

    async def text() -> AsyncIterator[str]:
        yield _BOM + lines([header])
        async for rows in batches:
            yield lines(rows)

    return Stream(
        text(),
        status_code=200,
        media_type=MEDIA_TYPE,
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )
