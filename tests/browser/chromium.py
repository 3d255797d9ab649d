"""The machine's own Chromium, and a screen in it that keeps what went wrong.

Nothing is downloaded: `find` looks on the PATH. Only loopback is ever asked for.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Without them a browser that may not reach the internet tries it again and again.
_QUIET = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
)
PHONE: dict[str, Any] = {
    "viewport": {"width": 360, "height": 780},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}


def find() -> str | None:
    """The path of a Chromium, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def pages_are_built() -> bool:
    """Whether there are pages to look at."""
    return (Path(__file__).parents[2] / "web" / "dist" / "index.html").is_file()


@asynccontextmanager
async def launched(path: str) -> AsyncIterator[Browser]:
    """A headless browser; root needs it without its sandbox."""
    arguments = [*_QUIET, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


class Screen:
    """Somebody's screen: a context of its own with one page, and all complaints of it."""

    def __init__(self, context: BrowserContext, page: Page, base_url: str) -> None:
        self.context, self.page, self.base_url = context, page, base_url
        self.complaints: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        context.on("request", lambda request: self._on_request(request.url))

    @classmethod
    async def open(
        cls, browser: Browser, base_url: str, device: dict[str, Any], *, locale: str = "zh-CN"
    ) -> "Screen":
        """A fresh screen; nothing is shown yet."""
        context = await browser.new_context(**device, locale=locale, timezone_id="Asia/Shanghai")
        return cls(context, await context.new_page(), base_url)

    async def go(self, path: str) -> None:
        await self.page.goto(self.base_url + path)

    async def tap(self, testid: str) -> None:
        await self.page.get_by_test_id(testid).first.click()

    async def value(self, testid: str, attribute: str) -> str | None:
        """An attribute of the element, None while it is not there."""
        found = self.page.get_by_test_id(testid).first
        return await found.get_attribute(attribute) if await found.count() else None

    async def is_wider_than_itself(self) -> bool:
        """Whether one can scroll sideways."""
        wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        return bool(await self.page.evaluate(wider))

    async def close(self) -> None:
        await self.context.close()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"console {message.type}: {message.text[:300]}")

    def _on_request(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            self.complaints.append(f"asked for {url[:200]}")
