"""The evening's live room as one thing: its host and its viewers, from going live to the end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.demo.audience import Audience, Seen
from cli.demo.headquarters import Headquarters
from cli.demo.live_room import LiveRoom
from cli.demo.screen import Screen
from cli.shop import Host
from engine.settings import Settings

LAST_WORDS_S = 2.0  # so that the room's end reaches everybody, and those cut come back


@dataclass(frozen=True)
class Cast:
    """Who plays: the host with their password, so many viewers, and tokens for half of them."""

    host: Host
    password: str
    viewers: int
    bearers: Sequence[str]


class Show:
    """`open`, then `begin`, then pins, then `end`; `stop` whatever happened."""

    def __init__(
        self, settings: Settings, cast: Cast, history: Path, screen: Screen, *, seed: int
    ) -> None:
        self._settings, self._cast, self._history, self._seed = settings, cast, history, seed
        self._screen = screen
        self._room = LiveRoom(settings.public_url, cast.host)
        self._audience: Audience | None = None

    async def open(
        self, hq: Headquarters, title: str, offers: Sequence[str], starts_at_ms: int
    ) -> None:
        """The guide goes live, and the first viewers come in."""
        host, cast = self._cast.host, self._cast
        await self._room.open(hq, cast.password, title, offers, starts_at_ms)
        await self._room.go_live()
        self._screen.tell(f"{host.name} is live from store {host.store_id}: {self._room.room_id}")
        self._audience = Audience(
            self._settings, self._room.room_id, self._history, seed=self._seed
        )
        await self._audience.start(cast.viewers, cast.bearers)

    async def begin(self) -> None:
        """Wait until all viewers are in; then they talk, like, and lose their network."""
        assert self._audience is not None
        await self._audience.all_joined()
        self._screen.tell(f"{self._cast.viewers} viewers are in the room")
        await self._audience.go()

    async def pin(self, offer_id: str, words: str) -> None:
        """The host shows this offer."""
        await self._room.pin(offer_id)
        self._screen.tell(f"{self._cast.host.name} pinned {words}")

    async def end(self) -> Seen:
        """The room ends, then the viewers leave; what they saw."""
        assert self._audience is not None
        await self._room.end()
        await asyncio.sleep(LAST_WORDS_S)
        seen = await self._audience.end()
        self._screen.tell(
            f"the room has ended: {seen.events:,} events delivered to {seen.watched} viewers, "
            f"{seen.cuts} cut connections, {seen.resumes} went on where they had been"
        )
        return seen

    async def stop(self) -> None:
        """Leave nothing running."""
        if self._audience is not None:
            await self._audience.stop()
        await self._room.close()

    def seen(self) -> Seen | None:
        """What the viewers have seen so far."""
        return self._audience.seen() if self._audience is not None else None
