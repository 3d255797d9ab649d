"""From the bytes of a file to rows of values, with the line and header each value came from.

UTF-8 with or without BOM, Windows or Unix line ends, quoted cells with line breaks. Whatever
else a file may be (GBK, UTF-16, a workbook) is named in one sentence that says what to do.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from campaigns.people.imports.cells import CellError, bare
from campaigns.people.imports.kinds import Column, Kind, column_of, kind_of
from campaigns.people.imports.problems import Problems, quoted


@dataclass(frozen=True)
class Row:
    """`values` by column name; a cell with a problem is missing. `headers` is the file's own."""

    file: str
    line: int
    values: dict[str, Any]
    headers: dict[str, str]

    def complain(self, problems: Problems, column: str, message: str) -> None:
        """A problem with this row's cell of that column."""
        problems.add(message, self.file, self.line, self.headers[column])


@dataclass
class Sheets:
    """All rows of all files by kind; `unread` counts files that could not be read as any kind."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    rows_total: int = 0
    unread: int = 0


def text_of(data: bytes) -> str:
    """The file's text; CellError says what the file is instead of UTF-8 CSV."""
    advice = 'Save it as "CSV UTF-8" and import it again.'
    if data.startswith(b"PK\x03\x04") or data.startswith(b"\xd0\xcf\x11\xe0"):
        raise CellError(f"is an Excel workbook, not CSV. {advice}")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in data[:4096]:
        raise CellError(f"is UTF-16 (Excel calls it Unicode text) or binary. {advice}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    good, line = _good_part(data)
    # Many byte strings can be read as GBK; one that began as UTF-8 Chinese is a damaged UTF-8.
    if good.isascii() and _decodes(data, "gb18030"):
        raise CellError(f"is GBK, as Excel writes CSV by default, not UTF-8. {advice}")
    raise CellError(f"is not UTF-8 in line {line}. {advice}")


def _good_part(data: bytes) -> tuple[bytes, int]:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return data[: error.start], data.count(b"\n", 0, error.start) + 1
    return data, 1


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def read_file(file: str, data: bytes, sheets: Sheets, problems: Problems, rows_max: int) -> None:
    """Add the rows of one file to `sheets`, and what is wrong with it to `problems`."""
    try:
        records = _records(text_of(data))
        line, header = next(records, (1, []))
        kind = _known_kind(header)
    except CellError as error:
        problems.add(str(error), file)
        sheets.unread += 1
        return
    except csv.Error as error:
        problems.add(f"is not CSV: {error}", file, 1)
        sheets.unread += 1
        return
    columns = _columns(kind, header, file, line, problems)
    if columns is None:
        sheets.unread += 1
        return
    headers = {column.name: text.strip() for column, text in zip(columns, header, strict=False)}
    rows = sheets.rows.setdefault(kind.name, [])
    try:
        for line, record in records:
            sheets.rows_total += 1
            if sheets.rows_total > rows_max:
                problems.add(f"more than {rows_max} rows in one import; use smaller files", file)
                return
            values = _values(record, columns, problems, file, line, headers)
            rows.append(Row(file, line, values, headers))
    except csv.Error as error:
        problems.add(f"the row that begins after line {line} is not CSV: {error}", file, line)
        sheets.unread += 1


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """The records that are not empty, each with the line it begins on."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begins = 1
    for record in reader:
        cells = [bare(cell) for cell in record]
        if any(cells):
            yield begins, cells
        begins = reader.line_num + 1


def _known_kind(header: list[str]) -> Kind:
    if not header:
        raise CellError("is empty: the first line must name the columns")
    kind = kind_of(header)
    if kind is None:
        raise CellError(
            f"cannot tell what it holds from its first line {quoted(','.join(header))}; expected "
            "the columns of stores, guides, members, skus or stock, separated by commas"
        )
    return kind


def _columns(
    kind: Kind, header: list[str], file: str, line: int, problems: Problems
) -> list[Column] | None:
    """The column of each header, or None when one is unknown, doubled or missing."""
    before = problems.total
    columns: list[Column] = []
    while header and not header[-1]:
        header.pop()  # spreadsheets write commas for columns that once held something
    for text in header:
        column = column_of(kind, text)
        if column is None:
            problems.add(f"column {quoted(text)} is not known in {kind.name}", file, line)
        elif column in columns:
            problems.add(f"column {quoted(text)} stands there twice", file, line)
        else:
            columns.append(column)
    for column in kind.columns:
        if column not in columns and not column.optional:
            names = f"{column.headers[0]} ({column.headers[-1]})"
            problems.add(f"column {names} of {kind.name} is missing", file, line)
    return columns if problems.total == before else None


def _values(
    record: list[str],
    columns: list[Column],
    problems: Problems,
    file: str,
    line: int,
    headers: dict[str, str],
) -> dict[str, Any]:
    while len(record) > len(columns) and not record[-1]:
        record.pop()
    values: dict[str, Any] = {}
    if len(record) != len(columns):
        problems.add(f"has {len(record)} cells, but the header has {len(columns)}", file, line)
        return values
    for column, cell in zip(columns, record, strict=True):
        try:
            values[column.name] = column.parse(cell)
        except CellError as error:
            problems.add(str(error), file, line, headers[column.name])
    return values
