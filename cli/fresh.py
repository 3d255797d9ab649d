"""A fresh Kaituan in a temporary place, with the sample chain and HQ signed in: for load and bench.

The environment's addresses are not read on purpose: load is never put on somebody's real servers.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from campaigns.people.imports.service import ImportFile, import_files
from campaigns.people.passwords import Passwords
from campaigns.people.phones import PhoneKeys
from campaigns.sign_in.service import NewStaff, seed_staff
from cli.demo.headquarters import Headquarters
from cli.place import temporary_place
from cli.sample import FILES
from cli.services import start_all
from cli.supervisor import Supervisor
from engine.db import Database
from engine.settings import Settings

HQ_LOGIN = "hq"
SPLIT_PLAN = {
    "promoter_bps": 800,
    "upline_bps": 200,
    "store_bps": 1_000,
    "level_two": True,
    "cap_bps": 3_000,
}


@dataclass(frozen=True)
class Fresh:
    """What runs, under which settings, and HQ's signed-in client."""

    settings: Settings
    supervisor: Supervisor
    hq: Headquarters

    async def publish(self, draft: dict[str, Any]) -> list[dict[str, Any]]:
        """Draft, submit, approve and publish over HTTP; the published offers."""
        campaign = await self.hq.ask("POST", "/v1/campaigns", {"split_plan": SPLIT_PLAN, **draft})
        path = f"/v1/campaigns/{campaign['id']}"
        await self.hq.ask("POST", f"{path}/submit")
        await self.hq.ask("POST", f"{path}/review", {"decision": "approve", "note": "sample"})
        published = await self.hq.ask("POST", f"{path}/publish")
        offers: list[dict[str, Any]] = published["offers"]
        return offers


@asynccontextmanager
async def fresh_kaituan(say: Callable[[str], None], **changes: Any) -> AsyncIterator[Fresh]:
    """Start everything on embedded stores; nothing of it is left afterwards.

    `changes` are settings. A signal ends the block in order, as everywhere under a supervisor.
    """
    given = Settings(**{"mode": "development", "api_port": 0, **changes})
    with temporary_place() as place:
        async with Supervisor(place, say=say) as supervisor:
            settings = await start_all(supervisor, given, say)
            password = secrets.token_urlsafe(12)
            await _open_shop(settings, password)
            hq = Headquarters(settings.public_url)
            try:
                await hq.sign_in(HQ_LOGIN, password)
                yield Fresh(settings, supervisor, hq)
            finally:
                await hq.close()


async def _open_shop(settings: Settings, password: str) -> None:
    db = Database(settings.database_url, pool_max=2)
    passwords = Passwords()
    try:
        files = [ImportFile(path.name, path.read_bytes()) for path in FILES]
        await import_files(db, settings, PhoneKeys(settings.phone_secret), files, actor="load")
        await seed_staff(db, passwords, [NewStaff(HQ_LOGIN, "总部运营", "hq", password)])
    finally:
        passwords.close()
        await db.close()
