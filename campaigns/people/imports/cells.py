"""How one cell is read: text → value, or CellError with a sentence that says what was expected.

Money is read digit by digit into fen, never through a float.
"""

import re
import unicodedata

from campaigns.people.imports.problems import quoted
from campaigns.people.phones import normal_phone
from engine.money import FEN_MAX

TEXT_CHARS_MAX = 120
UNITS_MAX = 10**9

_CODE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_YUAN = re.compile(r"[¥￥]?([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.([0-9]{1,2}))?元?")
_UNITS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+")
_DEGREES = re.compile(r"-?[0-9]{1,3}(?:\.[0-9]{1,15})?")
_MASKED = re.compile(r"1[3-9][0-9]\*{4}[0-9]{4}")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


class CellError(ValueError):
    """The cell cannot be read; the text is a sentence for the person who has the file."""


def bare(cell: str) -> str:
    """The cell without outer space and without the apostrophe that guards against formulas."""
    return (cell[1:] if _GUARDED.match(cell) else cell).strip()


def code(cell: str) -> str:
    """An id of the retailer's."""
    if not cell:
        raise CellError("is empty")
    if not _CODE.fullmatch(cell):
        raise CellError(
            f"{quoted(cell)} is not a code (letters, digits, dot, dash and underscore, 64 at most)"
        )
    return cell


def code_or_none(cell: str) -> str | None:
    """An id, or nothing."""
    return code(cell) if cell else None


def name(cell: str) -> str:
    """A text for people; line breaks inside become spaces."""
    flat = " ".join(cell.split())
    if not flat:
        raise CellError("is empty")
    if len(flat) > TEXT_CHARS_MAX:
        raise CellError(f"{quoted(cell)} is longer than {TEXT_CHARS_MAX} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Co", "Cn") for char in flat):
        raise CellError(f"{quoted(cell)} holds control or unknown characters")
    return flat


def phone(cell: str) -> str:
    """A normal mobile number, or a masked one such as `138****1234` (as our own export has it)."""
    normal = cell if _MASKED.fullmatch(cell) else normal_phone(cell)
    if normal is None:
        raise CellError(f"{quoted(cell)} is not a mobile number (11 digits)")
    return normal


def is_masked(number: str) -> bool:
    """Whether `phone` gave a masked number."""
    return "*" in number


def fen(cell: str) -> int:
    """A price in yuan, such as `1,299.00` or `¥12.5`, as fen."""
    match = _YUAN.fullmatch(cell.replace(" ", ""))
    if match is None:
        raise CellError(f"{quoted(cell)} is not a price in yuan (such as 1299.00, 2 decimals)")
    whole = match[1].replace(",", "")
    if len(whole) > len(str(FEN_MAX)):
        raise CellError(f"{quoted(cell)} is too large for a price")
    amount = int(whole) * 100 + int((match[2] or "").ljust(2, "0"))
    if not 0 < amount <= FEN_MAX:
        raise CellError(f"{quoted(cell)} is {'too large for' if amount else 'not'} a price")
    return amount


def fen_or_none(cell: str) -> int | None:
    """As `fen`; an empty cell says nothing."""
    return fen(cell) if cell else None


def units(cell: str) -> int:
    """A count of pieces, 0 or more."""
    if not _UNITS.fullmatch(cell) or len(cell) > 13 or int(cell.replace(",", "")) > UNITS_MAX:
        raise CellError(f"{quoted(cell)} is not a whole number of units (0 to {UNITS_MAX})")
    return int(cell.replace(",", ""))


def latitude(cell: str) -> float:
    """Degrees north."""
    return _degrees(cell, 90, "latitude")


def longitude(cell: str) -> float:
    """Degrees east."""
    return _degrees(cell, 180, "longitude")


def _degrees(cell: str, most: int, what: str) -> float:
    if not _DEGREES.fullmatch(cell) or abs(float(cell)) > most:
        raise CellError(f"{quoted(cell)} is not a {what} in degrees (-{most} to {most})")
    return float(cell)
