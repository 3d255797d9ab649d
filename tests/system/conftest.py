"""One house for all modules (starting it takes seconds), and for each a history of its own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.system.house import House, lived_in, opened_house


@pytest_asyncio.fixture(scope="package")
async def whole_house() -> AsyncIterator[House]:
    """Everything that `kaituan up` starts, and nothing of it afterwards."""
    async with opened_house() as one:
        yield one


@pytest_asyncio.fixture(scope="module")
async def house(
    whole_house: House, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """The running house, in order, with an empty history."""
    await whole_house.until_ready(within_s=30)
    async with lived_in(whole_house, tmp_path_factory.mktemp("history")) as one:
        yield one
