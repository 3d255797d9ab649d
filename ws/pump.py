"""The tick: what rang since the last one is read and written, then the rest of the tick is waited.

A tick is `tick_ms` in a small room. When reading and writing take longer than half of it, it grows
(up to `tick_cap_ms`), so that more events share a frame and one core is never only writing.
The doorbell is a stream of topic names; a lost hint costs a second, because all rooms (and some
members' logs, in turn) are looked at each second anyway.
"""

import asyncio
import logging
from itertools import islice
from typing import Final

import hiredis

from engine import keys
from engine.errors import Unavailable
from engine.wire import Wire
from ws.feed import Feed
from ws.hub import Hub

log = logging.getLogger("kaituan.gateway")

_AT_ONCE: Final = 256  # logs read side by side
_BLOCK_MS: Final = 1_000
_RETRY_S: Final = 0.25


class Pump:
    """`run` is the tick, `listen` the doorbell, `look` is called each second."""

    def __init__(self, hub: Hub, feed: Feed) -> None:
        self._hub = hub
        self._feed = feed
        self._looked = 0  # where the round through the members' logs stands

    async def run(self) -> None:
        """Until cancelled."""
        hub = self._hub
        while True:
            await hub.bell.wait()
            hub.bell.clear()
            started = hub.clock()
            await self._turn()
            spent_ms = (hub.clock() - started) * 1000
            hub.metrics.ticks += 1
            hub.metrics.tick_seconds += spent_ms / 1000
            hub.tick_ms = min(hub.settings.tick_cap_ms, max(hub.settings.tick_ms, 2 * spent_ms))
            await asyncio.sleep(max(0.0, hub.tick_ms - spent_ms) / 1000)

    async def _turn(self) -> None:
        hub = self._hub
        names = iter(tuple(hub.dirty))
        hub.dirty.clear()
        while some := list(islice(names, _AT_ONCE)):
            topics = [hub.topics[name] for name in some if name in hub.topics]
            told = await asyncio.gather(*(self._feed.refresh(topic) for topic in topics))
            # Away: they stay dirty, and the look of each second rings again.
            hub.dirty.update(
                topic.name for topic, done in zip(topics, told, strict=True) if not done
            )

    def look(self) -> None:
        """Ring for all rooms and for the next few members' logs."""
        names = list(self._hub.topics)
        if not names:
            self._hub.answered_at = self._hub.clock()  # nobody asks, so nothing is behind
        rooms = [name for name in names if self._hub.topics[name].is_room]
        others = [name for name in names if not self._hub.topics[name].is_room]
        most = self._hub.settings.me_looks_max
        if self._looked >= len(others):
            self._looked = 0
        self._hub.ring(rooms + others[self._looked : self._looked + most])
        self._looked += most
        if self._hub.dirty:
            self._hub.bell.set()

    async def listen(self, wire: Wire) -> None:
        """Wait at the doorbell until cancelled; `wire` is its own, since it blocks."""
        while True:
            try:
                await self._hear(wire)
            except (Unavailable, hiredis.ReplyError) as error:
                log.info("doorbell: %s; trying again", type(error).__name__)
                await asyncio.sleep(_RETRY_S)

    async def _hear(self, wire: Wire) -> None:
        stream = keys.hints()
        newest = await wire.call("XREVRANGE", stream, "+", "-", "COUNT", 1)
        last = newest[0][0] if newest else b"0-0"
        self._hub.ring_all()  # what rang while nobody listened
        while True:
            heard = await wire.call(
                *("XREAD", "COUNT", 1_000, "BLOCK", _BLOCK_MS, "STREAMS", stream, last)
            )
            for _, entries in heard or ():
                last = entries[-1][0]
                self._hub.ring([fields[1].decode() for _, fields in entries])
