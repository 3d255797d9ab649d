"""A house per module: starting one takes a few seconds, and the tests of a module share it."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.system.house import House, opened_house


@pytest_asyncio.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Everything that `kaituan up` starts, and nothing of it afterwards."""
    async with opened_house(tmp_path_factory.mktemp("house")) as one:
        yield one
