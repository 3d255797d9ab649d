"""Signatures: what the provider signed passes, anything else fails for its own reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.payment.provider import BadSignature, Notification, ProviderRefused
from campaigns.payment.sandbox_client import MERCHANT_SERIAL, PROVIDER_SERIAL, SandboxClient
from campaigns.payment.signature import (
    NONCE,
    SERIAL,
    SIGNATURE,
    TIMESTAMP,
    TOLERANCE_MS,
    derive_key,
    sign,
    verify,
)
from engine.ids import now_ms

SECRET = "a secret of sixteen or more"
KEY = derive_key(SECRET, "s-1")
KEYS = {"s-1": KEY}
NOW_MS = 1_800_000_000_000
NOTE = (
    b'{"attempt_id":"att_1","transaction_id":"txn_1","amount_fen":990,'
    b'"currency":"CNY","paid_at_ms":1800000000000}'
)


def reason_of(headers: dict[str, str], body: bytes, *, at_ms: int = NOW_MS) -> str:
    with pytest.raises(BadSignature) as caught:
        verify(headers, body, KEYS, now_ms=at_ms)
    return str(caught.value.reason)


@given(body=st.binary(max_size=300), drift_ms=st.integers(-TOLERANCE_MS + 999, TOLERANCE_MS - 999))
def test_what_was_signed_within_the_tolerance_passes(body: bytes, drift_ms: int) -> None:
    verify(sign("s-1", KEY, body, now_ms=NOW_MS), body, KEYS, now_ms=NOW_MS + drift_ms)


@given(body=st.binary(min_size=1, max_size=300), data=st.data())
def test_one_altered_byte_fails(body: bytes, data: st.DataObject) -> None:
    headers = sign("s-1", KEY, body, now_ms=NOW_MS)
    at = data.draw(st.integers(0, len(body) - 1))
    other = data.draw(st.integers(1, 255))
    altered = body[:at] + bytes([body[at] ^ other]) + body[at + 1 :]
    assert reason_of(headers, altered) == "wrong"
    assert reason_of(headers, body + b"\n") == "wrong"
    assert reason_of(headers, body[:-1]) == "wrong"


@given(
    name=st.sampled_from([SERIAL, TIMESTAMP, NONCE, SIGNATURE]),
    value=st.text(max_size=80),
)
def test_any_other_header_fails_and_never_breaks(name: str, value: str) -> None:
    headers = sign("s-1", KEY, NOTE, now_ms=NOW_MS)
    if headers[name] != value:
        reason_of(headers | {name: value}, NOTE)


@given(headers=st.dictionaries(st.text(max_size=20), st.text(max_size=20)), body=st.binary())
def test_strangers_headers_fail_and_never_break(headers: dict[str, str], body: bytes) -> None:
    assert reason_of(headers, body) == "malformed"


def test_the_border_between_nonce_and_body_cannot_be_moved() -> None:
    headers = sign("s-1", KEY, b"abc\ndef", now_ms=NOW_MS, nonce="n" * 16)
    assert reason_of(headers | {NONCE: "n" * 16 + "\nabc"}, b"def") == "malformed"


@pytest.mark.parametrize("name", [TIMESTAMP, NONCE, SIGNATURE, SERIAL])
def test_a_missing_header_fails(name: str) -> None:
    headers = sign("s-1", KEY, NOTE, now_ms=NOW_MS)
    del headers[name]
    assert reason_of(headers, NOTE) in ("malformed", "wrong", "unknown_serial")


@pytest.mark.parametrize(
    "seconds", ["1e9", "-1", "+1800000000", " 1800000000", "١٨٠٠٠٠٠٠٠٠", "1.0"]
)
def test_a_timestamp_is_plain_digits(seconds: str) -> None:
    headers = sign("s-1", KEY, NOTE, now_ms=NOW_MS) | {TIMESTAMP: seconds}
    assert reason_of(headers, NOTE) == "malformed"


def test_the_timestamp_comes_before_everything_else() -> None:
    stale = sign("s-1", KEY, NOTE, now_ms=NOW_MS)
    late_ms = NOW_MS + TOLERANCE_MS + 1
    assert reason_of(stale, NOTE, at_ms=late_ms) == "stale"
    assert reason_of(stale, NOTE, at_ms=NOW_MS - TOLERANCE_MS - 1) == "stale"
    hopeless = stale | {SERIAL: "who", NONCE: "", SIGNATURE: "é"}
    assert reason_of(hopeless, b"not json", at_ms=late_ms) == "stale"


def test_an_unknown_serial_and_a_key_of_another_serial_fail() -> None:
    other = derive_key(SECRET, "s-2")
    assert reason_of(sign("s-2", other, NOTE, now_ms=NOW_MS), NOTE) == "unknown_serial"
    assert reason_of(sign("s-1", other, NOTE, now_ms=NOW_MS), NOTE) == "wrong"


def test_a_replay_within_the_tolerance_passes() -> None:
    headers = sign("s-1", KEY, NOTE, now_ms=NOW_MS)
    for at_ms in (NOW_MS, NOW_MS + 1_000, NOW_MS + TOLERANCE_MS):
        verify(headers, NOTE, KEYS, now_ms=at_ms)


def test_header_names_come_in_any_case() -> None:
    headers = sign("s-1", KEY, NOTE, now_ms=NOW_MS)
    verify({name.title(): value for name, value in headers.items()}, NOTE, KEYS, now_ms=NOW_MS)


def test_a_request_is_bound_to_its_target() -> None:
    headers = sign("s-1", KEY, b"", now_ms=NOW_MS, target="POST /v1/attempts/a/close")
    verify(headers, b"", KEYS, now_ms=NOW_MS, target="POST /v1/attempts/a/close")
    with pytest.raises(BadSignature):
        verify(headers, b"", KEYS, now_ms=NOW_MS, target="POST /v1/attempts/b/close")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="16 characters"):
        derive_key("short", "s-1")


async def test_the_adapter_reads_what_the_provider_signed_and_nothing_else() -> None:
    key = derive_key(SECRET, PROVIDER_SERIAL)
    async with SandboxClient("http://127.0.0.1:1", SECRET, timeout_ms=1_000) as client:
        headers = sign(PROVIDER_SERIAL, key, NOTE, now_ms=now_ms())
        assert client.verify_callback(headers, NOTE) == Notification(
            attempt_id="att_1",
            transaction_id="txn_1",
            amount_fen=990,
            currency="CNY",
            paid_at_ms=1_800_000_000_000,
        )
        # Our own requests are signed with another key: they cannot come back as a callback.
        ours = sign(MERCHANT_SERIAL, derive_key(SECRET, MERCHANT_SERIAL), NOTE, now_ms=now_ms())
        with pytest.raises(BadSignature):
            client.verify_callback(ours, NOTE)
        for body in BAD_NOTES:
            signed = sign(PROVIDER_SERIAL, key, body, now_ms=now_ms())
            with pytest.raises(ProviderRefused) as refused:
                client.verify_callback(signed, body)
            assert refused.value.code == "bad_notification"


BAD_NOTES = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    NOTE.replace(b"990", b"990.0"),
    NOTE.replace(b"990", b'"990"'),
    NOTE.replace(b"990", b"true"),
    NOTE.replace(b"990", b"0"),
    NOTE.replace(b"990", b"-990"),
    NOTE.replace(b"990", str(2**63).encode()),
    NOTE.replace(b'"CNY"', b'"yuan"'),
    NOTE.replace(b"att_1", b"att/../1"),
    NOTE.replace(b"}", b',"more":1}'),
]
