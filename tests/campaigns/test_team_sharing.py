"""What is shared of a team: valid pictures that load nothing, say no more than they should."""

from xml.etree import ElementTree

import msgspec
import pytest

from campaigns.team.sharing import Language, Shared, poster_svg, qr_svg, share_path, wrapped, yuan

URL = "http://127.0.0.1:8080" + share_path("tem-s1-e1-223-abcdef0123")
SHARED = Shared(
    name="沙棘原浆 <b>&\"'礼盒\x07</text><script>",
    size=3,
    state="forming",
    missing=2,
    price_fen=2_990,
    shelf_price_fen=5_990,
    mall_price_fen=4_990,
)


def words(svg: str) -> str:
    """All that the picture says; it has to be XML."""
    return "\n".join(text for text in ElementTree.fromstring(svg).itertext() if text)  # noqa: S314


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_a_poster_tells_product_price_and_seats_left(language: Language) -> None:
    svg = poster_svg(SHARED, URL, language)
    said = words(svg)
    assert "¥29.90" in said
    assert "¥49.90" in said  # the lower reference price
    assert {"zh-CN": "还差 2 人成团", "en": "2 more needed"}[language] in said
    assert "<script" not in svg
    tags = {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(svg).iter()}  # noqa: S314
    assert tags == {"svg", "rect", "text", "path"}
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")  # nothing is loaded


def test_every_state_has_its_words() -> None:
    for size in (0, 2):
        for state in ("opening", "forming", "reached", "closing", "formed", "failed"):
            shared = msgspec.structs.replace(SHARED, size=size, state=state)
            assert words(poster_svg(shared, URL, "zh-CN")) != words(poster_svg(shared, URL, "en"))


@pytest.mark.parametrize("state", ["reached", "failed"])
def test_who_paid_the_regular_price_is_promised_no_other(state: str) -> None:
    """A crowd that charges it first: reached, the difference comes later; failed, it stands."""
    low = msgspec.structs.replace(SHARED, size=0, state=state)
    regular = msgspec.structs.replace(low, regular=True)
    said = {"reached": "现在参团就是这个价", "failed": "已付的都会退回"}[state]
    assert said in words(poster_svg(low, URL, "zh-CN"))
    assert said not in words(poster_svg(regular, URL, "zh-CN"))
    assert {"reached": "退差价", "failed": "按原价成交"}[state] in words(
        poster_svg(regular, URL, "zh-CN")
    )


def test_a_code_is_a_picture_of_its_own() -> None:
    tags = {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(qr_svg(URL)).iter()}  # noqa: S314
    assert tags <= {"svg", "g", "path"}


def test_a_long_name_is_cut_and_says_so() -> None:
    assert wrapped("礼盒", 13, 2) == ["礼盒"]
    lines = wrapped("沙棘" * 40, 13, 2)
    assert [len(line) for line in lines] == [13, 14]
    assert lines[1].endswith("…")


def test_money_is_never_a_float() -> None:
    assert yuan(123_456_789_01) == "123,456,789.01"
    assert yuan(5) == "0.05"
