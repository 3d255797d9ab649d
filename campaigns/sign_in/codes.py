"""One-time codes for customers: six digits, kept in the hot store, never in a process.

A code works once, for `code_ttl_ms` and `code_tries_max` tries; a phone gets `code_sends_max` of
them per `code_window_ms`. The store keeps a keyed digest, so reading it does not give the code.
Whether a phone belongs to a member makes no difference anywhere here.
"""

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis.asyncio import Redis

from campaigns.people.phones import PhoneKeys
from engine import keys
from engine.errors import NotSignedIn, TooMany, Unavailable
from engine.scripts import load_all
from engine.settings import Settings

Deliver = Callable[[str, str], Awaitable[None]]  # (phone, code): the text message service


class OneTimeCodes:
    """Sends and checks codes. Without `deliver` only development mode can send any."""

    def __init__(
        self, redis: Redis, settings: Settings, phones: PhoneKeys, deliver: Deliver | None = None
    ) -> None:
        self._redis = redis
        self._settings = settings
        self._phones = phones
        self._deliver = deliver
        self._check = load_all()["code_check"]

    async def send(self, phone: str) -> str | None:
        """Make and send a new code for a normal `phone`; an earlier one stops working.

        Returns the code itself in development mode (the sandbox shows it), else None. Raises
        TooMany `too_many_codes` (with `retry_after_ms`), Unavailable `no_text_messages`.
        """
        sandbox = self._settings.mode == "development"
        if self._deliver is None and not sandbox:
            raise Unavailable(
                "no_text_messages",
                "Codes cannot be sent at the moment.",
                "No text message service is set up; nothing was changed.",
            )
        found_by = self._phones.hash(phone)
        await self._count_send(found_by)
        code = f"{secrets.randbelow(1_000_000):06d}"
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(keys.code(found_by))
            pipe.hset(
                keys.code(found_by), mapping={"digest": self._digest(phone, code), "tries": 0}
            )
            pipe.pexpire(keys.code(found_by), self._settings.code_ttl_ms)
            await pipe.execute()
        if self._deliver is not None:
            await self._deliver(phone, code)
        return code if sandbox else None

    async def redeem(self, phone: str, code: str) -> None:
        """Use up the code of a normal `phone`; NotSignedIn `wrong_code` says nothing more."""
        run = self._redis.eval(
            self._check.source,
            1,
            keys.code(self._phones.hash(phone)),
            self._digest(phone, code[:16]),
            str(self._settings.code_tries_max),
        )
        if await cast(Awaitable[Any], run) not in (b"right", "right"):
            raise NotSignedIn(
                "wrong_code",
                "This code is wrong or no longer valid.",
                "Check the digits, or ask for a new code.",
            )

    async def _count_send(self, found_by: str) -> None:
        async with self._redis.pipeline(transaction=True) as pipe:
            key = keys.code_sends(found_by)
            pipe.set(key, 0, px=self._settings.code_window_ms, nx=True)
            pipe.incr(key)
            pipe.pttl(key)
            _, sends, left_ms = await pipe.execute()
        if sends > self._settings.code_sends_max:
            raise TooMany(
                "too_many_codes",
                "Too many codes were asked for with this number.",
                f"Please wait {left_ms // 60_000 + 1} minutes; the last code may still work.",
                retry_after_ms=left_ms,
            )

    def _digest(self, phone: str, code: str) -> str:
        return self._phones.hash(f"{phone}:{code}")
