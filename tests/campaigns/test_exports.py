"""CSV cells that no spreadsheet runs, whatever a name or a reason is made of."""

import csv
import io

import pytest

from campaigns.exports import lines, safe_cell


@pytest.mark.parametrize("sign", "=+-@＝＋－＠\t\r\n")
@pytest.mark.parametrize("before", ["", " ", "\u3000", "\ufeff", "\u200b "])
def test_what_begins_a_formula_does_not(sign: str, before: str) -> None:
    value = f"{before}{sign}HYPERLINK(1)"
    assert safe_cell(value) == f"'{value}"


@pytest.mark.parametrize("value", ["龙井 100g", "a=b", "'=x", "", " 王芳的店", "1 - 2"])
def test_other_words_stay_as_they_are(value: str) -> None:
    assert safe_cell(value) == value


def test_numbers_stay_numbers_and_quotes_stay_inside() -> None:
    rows = [[-5, None, 'a "b", c', "two\nlines"]]
    assert next(csv.reader(io.StringIO(lines(rows)))) == ["-5", "", 'a "b", c', "two\nlines"]
