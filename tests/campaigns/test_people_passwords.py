"""Passwords: argon2id in a bounded pool; an unknown login is worked on like a known one."""

import asyncio

import pytest

from campaigns.people.passwords import Passwords
from engine.errors import BadInput, Unavailable


async def test_right_wrong_and_unknown() -> None:
    passwords = Passwords()
    stored = await passwords.hash("correct horse 马")
    assert stored.startswith("$argon2id$")
    assert stored != await passwords.hash("correct horse 马")
    assert await passwords.verify(stored, "correct horse 马")
    assert not await passwords.verify(stored, "correct horse")
    assert not await passwords.verify(stored, "x" * 1_000_000)
    assert not await passwords.verify("not a hash", "correct horse 马")
    assert not await passwords.verify(None, "correct horse 马")
    # Nobody's own password does not open anything either.
    assert not await passwords.verify(None, "the password of a login that does not exist")
    passwords.close()


async def test_the_queue_is_bounded_and_recovers() -> None:
    passwords = Passwords(threads_max=1, waiting_max=1)
    asked = [asyncio.create_task(passwords.hash("12345678")) for _ in range(6)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, str) for answer in answers) == 2
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 4
    given_up = asyncio.create_task(passwords.hash("12345678"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    assert (await passwords.hash("12345678")).startswith("$argon2id$")
    passwords.close()


@pytest.mark.parametrize("password", ["", "1234567", "x" * 201])
async def test_passwords_of_a_bad_length_are_refused(password: str) -> None:
    passwords = Passwords()
    with pytest.raises(BadInput):
        await passwords.hash(password)
    passwords.close()
