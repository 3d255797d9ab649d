"""Room tokens: what a viewer shows the gateway in the first frame, checked without a store.

Signed as access tokens are (engine/tokens.py), under another person of the same secrets, so that
neither passes for the other. A token names the topics that may be read and lives five minutes;
a viewer renews it over the same connection.
"""

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from engine.errors import NotSignedIn, RefusedStart
from engine.tokens import SECRET_CHARS_MIN

RoomRole = Literal["hq", "guide", "customer", "viewer"]

ROOM_TOKEN_BYTES_MAX = 2_048
_PERSON = b"kaituan-room"


class RoomPass(msgspec.Struct, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True):
    """Who watches and what. `subject` and `nickname` are "" for an anonymous viewer."""

    subject: str
    nickname: str
    role: RoomRole
    topics: tuple[str, ...]
    key_id: str
    expires_at_ms: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(RoomPass).decode
_STANDARD = bytes.maketrans(b"-_", b"+/")


class RoomTokens:
    """The secrets by key id. All of them verify; `current` signs."""

    def __init__(self, secrets: Mapping[str, str], current: str) -> None:
        if current not in secrets or any(len(s) < SECRET_CHARS_MIN for s in secrets.values()):
            raise RefusedStart(
                "bad_token_secret",
                "KAITUAN_TOKEN_SECRET cannot sign room tokens.",
                f"Give at least {SECRET_CHARS_MIN} random characters, or "
                "`id:secret,id:secret` to change keys: the first signs, all are accepted.",
            )
        self._secrets = {
            key_id: hashlib.blake2b(secret.encode(), person=_PERSON).digest()
            for key_id, secret in secrets.items()
        }
        self._current = current

    @classmethod
    def from_setting(cls, text: str) -> "RoomTokens":
        """From `Settings.token_secret`: one secret, or `id:secret,id:secret` (the first signs)."""
        if ":" not in text:
            return cls({"k1": text}, "k1")
        pairs = [part.strip().partition(":") for part in text.split(",")]
        return cls({key_id: secret for key_id, _, secret in pairs}, pairs[0][0])

    def sign(
        self,
        subject: str,
        role: RoomRole,
        *,
        nickname: str,
        topics: Sequence[str],
        expires_at_ms: int,
    ) -> str:
        """A token for these topics until `expires_at_ms`."""
        given = RoomPass(subject, nickname, role, tuple(topics), self._current, expires_at_ms)
        payload = urlsafe_b64encode(_encode(given)).rstrip(b"=")
        token = payload + b"." + _signature(self._secrets[self._current], payload)
        if len(token) > ROOM_TOKEN_BYTES_MAX:
            raise ValueError("nickname and topics are too long for a room token")
        return token.decode()

    def verify(self, token: str, now_ms: int) -> RoomPass:
        """What a genuine, unexpired token says.

        Raises NotSignedIn: `no_token` (empty), `bad_token` (not one of ours), `token_expired`.
        """
        if not token:
            raise NotSignedIn("no_token", "Show a room token first.")
        if len(token) > ROOM_TOKEN_BYTES_MAX:
            raise _bad_token()
        try:
            payload, _, signature = token.encode("ascii").partition(b".")
            given = _decode(binascii.a2b_base64(payload.translate(_STANDARD) + b"=="))
        except (UnicodeError, binascii.Error, msgspec.MsgspecError):
            raise _bad_token() from None
        secret = self._secrets.get(given.key_id)
        if secret is None or not hmac.compare_digest(signature, _signature(secret, payload)):
            raise _bad_token()
        if now_ms >= given.expires_at_ms:
            raise NotSignedIn("token_expired", "This room token has expired. Ask for a new one.")
        return given


def _signature(secret: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, key=secret, digest_size=16).hexdigest().encode()


def _bad_token() -> NotSignedIn:
    return NotSignedIn("bad_token", "This room token is not valid. Ask for a new one.")
