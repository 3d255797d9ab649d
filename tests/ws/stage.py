"""Rooms on the real Valkey for the gateway's tests: logs, tokens, and the gateway itself.

`Stage.gateway()` serves in this process, so that its insides can be looked at; `gateway_process`
starts the one that production starts.
"""

import asyncio
import os
import random
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec

from engine.ids import new_id, now_ms
from engine.room_events import (
    Host,
    OfferNow,
    Pin,
    RoomNow,
    RoomStore,
    Shelf,
    Stock,
    encode,
    part_of,
    state_hash,
    topic_event,
)
from engine.room_tokens import RoomRole, RoomTokens
from engine.rooms import RoomLogs
from engine.scripts import load_all
from engine.settings import Settings, inherited_environ, to_environ
from engine.wire import Wire
from tests.waiting import eventually
from ws.gateway import Gateway, running

HOUR_MS = 3_600_000
SECRET = "a secret for tests only"


def settings_for(redis_url: str, **changes: Any) -> Settings:
    """A development gateway with a quick pulse."""
    fields = {
        "mode": "development",
        "redis_url": redis_url,
        "token_secret": SECRET,
        "gateway_port": 0,
        "live_every_ms": 200,
        "tick_ms": 10,
        "comment_every_ms": 1,
        "comment_burst_max": 1_000,
        "come_back_within_ms": 100,
    }
    return Settings(**{**fields, **changes})


def room_parts(room_id: str, state: Any = "live") -> dict[str, str]:
    """What a room's log begins with."""
    events = (
        RoomNow(
            at_ms=now_ms(),
            room_id=room_id,
            title="晚八点直播",
            state=state,
            host=Host("gde_1", "小王"),
            store=RoomStore("sto_1", "一店"),
            starts_at_ms=now_ms(),
        ),
        Shelf(at_ms=now_ms(), offers=("ofr_1", "ofr_2")),
        Pin(at_ms=now_ms(), offer_id=None),
    )
    return {part_of(event): encode(event) for event in events}


@dataclass
class Stage:
    """One hot store's rooms; `publish` is the broadcaster's part."""

    settings: Settings
    wire: Wire
    logs: RoomLogs
    tokens: RoomTokens
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def token(
        self,
        topics: list[str],
        subject: str = "mbr_1",
        *,
        role: RoomRole = "customer",
        for_ms: int = HOUR_MS,
    ) -> str:
        """A genuine token, expired when `for_ms` is negative."""
        return self.tokens.sign(
            subject,
            role if subject else "viewer",
            nickname=f"人{subject}" if subject else "",
            topics=topics,
            expires_at_ms=now_ms() + for_ms,
        )

    async def room(self) -> str:
        """A live room with a log; its topic."""
        room_id = new_id("rm")
        await self.logs.open(f"room:{room_id}", room_parts(room_id))
        return f"room:{room_id}"

    async def publish(self, topic: str, count: int = 1) -> int:
        """So many random events in one batch; the last offset."""
        events = []
        for _ in range(count):
            event = self._event()
            events.append(topic_event(new_id("rcm"), event))
        said = await self.logs.publish(topic, events)
        assert said.what == "published", said
        return int(said.details[2])

    def _event(self) -> Any:
        offer_id = f"ofr_{self.rng.randint(1, 5)}"
        match self.rng.randint(0, 3):
            case 0:
                return Pin(at_ms=now_ms(), offer_id=offer_id)
            case 1:
                return OfferNow(
                    at_ms=now_ms(),
                    offer_id=offer_id,
                    name="龙井",
                    sku_id="sku_tea",
                    offer_kind="flash",
                    state=self.rng.choice(["scheduled", "open", "closed"]),
                    prices=(),
                    shelf_price_fen=2_000,
                    mall_price_fen=1_800,
                    starts_at_ms=0,
                    ends_at_ms=now_ms() + HOUR_MS,
                    per_order_max=2,
                    per_buyer_max=2,
                    late="refund",
                )
            case _:
                held = self.rng.randint(0, 9)
                return Stock(
                    at_ms=now_ms(),
                    offer_id=offer_id,
                    available=90,
                    held=held,
                    sold=10 - held,
                    total=100,
                )

    async def comment(self, topic: str, text: str, subject: str = "mbr_9") -> int:
        """Somebody's comment; its offset."""
        said = await self.logs.say(topic, subject, "小林", new_id("cid"), text)
        assert said.what == "said", said
        return int(said.details[0])

    async def offset(self, topic: str) -> int:
        """Where the log stands."""
        found = await self.logs.snapshot(topic)
        assert found is not None
        return found.offset

    async def hash(self, topic: str) -> str:
        """The state hash of the log itself."""
        found = await self.logs.snapshot(topic)
        assert found is not None
        return state_hash(found.parts, found.comments)

    @asynccontextmanager
    async def gateway(self, **changes: Any) -> AsyncIterator[tuple[Gateway, str]]:
        """A gateway in this process, and its address."""
        settings = msgspec.structs.replace(self.settings, **changes)
        with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
            url = f"ws://127.0.0.1:{sock.getsockname()[1]}/v1/live"
            async with running(settings, sock) as gateway:
                yield gateway, url


@asynccontextmanager
async def staged(redis_url: str, **changes: Any) -> AsyncIterator[Stage]:
    """A stage on this hot store."""
    settings = settings_for(redis_url, **changes)
    wire = Wire(redis_url, load_all().values())
    await wire.start()
    try:
        yield Stage(
            settings, wire, RoomLogs(wire, settings=settings), RoomTokens.from_setting(SECRET)
        )
    finally:
        await wire.close()


@asynccontextmanager
async def gateway_process(
    settings: Settings, port: int = 0
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """The gateway as production starts it, answering; killed at the end if it still runs."""
    with socket.create_server(("127.0.0.1", port), backlog=512) as sock:
        os.set_inheritable(sock.fileno(), True)
        port = sock.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ws.main", "--fd", str(sock.fileno())),
            env={**inherited_environ(), **to_environ(settings)},
            pass_fds=[sock.fileno()],
            stderr=asyncio.subprocess.PIPE,
        )
    try:
        async with httpx.AsyncClient(trust_env=False) as http:

            async def alive() -> bool:
                try:
                    return (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(alive)
        yield process, port
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
