"""Phone numbers: encrypted at rest, found by a keyed hash, shown as `138****1234`.

The plain number lives only between the request (or the CSV row) and `seal`. The hash is keyed,
because all Chinese mobile numbers can be hashed in minutes by whoever steals the table alone.
"""

import hmac
import os
import re
import unicodedata
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from engine.errors import BadInput, RefusedStart

SECRET_CHARS_MIN = 16
_VERSION = b"\x01"  # first byte of each cipher text: tells how it was made
_NONCE_BYTES = 12
_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_SEPARATORS = re.compile(r"[\s\-().]+")
_COUNTRY = re.compile(r"(?:\+86|0086|86)(?=1[0-9]{10}$)")


class SealedPhone(NamedTuple):
    """A number as its row keeps it: columns `phone_hash`, `phone_cipher`, `phone_shown`."""

    hash: str
    cipher: bytes
    shown: str


def normal_phone(text: str) -> str | None:
    """The 11 digits of a Chinese mobile number, or None.

    Takes spaces, dashes, full-width digits and a country code (+86, 0086, 86).
    """
    if len(text) > 40:
        return None
    digits = _SEPARATORS.sub("", unicodedata.normalize("NFKC", text))
    digits = _COUNTRY.sub("", digits)
    return digits if _MOBILE.fullmatch(digits) else None


def require_phone(text: str) -> str:
    """`normal_phone`, or BadInput `bad_phone`."""
    phone = normal_phone(text)
    if phone is None:
        raise BadInput(
            "bad_phone",
            "This is not a mobile number.",
            "A Chinese mobile number has 11 digits and begins with 13 to 19.",
        )
    return phone


def shown_phone(phone: str) -> str:
    """`13812341234` as `138****1234`: all that any page, export or log may show."""
    return f"{phone[:3]}****{phone[-4:]}"


class PhoneKeys:
    """Seals and finds numbers with keys drawn from one secret (`Settings.phone_secret`)."""

    def __init__(self, secret: str) -> None:
        if len(secret) < SECRET_CHARS_MIN:
            raise RefusedStart(
                "bad_phone_secret",
                "KAITUAN_PHONE_SECRET cannot protect phone numbers.",
                f"Give at least {SECRET_CHARS_MIN} random characters, and keep them: without "
                "them no stored number can be read or found again.",
            )
        self._hash_key = hmac.digest(secret.encode(), b"kaituan phone hash", "sha256")
        self._cipher = AESGCM(hmac.digest(secret.encode(), b"kaituan phone cipher", "sha256"))

    def hash(self, phone: str) -> str:
        """The key under which a normal number is found: 64 hex digits."""
        return hmac.digest(self._hash_key, phone.encode(), "sha256").hex()

    def seal(self, phone: str) -> SealedPhone:
        """A normal number as its row keeps it; the cipher text differs at each call."""
        found_by = self.hash(phone)
        nonce = os.urandom(_NONCE_BYTES)
        # The hash is authenticated too, so a cipher text moved to another row does not open.
        sealed = self._cipher.encrypt(nonce, phone.encode(), found_by.encode())
        return SealedPhone(found_by, _VERSION + nonce + sealed, shown_phone(phone))

    def open(self, phone_hash: str, cipher: bytes) -> str:
        """The plain number of a row; ValueError when the key or the row is another one."""
        if cipher[:1] != _VERSION:
            raise ValueError("phone cipher of an unknown version")
        nonce, sealed = cipher[1 : 1 + _NONCE_BYTES], cipher[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, sealed, phone_hash.encode()).decode()
        except InvalidTag:
            raise ValueError("phone cipher does not open with this key and row") from None
