"""Access tokens: what is signed comes back, and nothing else is ever accepted."""

from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import NotSignedIn, RefusedStart
from engine.tokens import TOKEN_BYTES_MAX, Access, Role, TokenKeys, _signature, bearer

KEYS = TokenKeys({"k1": "a secret of the tests, one"}, "k1")
TOKEN = KEYS.sign("mbr_1", "customer", expires_at_ms=1_000, new=True)


def refusal(token: str | bytes, now_ms: int = 0, keys: TokenKeys = KEYS) -> str:
    with pytest.raises(NotSignedIn) as caught:
        keys.verify(token, now_ms)
    return caught.value.code


@given(
    subject=st.text(max_size=40),
    scope=st.text(max_size=20),
    role=st.sampled_from(["hq", "guide", "customer", "load"]),
    expires_at_ms=st.integers(1, 2**53),
    new=st.booleans(),
    traits=st.sampled_from(["", "m", "b", "mb"]),
)
def test_what_is_signed_comes_back(
    subject: str, scope: str, role: Role, expires_at_ms: int, new: bool, traits: str
) -> None:
    given: dict[str, Any] = {"expires_at_ms": expires_at_ms, "scope": scope, "new": new}
    token = KEYS.sign(subject, role, **given, traits=traits)
    expected = Access(subject, role, scope, "k1", expires_at_ms, new, traits)
    assert KEYS.verify(token, expires_at_ms - 1) == expected
    assert KEYS.verify(token.encode(), 0) == expected
    assert refusal(token, expires_at_ms) == "token_expired"


@given(index=st.integers(0, len(TOKEN) - 1), byte=st.integers(0, 255))
def test_any_changed_byte_is_refused(index: int, byte: int) -> None:
    raw = bytearray(TOKEN.encode())
    if raw[index] == byte:
        return
    raw[index] = byte
    assert refusal(bytes(raw)) == "bad_token"


def test_every_bit_flip_cut_and_extension_is_refused() -> None:
    raw = TOKEN.encode()
    for index in range(len(raw)):
        for bit in range(8):
            flipped = bytearray(raw)
            flipped[index] ^= 1 << bit
            assert refusal(bytes(flipped)) == "bad_token"
        assert refusal(raw[:index]) == ("bad_token" if index else "no_token")
    assert refusal(raw + b"=") == refusal(raw + b"A") == refusal(b" " + raw) == "bad_token"


@given(st.binary(min_size=1, max_size=700))
def test_garbage_is_refused(garbage: bytes) -> None:
    assert refusal(garbage) == "bad_token"


@given(st.text(min_size=1, max_size=200))
def test_garbage_text_is_refused(garbage: str) -> None:
    assert refusal(garbage) == "bad_token"


def test_empty_and_huge() -> None:
    assert refusal("") == "no_token"
    assert refusal("A" * 10_000_000) == "bad_token"
    assert refusal(TOKEN + "A" * TOKEN_BYTES_MAX) == "bad_token"
    with pytest.raises(ValueError, match="too long"):
        KEYS.sign("x" * TOKEN_BYTES_MAX, "hq", expires_at_ms=1)


def test_a_key_of_another_name_or_secret_is_refused() -> None:
    other_name = TokenKeys({"k2": "a secret of the tests, one"}, "k2")
    other_secret = TokenKeys({"k1": "a secret of the tests, two"}, "k1")
    assert refusal(other_name.sign("a", "hq", expires_at_ms=9)) == "bad_token"
    assert refusal(other_secret.sign("a", "hq", expires_at_ms=9)) == "bad_token"


def test_keys_rotate_without_signing_anyone_out() -> None:
    old = TokenKeys.from_setting("old:" + "o" * 20)
    both = TokenKeys.from_setting(f"new:{'n' * 20}, old:{'o' * 20}")
    token = old.sign("a", "hq", expires_at_ms=9)
    assert both.verify(token, 0).key_id == "old"
    assert both.verify(both.sign("a", "hq", expires_at_ms=9), 0).key_id == "new"
    assert refusal(both.sign("a", "hq", expires_at_ms=9), keys=old) == "bad_token"


@pytest.mark.parametrize("text", ["", "short", "k1:short", "k1:" + "x" * 20 + ",k2:", ":"])
def test_a_weak_secret_refuses_the_start(text: str) -> None:
    with pytest.raises(RefusedStart):
        TokenKeys.from_setting(text)


@pytest.mark.parametrize(
    "payload",
    [
        ["mbr_1", "root", "", "k1", 9, False],
        ["mbr_1", "customer", "", "k1", "9", False],
        ["mbr_1", "customer", "", "k1", 9.5, False],
        ["mbr_1", "customer", "", "k1", 9, False, 1],
        ["mbr_1", "customer", "", "k1", 9, False, "m", "none"],
        {"alg": "none"},
    ],
)
def test_a_payload_of_another_shape_is_refused(payload: object) -> None:
    text = urlsafe_b64encode(msgspec.msgpack.encode(payload)).rstrip(b"=")
    assert refusal(text) == refusal(text + b".") == "bad_token"


def test_a_token_of_an_older_version_is_good_but_says_no_more_than_it_did() -> None:
    payload = msgspec.msgpack.encode(["mbr_1", "customer", "", "k1", 9, True])
    text = urlsafe_b64encode(payload).rstrip(b"=")
    access = KEYS.verify(text + b"." + _signature(KEYS._secrets["k1"], text), 0)
    assert (access.new, access.traits, access.all_traits) == (True, "", "n")
    later = KEYS.verify(KEYS.sign("a", "customer", expires_at_ms=9, new=True, traits="mb"), 0)
    assert later.all_traits == "nmb"


def test_bearer() -> None:
    assert bearer(b"Bearer abc") == bearer(b"bearer  abc ") == b"abc"
    assert bearer(b"Basic abc") == bearer(b"") == bearer(b"Bearer") == b""
