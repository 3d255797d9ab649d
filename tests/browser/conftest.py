"""One house and one browser for all tests here; skipped where there is no Chromium, with its
reason, unless KAITUAN_BROWSER=required says that there has to be one.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from cli.shop import keep_doors
from tests.browser.chromium import PHONE, Screen, find, launched, pages_are_built
from tests.system.house import House, lived_in, opened_house

NewScreen = Callable[..., Awaitable[Screen]]


def _missing(why: str) -> None:
    if os.environ.get("KAITUAN_BROWSER") == "required":
        pytest.fail(f"{why}, and KAITUAN_BROWSER=required")
    pytest.skip(why)


@pytest_asyncio.fixture(scope="package")
async def browser() -> AsyncIterator[Browser]:
    path = find()
    if not path:
        _missing("there is no Chromium here (on Debian: apt-get install chromium fonts-noto-cjk)")
    elif not pages_are_built():
        _missing("the pages are not built (make pages)")
    else:
        async with launched(path) as one:
            yield one


@pytest_asyncio.fixture(scope="package")
async def whole_house(browser: Browser) -> AsyncIterator[House]:
    async with opened_house(law_check_every_ms=15_000) as one:
        # As in the demo: elsewhere a browser's console tells that there are no sign-ins to show.
        keep_doors(one.fresh.supervisor.place.folder, one.fresh.shop, one.fresh.keys)
        yield one


@pytest_asyncio.fixture
async def house(
    whole_house: House, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[House]:
    """The running house with a history of this test's own."""
    await whole_house.until_ready(within_s=30)
    async with lived_in(whole_house, tmp_path_factory.mktemp("history")) as one:
        yield one


@pytest_asyncio.fixture
async def screen(browser: Browser, house: House) -> AsyncIterator[NewScreen]:
    """Makes screens. At its end none may have complained, on the console or of a strange request.

    A test that cuts the network on purpose empties `complaints` itself.
    """
    made: list[Screen] = []

    async def new(device: dict[str, Any] = PHONE, **how: Any) -> Screen:
        one = await Screen.open(browser, house.settings.public_url, device, **how)
        made.append(one)
        return one

    yield new
    complaints = [complaint for one in made for complaint in one.complaints]
    for one in made:
        await one.close()
    assert complaints == []
