"""What is shared of a team: its link, the link's QR code, and a poster to send on.

Pure functions to SVG text, without scripts, fonts or pictures of elsewhere; every word that is
not ours is escaped. A poster tells nobody's name: only what is sold, for how much, how many are
missing, and where to look for what is so now.
"""

import io
import unicodedata
from functools import lru_cache
from typing import Literal, NamedTuple
from xml.sax.saxutils import escape

import msgspec
import segno

Language = Literal["zh-CN", "en"]

WIDTH, HEIGHT = 750, 1_160
CODES_KEPT_MAX = 256  # of some 10 KB each
_LINE_EMS = 13.4  # of a name, at its size, between the margins
_NAME_LINES_MAX = 2
_FONT = (
    "system-ui, -apple-system, 'PingFang SC', 'Noto Sans SC', 'Noto Sans CJK SC',"
    " 'Microsoft YaHei', sans-serif"
)
_WORDS: dict[Language, dict[str, str]] = {
    "zh-CN": {
        "team": "{size} 人团",
        "crowd": "多人团",
        "shelf": "门店价 ¥{price}",
        "mall": "商城价 ¥{price}",
        "missing": "还差 {n} 人成团",
        "more": "还差 {n} 人到这个价",
        "reached": "已达成，现在参团就是这个价",
        "after": "已达成：先付原价，结束后退差价",
        "formed": "已成团",
        "failed": "没有成团，已付的都会退回",
        "stands": "没到人数，订单按原价成交",
        "closing": "截止了，正在结算",
        "scan": "扫码看最新进度，一起买",
        "then": "人数是生成海报时的，以页面为准",
    },
    "en": {
        "team": "Team of {size}",
        "crowd": "Crowd",
        "shelf": "Store price ¥{price}",
        "mall": "Mall price ¥{price}",
        "missing": "{n} more needed",
        "more": "{n} more buyers until this price",
        "reached": "Reached: this is the price now",
        "after": "Reached: the difference comes back at the end",
        "formed": "The team is complete",
        "failed": "Not completed; all payments go back",
        "stands": "Not reached; orders stand at the regular price",
        "closing": "Time is up; being settled",
        "scan": "Scan to see how it stands, and join",
        "then": "As of when this was made; the page knows better",
    },
}


class Shared(msgspec.Struct, frozen=True, kw_only=True):
    """What a poster says. `missing` seats; `size` 0: a crowd, of which `missing` may be 0.

    `regular`: its buyers pay the regular price first, and their orders stand if it fails.
    """

    name: str
    size: int
    state: str
    missing: int
    price_fen: int
    shelf_price_fen: int
    mall_price_fen: int
    regular: bool = False


class _Text(NamedTuple):
    x: int
    y: int
    size: int
    color: str
    says: str
    more: str = ""


def share_path(team_id: str) -> str:
    """The page of a team."""
    return f"/t/{team_id}"


# Drawing takes milliseconds of the process that also takes claims; a team's link stays the same.
@lru_cache(maxsize=CODES_KEPT_MAX)
def qr_svg(url: str) -> str:
    """The link as a QR code of its own, dark on white, with the quiet zone that scanners need."""
    out = io.BytesIO()
    segno.make(url, error="m", micro=False).save(
        out, kind="svg", scale=8, border=4, dark="#1f1b18", light="#ffffff"
    )
    return out.getvalue().decode()


