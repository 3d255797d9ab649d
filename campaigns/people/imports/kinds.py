"""The kinds of files: their columns by header, in Chinese or English, and how cells are read.

A file's kind is told by its header alone, never by its name. The first header of each column
is the one that exports write.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from campaigns.people.imports import cells


@dataclass(frozen=True)
class Column:
    """`name` is the value's name in a row; `headers` are those accepted for it.

    A file may leave an `optional` one out.
    """

    name: str
    headers: tuple[str, ...]
    parse: Callable[[str], object]
    optional: bool = False


@dataclass(frozen=True)
class Kind:
    """`key` names the columns that make a row unique."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]


_STORE_CODE = ("门店编号", "门店编码", "门店代码", "所属门店编号", "store_id", "store")
_GUIDE_CODE = ("导购工号", "工号", "导购编号", "guide_id")
_SKU_CODE = ("商品编码", "商品编号", "SKU编码", "SKU", "sku_id")

STORES = Kind(
    "stores",
    ("id",),
    (
        Column("id", _STORE_CODE, cells.code),
        Column("name", ("门店名称", "store_name", "name"), cells.name),
        Column("city", ("城市", "所在城市", "city"), cells.name),
        Column("address", ("地址", "门店地址", "详细地址", "address"), cells.name),
        Column("latitude", ("纬度", "latitude", "lat"), cells.latitude),
        Column("longitude", ("经度", "longitude", "lng", "lon"), cells.longitude),
    ),
)
GUIDES = Kind(
    "guides",
    ("id",),
    (
        Column("id", _GUIDE_CODE, cells.code),
        Column("name", ("姓名", "导购姓名", "guide_name", "name"), cells.name),
        Column("store_id", _STORE_CODE, cells.code),
        Column(
            "recruiter_id",
            ("推荐人工号", "推荐人", "上级工号", "上级导购编号", "recruiter_id", "recruiter"),
            cells.code_or_none,
        ),
    ),
)
MEMBERS = Kind(
    "members",
    ("id",),
    (
        Column("id", ("会员编号", "会员号", "会员卡号", "member_id"), cells.code),
        Column("nickname", ("昵称", "会员昵称", "nickname"), cells.name),
        Column("phone", ("手机号", "手机号码", "手机", "phone", "mobile"), cells.phone),
        Column(
            "guide_id",
            ("专属导购工号", "所属导购", *_GUIDE_CODE, "guide"),
            cells.code_or_none,
        ),
    ),
)
SKUS = Kind(
    "skus",
    ("id",),
    (
        Column("id", _SKU_CODE, cells.code),
        Column("name", ("商品名称", "品名", "sku_name", "name"), cells.name),
        Column("shelf_price_fen", ("门店价", "门店价(元)", "吊牌价", "shelf_price"), cells.fen),
        Column("mall_price_fen", ("商城价", "商城价(元)", "mall_price"), cells.fen),
        Column(
            "floor_price_fen",
            ("底价", "底价(元)", "最低价", "floor_price"),
            cells.fen_or_none,
            optional=True,
        ),
    ),
)
STOCK = Kind(
    "stock",
    ("sku_id", "store_id"),
    (
        Column("sku_id", _SKU_CODE, cells.code),
        Column("store_id", _STORE_CODE, cells.code),
        Column("units", ("库存", "库存数量", "可用库存", "units", "stock"), cells.units),
    ),
)
KINDS = (STORES, GUIDES, MEMBERS, SKUS, STOCK)


def same_header(text: str) -> str:
    """A header without case, spaces and full-width forms, for comparison."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text)).casefold()


def column_of(kind: Kind, header: str) -> Column | None:
    """The column that this header names in this kind."""
    wanted = same_header(header)
    for column in kind.columns:
        if any(same_header(known) == wanted for known in column.headers):
            return column
    return None


def kind_of(header: list[str]) -> Kind | None:
    """The kind whose columns this header names best: none missing first, then most found.

    None when it resembles no kind (under two columns found) or two kinds alike.
    """
    scores: list[tuple[int, int, Kind]] = []
    for kind in KINDS:
        found = {column.name for text in header if (column := column_of(kind, text))}
        if len(found) >= 2:
            missing = [one for one in kind.columns if one.name not in found and not one.optional]
            scores.append((len(missing), -len(found), kind))
    scores.sort(key=lambda score: score[:2])
    if not scores or (len(scores) > 1 and scores[0][:2] == scores[1][:2]):
        return None
    return scores[0][2]
