"""Signatures over raw bytes, in both directions between us and a provider.

HMAC-SHA256 over `timestamp\\nnonce\\nbody\\n` (requests put `METHOD target\\n` in front) with the
key of an allow-listed serial. `verify` looks at the timestamp before anything else, and only
bytes that pass are ever decoded. It keeps no nonces: a replay within the tolerance is harmless,
since every message states a fact that has one effect however often it is told.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Final

from campaigns.payment.provider import BadSignature

TOLERANCE_MS: Final = 300_000
SERIAL: Final = "pay-serial"
TIMESTAMP: Final = "pay-timestamp"
NONCE: Final = "pay-nonce"
SIGNATURE: Final = "pay-signature"

# ASCII on purpose: \d and \w would let other scripts' digits in, and a newline in a nonce could
# move the border between nonce and body without changing the signed bytes.
_SECONDS = re.compile(r"[0-9]{1,12}\Z")
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")


def derive_key(secret: str, serial: str) -> bytes:
    """The key of one direction. One key per serial: a request cannot be played back as callback.

    Raises ValueError for a secret shorter than 16 characters.
    """
    if len(secret) < 16:
        raise ValueError("The secret shared with the payment provider needs 16 characters or more.")
    return hmac.digest(secret.encode(), b"kaituan-pay\n" + serial.encode(), "sha256")


def _mac(key: bytes, timestamp: str, nonce: str, body: bytes, target: str) -> bytes:
    head = f"{target}\n" if target else ""
    message = f"{head}{timestamp}\n{nonce}\n".encode() + body + b"\n"
    return hmac.new(key, message, hashlib.sha256).hexdigest().encode()


def sign(
    serial: str,
    key: bytes,
    body: bytes,
    *,
    now_ms: int,
    target: str = "",
    nonce: str | None = None,
) -> dict[str, str]:
    """The four headers that sign `body` (and `target`, e.g. `GET /v1/bills/1`) at `now_ms`."""
    timestamp = str(now_ms // 1000)
    nonce = secrets.token_hex(16) if nonce is None else nonce
    return {
        SERIAL: serial,
        TIMESTAMP: timestamp,
        NONCE: nonce,
        SIGNATURE: _mac(key, timestamp, nonce, body, target).decode(),
    }


def verify(
    headers: Mapping[str, str],
    body: bytes,
    keys: Mapping[str, bytes],
    *,
    now_ms: int,
    target: str = "",
    tolerance_ms: int = TOLERANCE_MS,
) -> None:
    """Return when a key in `keys` (serial → key) signed these bytes within the tolerance.

    Header names in any case. Raises BadSignature with its reason.
    """
    found = {name.lower(): value for name, value in headers.items()}
    timestamp = found.get(TIMESTAMP, "")
    if _SECONDS.match(timestamp) is None:
        raise BadSignature("malformed")
    if abs(now_ms - int(timestamp) * 1000) > tolerance_ms:
        raise BadSignature("stale")
    key = keys.get(found.get(SERIAL, ""))
    if key is None:
        raise BadSignature("unknown_serial")
    nonce = found.get(NONCE, "")
    if _NONCE.match(nonce) is None:
        raise BadSignature("malformed")
    # As bytes: compare_digest raises TypeError on a str that is not ASCII, which a stranger
    # could use to turn a refusal into a server error.
    given = found.get(SIGNATURE, "").encode("utf-8", "surrogateescape")
    if not hmac.compare_digest(given, _mac(key, timestamp, nonce, body, target)):
        raise BadSignature("wrong")
