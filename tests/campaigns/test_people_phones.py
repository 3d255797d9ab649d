"""Phone numbers: one form, sealed, found by a keyed hash, shown without their middle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.people.phones import PhoneKeys, normal_phone, require_phone, shown_phone
from engine.errors import BadInput, RefusedStart

KEYS = PhoneKeys("a secret of the tests")
NUMBERS = st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True).filter(str.isascii)


@pytest.mark.parametrize(
    "text",
    [
        "13812341234",
        " 138 1234 1234 ",
        "138-1234-1234",
        "+8613812341234",
        "+86 138-1234-1234",
        "0086 13812341234",
        "86 13812341234",
        "(+86)13812341234",
        "１３８１２３４１２３４",
        "\t13812341234",
    ],
)
def test_one_number_however_it_is_written(text: str) -> None:
    assert normal_phone(text) == "13812341234"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1380013800",
        "138123412345",
        "12812341234",
        "03812341234",
        "+113812341234",
        "1.38E+10",
        "138****1234",
        "x13812341234",
        "٠١٢٣٤٥٦٧٨٩١",
        "1" * 100_000,
    ],
)
def test_what_is_not_a_mobile_number(text: str) -> None:
    assert normal_phone(text) is None
    with pytest.raises(BadInput):
        require_phone(text)


@given(st.text())
def test_any_text_is_a_number_or_is_not(text: str) -> None:
    phone = normal_phone(text)
    assert phone is None or normal_phone(phone) == phone


@given(NUMBERS)
def test_what_is_sealed_opens_for_its_row_only(phone: str) -> None:
    sealed = KEYS.seal(phone)
    again = KEYS.seal(phone)
    assert KEYS.open(sealed.hash, sealed.cipher) == phone
    assert sealed.hash == again.hash == KEYS.hash(phone)
    assert sealed.cipher != again.cipher
    assert phone.encode() not in sealed.cipher
    assert sealed.shown == shown_phone(phone) == f"{phone[:3]}****{phone[7:]}"
    with pytest.raises(ValueError, match="does not open"):
        KEYS.open(KEYS.hash("19900000000" if phone != "19900000000" else "1"), sealed.cipher)
    with pytest.raises(ValueError, match="does not open"):
        PhoneKeys("another secret of the tests").open(sealed.hash, sealed.cipher)
    with pytest.raises(ValueError, match="version"):
        KEYS.open(sealed.hash, b"\x02" + sealed.cipher[1:])


def test_the_hash_depends_on_the_secret_and_a_weak_one_refuses_the_start() -> None:
    assert PhoneKeys("another secret of the tests").hash("1") != KEYS.hash("1")
    for secret in ("", "short"):
        with pytest.raises(RefusedStart):
            PhoneKeys(secret)
