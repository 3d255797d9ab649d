"""The board: PostgreSQL's figures, the hot store's stock and viewers, put together once a second.

However many screens ask, a process reads its stores at most once per `KEEP_MS`. While the hot
store is away the stock is the settled one, and says so.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from campaigns.board import figures
from campaigns.board.schemas import BoardOffer, BoardOut, Mark, RoomWatched, Tiles
from campaigns.catalog import Catalog, Listed
from campaigns.exports import Cell
from campaigns.offer.models import Offer
from campaigns.room.models import Room
from campaigns.room.parts import hot_offers
from engine import keys
from engine.db import Database
from engine.errors import Unavailable
from engine.ids import now_ms
from engine.inventory import Inventory
from engine.room_events import room_topic
from engine.rooms import PRESENCE_MS

KEEP_MS = 1_000
SINCE_MS = 86_400_000  # an evening, also one that goes past midnight
SHOWN_AFTER_MS = 3_600_000  # an offer stays on the board so long after its end
OFFERS_MAX = 50
ROOMS_MAX = 50
CSV_HEADER = ("offer_id", "name", "campaign", "available", "held", "sold", "total", "price_fen")


class Board:
    """The board of one process."""

    def __init__(self, db: Database, inventory: Inventory, catalog: Catalog) -> None:
        self._db = db
        self._inventory = inventory
        self._catalog = catalog
        self._kept: BoardOut | None = None
        self._reading = asyncio.Lock()

    async def now(self) -> BoardOut:
        """The board, at most KEEP_MS old. Unavailable `busy` when PostgreSQL does not answer."""
        async with self._reading:
            if self._kept is None or now_ms() - self._kept.at_ms >= KEEP_MS:
                self._kept = await self._read()
            return self._kept

    async def _read(self) -> BoardOut:
        now = now_ms()
        listed = self._shown(now)
        async with self._db.begin() as session:
            await figures.bound(session)
            counted = await figures.tiles(session, now - SINCE_MS)
            refunds_fen = await figures.refunds_fen(session, now - SINCE_MS)
            series = await figures.series(session, now)
            marked = await figures.marks_of_rooms(session, now - figures.SERIES_S * 1000)
            lights, not_checked = await figures.laws(session, now)
            watched = await session.scalars(
                select(Room.id).where(Room.state.in_(("live", "paused"))).limit(ROOMS_MAX)
            )
            rooms = list(watched)
        offers = await self._offers(listed)
        watching = await viewers(self._inventory, rooms)
        return BoardOut(
            at_ms=now,
            zone=zone(),
            since_ms=now - SINCE_MS,
            tiles=Tiles(
                gmv_fen=counted.gmv_fen,
                orders=counted.orders,
                paid=counted.paid,
                refunds_fen=refunds_fen,
                viewers=None if watching is None else sum(watching.values()),
            ),
            series=series,
            offers=tuple(offers),
            marks=self._marks(marked, listed, now),
            rooms=tuple([RoomWatched(room, n) for room, n in (watching or {}).items()]),
            laws=lights,
            not_checked=not_checked,
        )

    def _shown(self, now: int) -> list[Listed]:
        """Offers that are on sale, to come, or ended a short while ago; newest first."""
        shown = [
            one
            for one in self._catalog.offers.values()
            if not one.waits and one.config.ends_at_ms > now - SHOWN_AFTER_MS
        ]
        return sorted(shown, key=lambda one: one.offer_id, reverse=True)[:OFFERS_MAX]

    async def _offers(self, listed: Sequence[Listed]) -> list[BoardOffer]:
        hot = await hot_offers(self._inventory, [(one.shard, one.offer_id) for one in listed])
        settled: dict[str, Offer] = {}
        missing = [one.offer_id for one in listed if one.offer_id not in hot]
        if missing:
            async with self._db.begin() as session:
                found = await session.scalars(select(Offer).where(Offer.id.in_(missing)))
                settled = {offer.id: offer for offer in found}
        offers = []
        for one in listed:
            if one.offer_id in hot:
                fields = hot[one.offer_id]
                total, held, sold = (int(fields[name]) for name in ("total", "held", "sold"))
            else:
                row = settled[one.offer_id]
                total, held, sold = row.total, row.held, row.sold
            offers.append(
                BoardOffer(
                    offer_id=one.offer_id,
                    name=one.sku_name,
                    available=total - held - sold,
                    held=held,
                    sold=sold,
                    total=total,
                    live=one.offer_id in hot,
                )
            )
        return offers

    def _marks(
        self, done: Sequence[tuple[Mark, str | None]], listed: Sequence[Listed], now: int
    ) -> tuple[Mark, ...]:
        since = now - figures.SERIES_S * 1000
        names = {one.offer_id: one.sku_name for one in listed}
        marks = [
            Mark(mark.at_ms, mark.kind, names.get(offer_id or "", mark.what))
            for mark, offer_id in done
        ]
        marks += [
            Mark(one.config.starts_at_ms, "flash_start", one.sku_name)
            for one in listed
            if since <= one.config.starts_at_ms <= now
        ]
        return tuple(sorted(marks, key=lambda mark: mark.at_ms)[-figures.MARKS_MAX :])

    async def offers_csv(self) -> AsyncIterator[Sequence[Sequence[Cell]]]:
        """The board's offers as rows of CSV_HEADER."""
        listed = {one.offer_id: one for one in self._shown(now_ms())}
        rows: list[list[Cell]] = []
        for one in await self._offers(list(listed.values())):
            about = listed[one.offer_id]
            rows.append(
                [
                    one.offer_id,
                    one.name,
                    about.campaign_name,
                    one.available,
                    one.held,
                    one.sold,
                    one.total,
                    about.config.prices[0][1],
                ]
            )
        return _one_batch(rows)


async def _one_batch(rows: list[list[Cell]]) -> AsyncIterator[Sequence[Sequence[Cell]]]:
    yield rows


async def viewers(inventory: Inventory, room_ids: Sequence[str]) -> dict[str, int] | None:
    """How many watch each room now, as its gateways said; None when nobody can be asked."""
    topics = [keys.presence(room_topic(room_id)) for room_id in room_ids]
    try:
        said = await asyncio.gather(*(inventory.hash_of(key) for key in topics))
    except Unavailable:
        return None
    now, counted = now_ms(), dict.fromkeys(room_ids, 0)
    for room_id, gateways in zip(room_ids, said, strict=True):
        for text in gateways.values():
            count, _, at_ms = text.partition(":")
            if now - int(at_ms) <= PRESENCE_MS:
                counted[room_id] += int(count)
    return counted


def zone() -> str:
    """The server's time zone: its name in the tz database where that is known, else `+08:00`."""
    parts = Path("/etc/localtime").resolve().parts
    if "zoneinfo" in parts:
        name = "/".join(parts[parts.index("zoneinfo") + 1 :])
        if name and name != "localtime":
            return {"Etc/UTC": "UTC", "UCT": "UTC"}.get(name, name)
    offset = datetime.now().astimezone().strftime("%z")
    return "UTC" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}"
