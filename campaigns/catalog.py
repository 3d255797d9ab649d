"""Which offers there are and on which shard: a process's copy, so that a claim asks no SQL.

An offer's published facts never change, so an entry is loaded once (and again while it waits for
a host to launch it). `start` keeps the offers on
sale in memory, read anew each `every_ms`; an unknown id is looked up by itself, all that arrive
meanwhile in one query and at most one query each `MISS_EVERY_S`, so that made-up ids cost little.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

import msgspec
from sqlalchemy import BigInteger, Row, Select, cast, exists, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import aliased

from campaigns.campaign.models import Campaign
from campaigns.offer.models import GUARANTEE_FIELD, LAUNCH_FIELD, READY_FIELD, STORES_FIELD, Offer
from campaigns.sku.models import Sku
from engine.db import Database
from engine.errors import Missing, Unavailable
from engine.ids import now_ms
from engine.inventory import OfferConfig

log = logging.getLogger(__name__)

MISS_EVERY_S = 0.05
ID_CHARS_MAX = 64


class Listed(msgspec.Struct, frozen=True):
    """A published offer: where it lives, how it is sold, and its SKU's reference prices."""

    offer_id: str
    shard: int
    campaign_name: str
    sku_id: str
    sku_name: str
    shelf_price_fen: int
    mall_price_fen: int
    config: OfferConfig
    launch_ms: int | None = None  # opened by a host, and then open for so long
    stores: tuple[str, ...] = ()  # empty: all
    ready_after_days: int | None = None
    guaranteed: bool = False  # a crowd of its SKU and campaign guarantees its difference

    @property
    def waits(self) -> bool:
        """Its host has not launched it yet: the window is empty."""
        return self.launch_ms is not None and self.config.starts_at_ms >= self.config.ends_at_ms


def missing_offer() -> Missing:
    """No such offer, or not published."""
    return Missing("offer_not_found", "There is no such offer.", "Look at the list of offers.")


class Catalog:
    """offer_id → Listed, for offers on sale or asked for since."""

    def __init__(
        self, db: Database, *, every_ms: int = 500, offers_max: int = 50_000, misses_max: int = 512
    ) -> None:
        self.offers: dict[str, Listed] = {}
        self._db = db
        self._every_s = every_ms / 1000
        self._offers_max = offers_max
        self._misses_max = misses_max
        self._wanted: dict[str, asyncio.Future[None]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read once, then keep fresh in the background."""
        await self.refresh()
        self._task = asyncio.create_task(self._keep(), name="catalog")

    async def close(self) -> None:
        """Stop refreshing."""
        for task in (self._task, self._asking):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def refresh(self) -> None:
        """Load published offers that are not over, if not known yet; forget what nobody can ask."""
        now = now_ms()
        ends = cast(Offer.config["ends_at_ms"].astext, BigInteger)
        async with self._db.begin() as session:
            on_sale = set(await session.scalars(select(Offer.id).where(ends > now)))
            known = {key for key, offer in self.offers.items() if not offer.waits}
            fresh = on_sale - known
            rows = (await session.execute(_listed(fresh))).all()
        self._add(rows)
        over = [key for key, offer in self.offers.items() if offer.config.keep_until_ms < now]
        for key in over:
            del self.offers[key]

    async def find(self, offer_id: str) -> Listed:
        """The offer; Missing `offer_not_found`, Unavailable when it cannot be looked up now."""
        found = self.offers.get(offer_id)
        if found is None:
            if not 0 < len(offer_id) <= ID_CHARS_MAX or "\0" in offer_id:
                raise missing_offer()
            await asyncio.shield(self._look_up(offer_id))
            found = self.offers.get(offer_id)
            if found is None:
                raise missing_offer()
        return found

    def _look_up(self, offer_id: str) -> asyncio.Future[None]:
        waiting = self._wanted.get(offer_id)
        if waiting is None:
            if len(self._wanted) >= self._misses_max:
                raise _not_now()
            waiting = self._wanted[offer_id] = asyncio.get_running_loop().create_future()
            # Nobody may be waiting any more when it fails; that is no one's unhandled error.
            waiting.add_done_callback(lambda future: future.cancelled() or future.exception())
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask(), name="catalog-misses")
        return waiting

    async def _ask(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            try:
                async with self._db.begin() as session:
                    rows = (await session.execute(_listed(set(wanted)))).all()
            except (SQLAlchemyError, OSError) as error:
                log.warning("offers not looked up: %s", type(error).__qualname__)
                for future in wanted.values():
                    future.set_exception(_not_now())
            else:
                self._add(rows)
                for future in wanted.values():
                    future.set_result(None)
            await asyncio.sleep(MISS_EVERY_S)

    def _add(self, rows: "Sequence[Row[Offer, Sku, str, bool]]") -> None:
        for offer, sku, campaign_name, guaranteed in rows:
            if len(self.offers) >= self._offers_max:
                self.offers.pop(next(iter(self.offers)))  # the oldest; it comes back when asked
            self.offers[offer.id] = Listed(
                offer.id,
                offer.shard,
                campaign_name,
                sku.id,
                sku.name,
                sku.shelf_price_fen,
                sku.mall_price_fen,
                msgspec.convert(offer.config, OfferConfig),
                offer.config.get(LAUNCH_FIELD),
                tuple(offer.config.get(STORES_FIELD, ())),
                offer.config.get(READY_FIELD),
                guaranteed,
            )

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.refresh()
            except (SQLAlchemyError, OSError) as error:
                log.warning("catalog not read: %s", type(error).__qualname__)


def _listed(ids: set[str]) -> "Select[Offer, Sku, str, bool]":
    crowd = aliased(Offer)
    guaranteed = exists().where(
        crowd.campaign_id == Offer.campaign_id,
        crowd.sku_id == Offer.sku_id,
        crowd.config[GUARANTEE_FIELD].as_boolean(),
    )
    return (
        select(Offer, Sku, Campaign.name, guaranteed)
        .join(Sku, Sku.id == Offer.sku_id)
        .join(Campaign, Campaign.id == Offer.campaign_id)
        .where(Offer.id.in_(ids))
        .order_by(Offer.id)
    )


def _not_now() -> Unavailable:
    return Unavailable(
        "busy", "This offer cannot be looked up right now.", "Try again in a moment."
    )
