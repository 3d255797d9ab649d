"""One batch of one shard into every log that it touches; the position moves after the last.

Each log gets its part of the batch in one script with the batch's end as mark: offers' events in
their order, then one stock tick per touched offer, read from the hot store after the stream.
Teams likewise (teams.py).
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence

from sqlalchemy import select

from campaigns.offer.models import Offer
from campaigns.room.parts import hot_offers, hot_stock, offer_card, open_room_log
from campaigns.room.team_parts import offer_teams
from campaigns.sku.models import Sku
from engine.db import Database
from engine.events import OfferClosed
from engine.ids import now_ms
from engine.inventory import Inventory
from engine.room_events import (
    AnyTopicEvent,
    OfferNow,
    Recovered,
    TeamTold,
    TopicEvent,
    me_topic,
    room_topic,
    topic_event,
)
from engine.rooms import RoomLogs
from engine.stream import Entries
from workers.broadcast.claims import about_claims
from workers.broadcast.shelves import Shelves
from workers.broadcast.teams import filled, team_events, to_rooms, to_teams
from workers.broadcast.translate import AboutClaim, Batch, for_buyer, for_waiter, sort_out

AT_ONCE_MAX = 500  # logs that a shard's batch writes to at the same time


class Publisher:
    """Publishes shards' batches."""

    def __init__(
        self,
        db: Database,
        inventory: Inventory,
        logs: RoomLogs,
        shelves: Shelves,
        *,
        teams_max: int = 5,
    ) -> None:
        self._db, self._inventory = db, inventory
        self._logs, self._shelves = logs, shelves
        self._teams_max = teams_max  # openings and formings of an offer told to rooms, in a batch

    async def batch(self, shard: int, epoch: int, entries: Entries) -> None:
        """Publish gapless entries of one epoch. May be repeated, with more entries or fewer."""
        batch = sort_out(shard, epoch, entries)
        concerned = [*batch.claims, *filled(batch)]
        about = await about_claims(self._db, self._inventory, shard, concerned)
        said = await team_events(self._db, batch, about)
        told = await self._for_rooms(batch, to_rooms(said, self._teams_max))
        told |= await to_teams(self._inventory, batch, said)
        told |= self._for_buyers(batch, about)
        mark = (batch.epoch, batch.last)
        await _bounded([self._to(topic, events, shard, mark) for topic, events in told.items()])

    async def recovered(self, shard: int, epoch: int, seq: int) -> None:
        """Tell all rooms that show offers of this shard that events before this one were lost."""
        offers = self._shelves.of_shard(shard)
        rooms = sorted({room for one in offers for room in self._shelves.rooms_of(one)})
        said = Recovered(at_ms=now_ms(), shard=shard)
        event = topic_event(f"recovered-s{shard}-e{epoch}-{seq}", said)
        await _bounded([self._to(room_topic(room), [event], shard, (epoch, seq)) for room in rooms])

    async def _to(
        self, topic: str, events: Sequence[TopicEvent], shard: int, mark: tuple[int, int]
    ) -> None:
        reply = await self._logs.publish(topic, events, shard=shard, mark=mark)
        if reply.what == "no_log":  # the hot store lost it, or nobody has opened it yet
            room_id = topic.removeprefix("room:")
            if await open_room_log(self._db, self._inventory, self._logs, room_id) is not None:
                await self._logs.publish(topic, events, shard=shard, mark=mark)

    async def _for_rooms(
        self, batch: Batch, heard: Sequence[tuple[int, TeamTold]]
    ) -> dict[str, list[TopicEvent]]:
        told: dict[str, list[TopicEvent]] = {}

        def tell(offer_id: str, event: TopicEvent) -> None:
            for room_id in self._shelves.rooms_of(offer_id):
                told.setdefault(room_topic(room_id), []).append(event)

        cards: list[tuple[int, OfferNow | TeamTold]] = [*await self._cards(batch), *heard]
        for seq, one in sorted(cards, key=lambda told: told[0]):
            tell(one.offer_id, topic_event(batch.origin(seq), one, seq=seq))
        shown = [one for one in batch.touched if self._shelves.rooms_of(one)]
        hot = await hot_offers(self._inventory, [(batch.shard, one) for one in shown])
        for offer_id in shown:
            if offer_id in hot:
                stock = hot_stock(offer_id, hot[offer_id])
                tell(offer_id, topic_event(batch.tick_origin(offer_id), stock))
        for offer_id in dict.fromkeys(batch.teams.values()):
            if self._shelves.rooms_of(offer_id):
                fields = hot.get(offer_id) or await self._inventory.offer_state(
                    batch.shard, offer_id
                )
                teams = await offer_teams(self._inventory, batch.shard, offer_id, fields)
                if teams is not None:
                    tell(offer_id, topic_event(batch.tick_origin(f"teams-{offer_id}"), teams))
        return told

    async def _cards(self, batch: Batch) -> list[tuple[int, OfferNow]]:
        """What rooms say of offers that were opened or closed, as each event left them."""
        shown = [event for event in batch.offers if self._shelves.rooms_of(event.offer_id)]
        if not shown:
            return []
        asked = (
            select(Offer, Sku)
            .join(Sku, Sku.id == Offer.sku_id)
            .where(Offer.id.in_({event.offer_id for event in shown}))
        )
        async with self._db.begin() as session:
            rows = (await session.execute(asked)).all()
        found = {offer.id: (offer, sku) for offer, sku in rows}
        return [
            (event.seq, offer_card(*found[event.offer_id], state, at_ms=event.at_ms))
            for event in shown
            if event.offer_id in found
            for state in (event.state if isinstance(event, OfferClosed) else "open",)
        ]

    def _for_buyers(
        self, batch: Batch, about: Mapping[str, AboutClaim]
    ) -> dict[str, list[TopicEvent]]:
        told: dict[str, list[TopicEvent]] = {}
        said: list[tuple[int, str, AnyTopicEvent]] = [
            (event.seq, event.buyer_id, for_waiter(event)) for event in batch.waits
        ]
        for event in batch.claims:
            known = about.get(event.claim_id)
            if known is not None:
                said.append((event.seq, known.buyer_id, for_buyer(event, known)))
        for seq, buyer_id, one in sorted(said, key=lambda one: one[0]):
            event_here = topic_event(batch.origin(seq), one, seq=seq)
            told.setdefault(me_topic(buyer_id), []).append(event_here)
        return told


async def _bounded(work: Sequence[Awaitable[None]]) -> None:
    """All of it, a bounded number at once; the first error is raised when the rest is done."""
    errors: list[BaseException] = []
    for start in range(0, len(work), AT_ONCE_MAX):
        done = await asyncio.gather(*work[start : start + AT_ONCE_MAX], return_exceptions=True)
        errors += [one for one in done if isinstance(one, BaseException)]
    if errors:
        raise errors[0]