def poster_svg(shared: Shared, url: str, language: Language) -> str:
    """A picture of 750 × 1160: product, price, seats left, QR code."""
    words = _WORDS[language]
    kind = words["team"].format(size=shared.size) if shared.size else words["crowd"]
    lines = wrapped(shared.name, _LINE_EMS, _NAME_LINES_MAX)
    below = 250 + 56 * len(lines)
    reference, of = _reference(shared)
    texts = [_Text(72, 122, 28, "#ffffff", "开团 Kaituan", ' font-weight="700"')]
    texts += [
        _Text(72, 250 + 56 * row, 44, "#1f1b18", line, ' font-weight="700"')
        for row, line in enumerate(lines)
    ]
    texts += [
        _Text(72, below + 96, 88, "#c43f20", f"¥{yuan(shared.price_fen)}", ' font-weight="700"'),
        _Text(72, below + 148, 28, "#6b625b", words[reference].format(price=yuan(of))),
        _Text(375, 1_040, 30, "#1f1b18", words["scan"], ' text-anchor="middle" font-weight="600"'),
        _Text(375, 1_078, 22, "#6b625b", words["then"], ' text-anchor="middle"'),
    ]
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
        f' viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{_FONT}">',
        '<rect width="750" height="1160" fill="#cf4524"/>',
        '<rect x="32" y="164" width="686" height="964" rx="28" fill="#ffffff"/>',
        _pill(kind),
        *[_drawn(text) for text in texts],
        _state(_state_words(shared, words), below + 186),
        _code(url, below + 270),
        "</svg>",
    ]
    return "".join(drawn)


def wrapped(text: str, ems: float, lines_max: int) -> list[str]:
    """A text in lines of at most so many ems (a wide sign is one, others 0.66); … if cut."""
    signs = "".join(one if one.isprintable() else " " for one in text)
    lines, width = [""], 0.0
    for sign in " ".join(signs.split()):
        wide = 1.0 if unicodedata.east_asian_width(sign) in "WF" else 0.66
        if width + wide > ems:
            if len(lines) == lines_max:
                lines[-1] = lines[-1].rstrip() + "…"
                break
            lines.append("")
            width = 0.0
        lines[-1] += sign
        width += wide
    return [line.strip() for line in lines]


def yuan(fen: int) -> str:
    """Fen as yuan, whole numbers all the way."""
    return f"{fen // 100:,}.{fen % 100:02}"


def _reference(shared: Shared) -> tuple[str, int]:
    """The lower of the two: the harder comparison."""
    shelf, mall = shared.shelf_price_fen, shared.mall_price_fen
    return ("mall", mall) if mall < shelf else ("shelf", shelf)


def _state_words(shared: Shared, words: dict[str, str]) -> str:
    if shared.state in ("opening", "forming"):
        return words["missing" if shared.size else "more"].format(n=shared.missing)
    said = {"reached": "after", "failed": "stands"} if shared.regular else {}
    return words[said.get(shared.state, shared.state)]


def _drawn(text: _Text) -> str:
    return (
        f'<text x="{text.x}" y="{text.y}" font-size="{text.size}" fill="{text.color}"{text.more}>'
        f"{escape(text.says)}</text>"
    )


def _pill(says: str) -> str:
    return '<rect x="518" y="82" width="160" height="56" rx="28" fill="#ffffff"/>' + _drawn(
        _Text(598, 119, 26, "#c43f20", says, ' text-anchor="middle" font-weight="600"')
    )


def _state(says: str, y: int) -> str:
    return f'<rect x="72" y="{y}" width="606" height="60" rx="12" fill="#fdeee9"/>' + _drawn(
        _Text(96, y + 40, 28, "#c43f20", says, ' font-weight="600"')
    )


def _code(url: str, y: int) -> str:
    """The QR code as one path, scaled into the square below the words."""
    side = 994 - y
    modules, path = _modules(url)
    at = f"translate({(WIDTH - side) / 2:.2f} {y}) scale({side / modules:.4f})"
    return f'<path transform="{at}" fill="#1f1b18" d="{path}"/>'


@lru_cache(maxsize=CODES_KEPT_MAX)
def _modules(url: str) -> tuple[int, str]:
    """How many modules a side has, and the dark ones as a path."""
    code = segno.make(url, error="m", micro=False)
    path = "".join(
        f"M{column} {row}h1v1h-1z"
        for row, line in enumerate(code.matrix)
        for column, dark in enumerate(line)
        if dark
    )
    return len(code.matrix), path
