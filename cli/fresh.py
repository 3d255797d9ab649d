"""A fresh Kaituan in a temporary place, with the sample chain and HQ signed in: for load and bench.

The environment's addresses are not read on purpose: load is never put on somebody's real servers.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from cli.demo.headquarters import SPLIT_PLAN, Headquarters
from cli.place import temporary_place
from cli.services import start_all
from cli.shop import HQ_LOGIN, Host, Keys, Shop, open_shop
from cli.supervisor import Supervisor
from engine.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Fresh:
    """What runs, under which settings, HQ's signed-in client, and who else can sign in."""

    settings: Settings
    supervisor: Supervisor
    hq: Headquarters
    shop: Shop
    keys: Keys

    @property
    def host(self) -> Host:
        """A guide for a room."""
        return self.shop.hosts[0]

    async def unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns; a signal meanwhile cancels it and drains."""
        return await self.supervisor.unless_stopped(work)

    async def publish(self, draft: dict[str, Any]) -> list[dict[str, Any]]:
        """Draft, submit, approve and publish over HTTP; the published offers."""
        return await self.hq.publish({"split_plan": SPLIT_PLAN, **draft})


@asynccontextmanager
async def fresh_kaituan(say: Callable[[str], None], **changes: Any) -> AsyncIterator[Fresh]:
    """Start everything on embedded stores; nothing of it is left afterwards.

    `changes` are settings. A signal ends the block in order, as everywhere under a supervisor.
    """
    given = Settings(**{"mode": "development", "api_port": 0, "gateway_port": 0, **changes})
    with temporary_place() as place:
        async with Supervisor(place, say=say) as supervisor:
            settings = await start_all(supervisor, given, say)
            keys = Keys(secrets.token_urlsafe(12), secrets.token_urlsafe(12))
            shop = await open_shop(settings, keys)
            hq = Headquarters(settings.public_url)
            try:
                await hq.sign_in(HQ_LOGIN, keys.hq)
                yield Fresh(settings, supervisor, hq, shop, keys)
            finally:
                await hq.close()
