"""Is this process alive, is it ready, and what has it counted."""

import asyncio
import hmac
from typing import Any

import msgspec
from litestar import Controller, Request, get
from litestar.response import Response
from sqlalchemy import text

from campaigns import problems
from campaigns.auth import PUBLIC, route
from campaigns.given import TheDb, TheInventory, TheMetrics, TheSettings
from engine import keys
from engine.db import Database
from engine.errors import KaituanError, Missing, NotSignedIn, Unavailable
from engine.inventory import Inventory
from engine.settings import Settings
from engine.tokens import bearer

READY_WITHIN_S = 2.0


class Alive(msgspec.Struct, frozen=True):
    """The process answers; nothing else is said."""

    alive: bool


class Ready(msgspec.Struct, frozen=True):
    """Each part with whether it is ready."""

    ready: bool
    parts: dict[str, bool]


class HealthController(Controller):
    """For load balancers, supervisors and monitors."""

    tags = ("health",)

    @get("/healthz", **route(PUBLIC, "Whether this process is alive"))
    async def healthz(self) -> Alive:
        """Asks no store."""
        return Alive(True)

    @get(
        "/readyz",
        **route(
            PUBLIC,
            "Whether this process can serve",
            {503: "Not ready; `parts` says which part is missing (`not_ready`)."},
        ),
    )
    async def readyz(
        self, db: TheDb, inventory: TheInventory, settings: TheSettings, metrics: TheMetrics
    ) -> Ready:
        """Hot store connected, database answering, every shard open."""
        parts = await check_parts(db, inventory, settings)
        metrics.ready = parts
        if not all(parts.values()):
            missing = ", ".join(part for part, fine in parts.items() if not fine)
            raise Unavailable("not_ready", "Not ready.", f"Missing: {missing}.", parts=parts)
        return Ready(True, parts)

    @get(
        "/metrics",
        **route(
            PUBLIC,
            "Counters for Prometheus",
            {
                401: "A monitor needs the metrics token.",
                404: "Closed: production without a metrics token.",
            },
            media_type="text/plain",
        ),
    )
    async def metrics(
        self, request: Request[Any, Any, Any], settings: TheSettings, metrics: TheMetrics
    ) -> Response[bytes]:
        """Of the process that answers; series carry its pid."""
        if not settings.metrics_token and settings.mode != "development":
            raise missing_route()
        given = bearer(request.headers.get("authorization", "").encode("latin-1"))
        if settings.metrics_token and not hmac.compare_digest(
            given, settings.metrics_token.encode()
        ):
            raise NotSignedIn("bad_token", "This is not the metrics token.")
        # The framework adds the charset; said twice, Prometheus cannot read the header.
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def missing_route() -> Missing:
    """Nothing here, as for any address that never was."""
    return Missing("route_not_found", "There is nothing at this address.", "Check the path.")


async def check_parts(db: Database, inventory: Inventory, settings: Settings) -> dict[str, bool]:
    """part → ready. A shard is ready when it is open under the epoch that PostgreSQL says."""
    shards = range(settings.shards)
    database, *open_shards = await asyncio.gather(
        _database(db), *[_shard(inventory, shard) for shard in shards]
    )
    return {
        "database": database,
        "hot_store": inventory.wire.connected,
        **{f"shard_{shard}": fine for shard, fine in zip(shards, open_shards, strict=True)},
    }


async def _database(db: Database) -> bool:
    try:
        async with asyncio.timeout(READY_WITHIN_S), db.begin() as session:
            await session.execute(text("SELECT 1"))
    except Exception as error:
        if isinstance(error, TimeoutError) or problems.is_store_trouble(error):
            return False
        raise
    return True


async def _shard(inventory: Inventory, shard: int) -> bool:
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            meta = await inventory.hash_of(keys.meta(shard))
            epoch = inventory.epochs.of(shard)
    except (KaituanError, TimeoutError):
        return False
    return (
        meta.get("epoch") == str(epoch)
        and meta["run_id"] == inventory.wire.run_id
        and meta["sealed"] == ""
    )
