"""What an API process is made of, opened in order and closed in reverse."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis
from sqlalchemy.exc import ProgrammingError

from campaigns.catalog import Catalog
from campaigns.claim.hot import HotClaims
from campaigns.claim.sold_out import SoldOut
from campaigns.fulfilment.codes import PickUpCodes
from campaigns.metrics import Metrics
from campaigns.payment.provider import PaymentProvider
from campaigns.payment.sandbox_client import SandboxClient
from campaigns.people.passwords import Passwords
from campaigns.people.phones import PhoneKeys
from campaigns.sign_in.codes import OneTimeCodes
from engine.db import Database
from engine.errors import RefusedStart
from engine.inventory import Inventory
from engine.room_tokens import RoomTokens
from engine.rooms import RoomLogs
from engine.scripts import load_all
from engine.settings import Settings
from engine.shards import Epochs
from engine.store import check_database, check_hot_store, connect
from engine.teams import Teams
from engine.tokens import TokenKeys
from engine.waiting import Waiting
from engine.wire import Wire

log = logging.getLogger(__name__)

PROVIDER_NAME = "sandbox"


@dataclass(frozen=True)
class Parts:
    """The objects of one process; handlers are handed those that they name."""

    settings: Settings
    db: Database
    redis: Redis
    inventory: Inventory
    teams: Teams
    waiting: Waiting
    catalog: Catalog
    tokens: TokenKeys
    passwords: Passwords
    phones: PhoneKeys
    codes: OneTimeCodes
    pick_up_codes: PickUpCodes
    provider: PaymentProvider
    provider_name: str
    metrics: Metrics
    hot: HotClaims
    logs: RoomLogs
    room_tokens: RoomTokens


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """Connect to the stores, waiting for ones that are still starting.

    RefusedStart says in a sentence what is missing, too old or unsafe.
    """
    _require(settings)
    tokens = TokenKeys.from_setting(settings.token_secret)
    phones = PhoneKeys(settings.phone_secret)
    async with AsyncExitStack() as stack:
        redis = connect(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        db = Database(settings.database_url, pool_max=settings.pool_max)
        stack.push_async_callback(db.close)
        await _patiently(settings, lambda: check_hot_store(redis, unsafe=settings.unsafe_store))
        await _patiently(settings, lambda: check_database(db, unsafe=settings.unsafe_store))
        inventory, teams, waiting, catalog = await _open_engine(stack, settings, db)
        passwords = Passwords(
            threads_max=settings.password_threads_max, waiting_max=settings.password_waiting_max
        )
        stack.callback(passwords.close)
        provider = SandboxClient(
            settings.provider_url, settings.sandbox_secret, timeout_ms=settings.provider_timeout_ms
        )
        stack.push_async_callback(provider.aclose)
        metrics = Metrics()
        sold_out = SoldOut(
            inventory,
            metrics,
            offers_max=settings.sold_out_offers_max,
            holders_max=settings.sold_out_holders_max,
        )
        stack.push_async_callback(sold_out.close)
        body_bytes_max = settings.body_bytes_max
        yield Parts(
            settings=settings,
            db=db,
            redis=redis,
            inventory=inventory,
            teams=teams,
            waiting=waiting,
            catalog=catalog,
            tokens=tokens,
            passwords=passwords,
            phones=phones,
            codes=OneTimeCodes(redis, settings, phones),
            pick_up_codes=PickUpCodes(redis, settings),
            provider=provider,
            provider_name=PROVIDER_NAME,
            metrics=metrics,
            hot=HotClaims(
                *(inventory, teams, catalog, tokens, metrics, sold_out),
                body_bytes_max=body_bytes_max,
                tokens_seen_max=settings.tokens_seen_max,
            ),
            logs=RoomLogs(inventory.wire, settings=settings),
            room_tokens=RoomTokens.from_setting(settings.token_secret),
        )


async def _open_engine(
    stack: AsyncExitStack, settings: Settings, db: Database
) -> tuple[Inventory, Teams, Waiting, Catalog]:
    """The wire to the hot store, and what is read anew from PostgreSQL beside it."""
    scripts = load_all()
    wire = Wire(settings.redis_url, scripts.values(), in_flight_max=settings.claims_in_flight_max)
    await wire.start()
    stack.push_async_callback(wire.close)
    epochs = Epochs(db)
    catalog = Catalog(
        db,
        every_ms=settings.catalog_refresh_ms,
        offers_max=settings.catalog_offers_max,
        misses_max=settings.catalog_misses_max,
    )
    try:
        await epochs.start()
        stack.push_async_callback(epochs.close)
        await catalog.start()
        stack.push_async_callback(catalog.close)
    except ProgrammingError as error:
        raise RefusedStart(
            "not_migrated", "The database has no (or an old) schema; run `kaituan migrate`."
        ) from error
    lag_max_ms, scan_max = settings.settle_lag_max_ms, settings.wait_scan_max
    return (
        Inventory(wire, epochs, scripts, settle_lag_max_ms=lag_max_ms, wait_scan_max=scan_max),
        Teams(wire, epochs, scripts, settle_lag_max_ms=lag_max_ms),
        Waiting(wire, epochs, scripts, settle_lag_max_ms=lag_max_ms, wait_scan_max=scan_max),
        catalog,
    )


def _require(settings: Settings) -> None:
    """Refuse a start without what has no safe default, naming all that is missing."""
    needed = ("redis_url", "database_url", "token_secret", "phone_secret", "sandbox_secret")
    missing = [f"KAITUAN_{name.upper()}" for name in needed if not getattr(settings, name)]
    if missing:
        raise RefusedStart("missing_setting", f"The API cannot start without {', '.join(missing)}.")


async def _patiently(settings: Settings, check: Callable[[], Awaitable[object]]) -> None:
    """Repeat a check while its store cannot be reached; what is unfit is refused at once."""
    loop = asyncio.get_running_loop()
    until = loop.time() + settings.start_wait_ms / 1000
    while True:
        try:
            await check()
        except RefusedStart as error:
            if not error.code.endswith("_unreachable") or loop.time() > until:
                raise
            log.info("waiting for a store: %s", error.code)
            await asyncio.sleep(0.2)
        else:
            return
