"""Pick-up codes: twelve signs to be read aloud or scanned, signed, and stored nowhere.

Six signs are the pick-up's number, six an HMAC over purpose, order, store and time window, in
base 32 without I L O U. A code shown is good for `pick_up_code_ms` at least and twice that at
most; the customer's page always shows a fresh one. Guessing one means 2^30 tries per number, and
a store has `pick_up_tries_max` wrong ones a minute.
"""

import hashlib
import hmac
from collections.abc import Awaitable
from typing import Any, Final, Literal, NamedTuple, cast

from redis.asyncio import Redis

from engine import keys
from engine.errors import TooMany
from engine.scripts import load_all
from engine.settings import Settings

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_HEARD: Final = str.maketrans("OIL", "011", "- ")
_SIGNS: Final = 6
_BITS: Final = 5 * _SIGNS
_PERSON: Final = b"kaituan-pick-up"
SERIAL_MAX: Final = 2**_BITS - 1
EXPIRED_WINDOWS: Final = 8  # further back an old code is just a wrong one

Judged = Literal["right", "expired", "wrong"]


class Shown(NamedTuple):
    """A code as the customer sees it, three groups of four, and until when it is good."""

    code: str
    expires_at_ms: int


class PickUpCodes:
    """Makes and judges codes, and counts a store's tries. One per process."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        # `id:secret,id:secret` while the secret is changed: the first signs, all are accepted.
        secrets = [
            part.partition(":")[2] or part for part in settings.token_secret.strip().split(",")
        ]
        self._keys = [
            hashlib.blake2b(secret.strip().encode(), person=_PERSON).digest() for secret in secrets
        ]
        self._redis = redis
        self._term_ms = settings.pick_up_code_ms
        self._tries_max = settings.pick_up_tries_max
        self._window_ms = settings.pick_up_window_ms
        self._tries = load_all()["tries"]

    def show(self, serial: int, order_id: str, store_id: str, now_ms: int) -> Shown:
        """The code of this pick-up at this time."""
        if not 0 < serial <= SERIAL_MAX:
            raise AssertionError(f"pick-up number {serial} does not fit into a code")
        window = now_ms // self._term_ms
        signs = _base32(serial) + _mac(self._keys[0], order_id, store_id, window)
        code = "-".join((signs[:4], signs[4:8], signs[8:]))
        return Shown(code, (window + 2) * self._term_ms)

    def judge(self, signs: str, order_id: str, store_id: str, now_ms: int) -> Judged:
        """Whether `signs` (from `read_code`) are the code of this order here, now or lately."""
        window = now_ms // self._term_ms
        found: Judged = "wrong"
        for age in range(EXPIRED_WINDOWS):  # all of them, so that the time taken says nothing
            for key in self._keys:
                wanted = _mac(key, order_id, store_id, window - age)
                if hmac.compare_digest(wanted, signs):
                    found = "right" if age < 2 else "expired"
        return found

    async def take_try(self, store_id: str) -> None:
        """Count a try of this store; TooMany `too_many_tries` with `retry_after_ms`."""
        word, left_ms = await self._run(store_id, 1)
        if word in (b"wait", "wait"):
            raise TooMany(
                "too_many_tries",
                "Too many wrong pick-up codes were tried in this store.",
                "Nothing was handed over. Wait a minute, then let the customer open the order "
                "again and read its code slowly.",
                retry_after_ms=int(left_ms),
            )

    async def give_try_back(self, store_id: str) -> None:
        """The try turned out right: only wrong ones count."""
        await self._run(store_id, -1)

    async def _run(self, store_id: str, step: int) -> tuple[Any, Any]:
        run = self._redis.eval(
            self._tries.source,
            1,
            keys.pick_up_tries(store_id),
            str(step),
            str(self._tries_max),
            str(self._window_ms),
        )
        word, left_ms = await cast(Awaitable[Any], run)
        return word, left_ms


def read_code(text: str) -> tuple[int, str] | None:
    """The number and the signature of a code as heard or scanned; None when it cannot be one."""
    signs = text.upper().translate(_HEARD)
    if len(signs) != 2 * _SIGNS or any(sign not in _ALPHABET for sign in signs):
        return None
    serial = 0
    for sign in signs[:_SIGNS]:
        serial = serial * 32 + _ALPHABET.index(sign)
    return (serial, signs[_SIGNS:]) if serial else None


def _mac(key: bytes, order_id: str, store_id: str, window: int) -> str:
    said = "\0".join(("pick-up", order_id, store_id, str(window)))
    digest = hmac.digest(key, said.encode(), "sha256")
    return _base32(int.from_bytes(digest[:8], "big") & SERIAL_MAX)


def _base32(value: int) -> str:
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(_BITS - 5, -1, -5))
