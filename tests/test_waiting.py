"""The helper that tests wait with waits: an assertion that fails means not yet."""

import pytest

from tests.waiting import eventually


async def test_an_assertion_that_fails_is_not_yet() -> None:
    tries = 0

    async def third() -> bool:
        nonlocal tries
        tries += 1
        assert tries == 3
        return True

    assert await eventually(third, every_s=0) is True
    assert tries == 3


async def test_the_last_assertion_is_what_is_raised() -> None:
    async def never() -> bool:
        raise AssertionError("why not")

    with pytest.raises(AssertionError, match="why not"):
        await eventually(never, within_s=0.05, every_s=0)
