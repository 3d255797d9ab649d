"""Passwords: argon2id, in a small pool of threads with a bounded queue.

Each hash takes 64 MiB and some 50 ms of a core by intention, so a flood of sign-ins must not
take all of memory or the event loop. An unknown login costs as much as a wrong password.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from engine.errors import BadInput, Unavailable

PASSWORD_CHARS_MIN = 8
PASSWORD_CHARS_MAX = 200

_Result = TypeVar("_Result")


class Passwords:
    """Hashes and checks; at most `threads_max` at once and `waiting_max` waiting."""

    def __init__(self, *, threads_max: int = 2, waiting_max: int = 32) -> None:
        self._hasher = PasswordHasher()
        self._threads = ThreadPoolExecutor(threads_max, thread_name_prefix="argon2")
        self._places = threading.Semaphore(threads_max + waiting_max)
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The encoded argon2id hash; BadInput `bad_password` when it is too short or long."""
        if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
            raise BadInput(
                "bad_password",
                "This password cannot be used.",
                f"Take {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters.",
            )
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether `password` is the one; None (no such login) takes as long and is False."""
        return await self._run(lambda: self._verify(password_hash, password[:PASSWORD_CHARS_MAX]))

    def close(self) -> None:
        """Let the running hashes end and stop the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _verify(self, password_hash: str | None, password: str) -> bool:
        if self._nobody is None:
            self._nobody = self._hasher.hash("the password of a login that does not exist")
        try:
            self._hasher.verify(password_hash or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if not self._places.acquire(blocking=False):
            raise Unavailable("busy", "Too many people are signing in.", "Please try again.")
        future = self._threads.submit(work)
        # The place is given back when the thread is free again, not when the caller gave up.
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)
