"""Access tokens: signed, and checked without a store.

`base64url(msgpack payload) "." hex(keyed BLAKE2b of that text, 128 bits)`. The payload names the
key that signed it, and the server alone decides what a key is: there is no algorithm to choose.
Signatures are compared in their encoded form, so each token has exactly one spelling.
On the hot path of every claim (which knows a verified token again: campaigns/claim/hot.py), and
about 3 µs there; HMAC-SHA256, which looks its digest up anew each time, cost 12,000 instructions of
30,000 more.
"""

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Literal

import msgspec

from engine.errors import NotSignedIn, RefusedStart

Role = Literal["hq", "guide", "customer", "load"]

TOKEN_BYTES_MAX = 512  # ours have about 130; a longer one is refused before any work
SECRET_CHARS_MIN = 16


class Access(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Who asks. `scope` is what `role` is limited to (a store id, say; "" = no more than the role).

    `new` tells that this customer had no paid order at sign-in, `traits` what else was known then:
    `m` for a member, `b` for bound to a guide. A token without them (signed by an older version)
    still verifies: what it does not say does not hold, until the next sign-in.
    """

    subject: str
    role: Role
    scope: str
    key_id: str
    expires_at_ms: int
    new: bool = False
    traits: str = ""

    @property
    def all_traits(self) -> str:
        """As the scripts take them: letters, `n` for a new customer."""
        return "n" + self.traits if self.new else self.traits


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Access).decode
_STANDARD = bytes.maketrans(b"-_", b"+/")


class TokenKeys:
    """The secrets by key id. All of them verify; `current` signs."""

    def __init__(self, secrets: Mapping[str, str], current: str) -> None:
        if current not in secrets or any(len(s) < SECRET_CHARS_MIN for s in secrets.values()):
            raise RefusedStart(
                "bad_token_secret",
                "KAITUAN_TOKEN_SECRET cannot sign access tokens.",
                f"Give at least {SECRET_CHARS_MIN} random characters, or "
                "`id:secret,id:secret` to change keys: the first signs, all are accepted.",
            )
        # A secret may have any length, a key of BLAKE2b has at most 64 bytes.
        self._secrets = {
            key_id: hashlib.blake2b(secret.encode(), person=b"kaituan-token").digest()
            for key_id, secret in secrets.items()
        }
        self._current = current

    @classmethod
    def from_setting(cls, text: str) -> "TokenKeys":
        """From `Settings.token_secret`: one secret, or `id:secret,id:secret` (the first signs)."""
        if ":" not in text:
            return cls({"k1": text}, "k1")
        pairs = [part.strip().partition(":") for part in text.split(",")]
        return cls({key_id: secret for key_id, _, secret in pairs}, pairs[0][0])

    def sign(
        self,
        subject: str,
        role: Role,
        *,
        expires_at_ms: int,
        scope: str = "",
        new: bool = False,
        traits: str = "",
    ) -> str:
        """A token for `subject` until `expires_at_ms`."""
        access = Access(subject, role, scope, self._current, expires_at_ms, new, traits)
        payload = urlsafe_b64encode(_encode(access)).rstrip(b"=")
        token = payload + b"." + _signature(self._secrets[self._current], payload)
        if len(token) > TOKEN_BYTES_MAX:
            raise ValueError("subject and scope are too long for a token")
        return token.decode()

    def verify(self, token: str | bytes, now_ms: int) -> Access:
        """What a genuine, unexpired token says.

        Raises NotSignedIn: `no_token` (empty), `bad_token` (not one of ours), `token_expired`.
        """
        if not token:
            raise NotSignedIn("no_token", "Please sign in first.")
        if len(token) > TOKEN_BYTES_MAX:
            raise _bad_token()
        try:
            raw = token.encode("ascii") if isinstance(token, str) else token
            payload, _, signature = raw.partition(b".")
            access = _decode(binascii.a2b_base64(payload.translate(_STANDARD) + b"=="))
        except (UnicodeError, binascii.Error, msgspec.MsgspecError):
            raise _bad_token() from None
        secret = self._secrets.get(access.key_id)
        if secret is None or not hmac.compare_digest(signature, _signature(secret, payload)):
            raise _bad_token()
        if now_ms >= access.expires_at_ms:
            raise NotSignedIn("token_expired", "Your sign-in has expired. Please sign in again.")
        return access


def bearer(authorization: bytes) -> bytes:
    """The token of an `Authorization` header's value, or b"" when it holds none."""
    return authorization[7:].strip() if authorization[:7].lower() == b"bearer " else b""


def _signature(secret: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, key=secret, digest_size=16).hexdigest().encode()


def _bad_token() -> NotSignedIn:
    return NotSignedIn("bad_token", "This sign-in is not valid. Please sign in again.")
