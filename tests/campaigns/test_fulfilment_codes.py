"""Pick-up codes: signed, short, expiring; guesses are counted one by one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from campaigns.fulfilment.codes import SERIAL_MAX, PickUpCodes, read_code
from engine.errors import TooMany
from engine.settings import Settings

TERM_MS = 1_000_000
SECRET = "a secret for tests only"
OTHER = "another secret for tests"
Make = Callable[..., PickUpCodes]


@pytest.fixture
def make(hot: Redis) -> Make:
    def made(secret: str = SECRET, **changes: Any) -> PickUpCodes:
        fields: dict[str, Any] = {"pick_up_code_ms": TERM_MS, **changes}
        return PickUpCodes(hot, Settings(token_secret=secret, **fields))

    return made


def signs_of(code: str) -> str:
    read = read_code(code)
    assert read is not None
    return read[1]


def test_a_code_is_twelve_signs_that_read_back(make: Make) -> None:
    for serial in (1, 31, 32, 123_456, SERIAL_MAX):
        code = make().show(serial, "ord_1", "store_a", 5 * TERM_MS).code
        assert [len(part) for part in code.split("-")] == [4, 4, 4]
        assert not set(code) & set("ILOU")
        for heard in (code, code.lower(), code.replace("-", " "), code.replace("-", "")):
            assert read_code(heard) == (serial, signs_of(code))
        sloppy = code.replace("0", "o").replace("1", "l")
        assert read_code(sloppy) == read_code(code)
    with pytest.raises(AssertionError):
        make().show(SERIAL_MAX + 1, "ord_1", "store_a", 0)


@given(st.text(max_size=20))
def test_reading_never_fails(text: str) -> None:
    read = read_code(text)
    assert read is None or 0 < read[0] <= SERIAL_MAX


def test_a_code_is_good_for_one_order_in_one_store(make: Make) -> None:
    codes, now = make(), 5 * TERM_MS
    signs = signs_of(codes.show(7, "ord_1", "store_a", now).code)
    assert codes.judge(signs, "ord_1", "store_a", now) == "right"
    assert codes.judge(signs, "ord_2", "store_a", now) == "wrong"
    assert codes.judge(signs, "ord_1", "store_b", now) == "wrong"
    for place in range(6):
        sign = "2" if signs[place] != "2" else "3"
        changed = signs[:place] + sign + signs[place + 1 :]
        assert codes.judge(changed, "ord_1", "store_a", now) == "wrong"


def test_a_code_expires_when_it_says(make: Make) -> None:
    codes, now = make(), 50 * TERM_MS + 999_999
    shown = codes.show(7, "ord_1", "store_a", now)
    signs = signs_of(shown.code)
    assert TERM_MS < shown.expires_at_ms - now <= 2 * TERM_MS
    for at_ms, judged in (
        (shown.expires_at_ms - 1, "right"),
        (shown.expires_at_ms, "expired"),
        (now + 100 * TERM_MS, "wrong"),
        (now - TERM_MS, "wrong"),  # not before its time either
    ):
        assert codes.judge(signs, "ord_1", "store_a", at_ms) == judged


def test_a_code_outlives_a_change_of_the_secret(make: Make) -> None:
    old = signs_of(make(f"k1:{SECRET}").show(7, "ord_1", "store_a", 0).code)
    assert make(f"k2:{OTHER},k1:{SECRET}").judge(old, "ord_1", "store_a", 0) == "right"
    assert make(f"k2:{OTHER}").judge(old, "ord_1", "store_a", 0) == "wrong"
    assert make(OTHER).judge(old, "ord_1", "store_a", 0) == "wrong"


async def test_guesses_at_once_are_counted_one_by_one(make: Make) -> None:
    codes = make(pick_up_tries_max=10)
    tried = [codes.take_try("store_a") for _ in range(60)]
    refused = [one for one in await asyncio.gather(*tried, return_exceptions=True) if one]
    assert len(refused) == 50
    for one in refused:
        assert isinstance(one, TooMany)
        assert one.code == "too_many_tries"
        assert 0 < int(str(one.extra["retry_after_ms"])) <= 60_000
    await codes.take_try("store_b")  # a store's guesses are its own
    await codes.give_try_back("store_a")  # a right one is free
    await codes.take_try("store_a")
    with pytest.raises(TooMany):
        await codes.take_try("store_a")


async def test_the_limit_is_over_after_its_window(make: Make) -> None:
    codes = make(pick_up_tries_max=1, pick_up_window_ms=300)
    await codes.give_try_back("store_a")  # nothing below zero
    await codes.take_try("store_a")
    with pytest.raises(TooMany):
        await codes.take_try("store_a")
    await asyncio.sleep(0.4)
    await codes.take_try("store_a")
