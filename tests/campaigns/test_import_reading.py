"""From bytes to rows: encodings, line ends, headers, cells, and the sentences about them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.people.imports import cells
from campaigns.people.imports.cells import CellError
from campaigns.people.imports.kinds import KINDS, kind_of
from campaigns.people.imports.problems import Problems
from campaigns.people.imports.reading import Row, Sheets, read_file

STOCK = "商品编码,门店编号,库存\nP1,S1,3\nP2,S1,4\n"


def read(data: bytes | str, name: str = "f.csv") -> tuple[dict[str, list[Row]], list[str]]:
    sheets, problems = Sheets(), Problems(50)
    read_file(name, data.encode() if isinstance(data, str) else data, sheets, problems, 1_000)
    return sheets.rows, [str(problem) for problem in problems.first]


@pytest.mark.parametrize(
    "data",
    [
        STOCK.encode(),
        STOCK.encode("utf-8-sig"),
        STOCK.replace("\n", "\r\n").encode(),
        STOCK.rstrip("\n").encode(),
        ("\n" + STOCK + "\n,,\n\n  \n").encode(),
        STOCK.replace("库存", "库存 ,,").replace(",3", ", 3 ,").encode(),
        STOCK.replace("商品编码", "SKU_ID").replace("门店编号", "store_id").encode(),
        b'"' + STOCK.replace(",", '","').replace("\n", '"\n"').encode()[:-1],
    ],
)
def test_the_same_rows_however_it_was_saved(data: bytes) -> None:
    rows, problems = read(data)
    assert problems == []
    assert [row.values for row in rows["stock"]] == [
        {"sku_id": "P1", "store_id": "S1", "units": 3},
        {"sku_id": "P2", "store_id": "S1", "units": 4},
    ]


def test_lines_are_counted_as_an_editor_does_also_after_a_quoted_line_break() -> None:
    rows, problems = read(
        "门店编号,门店名称,城市,地址,纬度,经度\r\n\r\n"
        'S1,一店,杭州,"云路 1 号\r\n二层, 3 铺",30,120\r\nS2,二店,杭州,云路,30,x\r\n'
    )
    assert [row.line for row in rows["stores"]] == [3, 5]
    assert rows["stores"][0].values["address"] == "云路 1 号 二层, 3 铺"
    assert problems == [
        'f.csv line 5, column 经度: "x" is not a longitude in degrees (-180 to 180)'
    ]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (STOCK.encode("gbk"), "is GBK"),
        (STOCK.encode("utf-16"), "is UTF-16"),
        (STOCK.encode("utf-16-le"), "is UTF-16"),
        (b"PK\x03\x04rest", "Excel workbook"),
        (STOCK.encode() + b"\xff\xff", "is not UTF-8 in line 4"),
        (STOCK.encode()[:-3] + b"\xa4\xb3\n", "is not UTF-8 in line 3"),
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n\n", "is empty"),
        (b"a,b,c\n1,2,3\n", "cannot tell what it holds"),
        (STOCK.replace(",", ";").encode(), "separated by commas"),
        (b'"a', "is not CSV"),
        ((STOCK + '"P3,S1,1\n').encode(), "the row that begins after line 3 is not CSV"),
        ((STOCK + 'P"3,S1,1,1\n').encode(), "has 4 cells, but the header has 3"),
        ((STOCK + "P3,S1\n").encode(), "line 4: has 2 cells, but the header has 3"),
        (STOCK.replace("库存", "库存,颜色").encode(), 'column "颜色" is not known in stock'),
        (STOCK.replace("库存", "库存,units").encode(), 'column "units" stands there twice'),
        ("会员编号,昵称,手机号\n".encode(), "column 专属导购工号 (guide) of members is missing"),
        ((STOCK + ",S1,1\n").encode(), "line 4, column 商品编码: is empty"),
        ((STOCK + "P3,S1,-1\n").encode(), '"-1" is not a whole number of units'),
    ],
)
def test_what_is_wrong_is_said(data: bytes, sentence: str) -> None:
    _, problems = read(data)
    assert len(problems) == 1
    assert sentence in problems[0]
    assert problems[0].startswith("f.csv")


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    read(data)
    read(STOCK.encode() + data)


def test_every_header_leads_to_its_kind_in_both_languages() -> None:
    for kind in KINDS:
        assert kind_of([column.headers[0] for column in kind.columns]) is kind
    assert kind_of(["store_id", "name", "city", "address", "lat", "lng"]) is KINDS[0]
    assert kind_of(["guide_id", "name", "store_id", "recruiter_id"]) is KINDS[1]
    assert kind_of(["member_id", "nickname", "phone", "guide_id"]) is KINDS[2]
    assert kind_of(["sku_id", "name", "shelf_price", "mall_price"]) is KINDS[3]
    assert kind_of(["商品编码", "商品名称", "门店价（元）", "商城价（元）"]) is KINDS[3]


@given(st.integers(1, 10**12))
def test_prices_are_read_exactly(fen: int) -> None:
    yuan = f"{Decimal(fen) / 100:.2f}"
    grouped = f"{Decimal(fen) / 100:,.2f}"
    for text in (yuan, grouped, f"¥{grouped}", f"￥ {yuan}", f"{yuan}元"):
        assert cells.fen(text) == fen


@pytest.mark.parametrize(
    "text",
    ["", "0", "0.00", "-1", "1.005", "1.", ".5", "1e3", "1,00", "NaN", "١٢", "9" * 5_000, "1 2x"],
)
def test_what_is_not_a_price_is_refused(text: str) -> None:
    with pytest.raises(CellError):
        cells.fen(text)


@pytest.mark.parametrize("text", ["", "a b", "门店", "a" * 65, "=1+1", "-x", "a\x00"])
def test_what_is_not_a_code_is_refused(text: str) -> None:
    with pytest.raises(CellError):
        cells.code(text)


@pytest.mark.parametrize("text", ["", "x" * 121, "a\x00b", "\x1b[31m"])
def test_what_is_not_a_name_is_refused(text: str) -> None:
    with pytest.raises(CellError):
        cells.name(text)
