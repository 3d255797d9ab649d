"""What is measured on: one fresh Kaituan with one API process, and the yardsticks beside it.

Everything runs on the same Valkey and PostgreSQL with the product's own configuration. The
yardsticks claim on a shard of their own, which no settler reads. Settler, worker and broadcaster
are paused (SIGSTOP) unless a part says that they run, so that each figure says who was there.
"""

import asyncio
import http.client
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from cli.bench.gone import DRAFT, Gone, sell_out
from cli.embedded.ports import listening_socket
from cli.fresh import Fresh, fresh_kaituan
from cli.supervisor_child import Service
from cli.tokens import sample_tokens
from engine import keys
from engine.ids import new_id, now_ms
from engine.inventory import Inventory, OfferConfig
from engine.scripts import load_all
from engine.settings import Settings, inherited_environ, to_environ
from engine.shards import Epochs
from engine.wire import Wire

CUSTOMERS = 2_000
UNITS = 1_000_000_000
HOUR_MS = 3_600_000
SCAN_COUNT = 5_000
CHANGES: dict[str, Any] = {
    "api_processes": 1,
    # Claims must go on while the settler is paused; in the product 10 s is the limit.
    "settle_lag_max_ms": HOUR_MS,
}


@dataclass(frozen=True)
class Arena:
    """Where to send what."""

    fresh: Fresh
    wire: Wire
    tokens: tuple[str, ...]
    offer_id: str
    price_id: str
    gone: Gone
    shard: int
    lone_shard: int
    lone_offer: str
    lone_campaign: str
    ports: dict[str, int] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return self.fresh.settings

    def pid(self, name: str) -> int:
        return self.fresh.supervisor.children[name].pid

    def pause(self, *names: str) -> None:
        """Stop these processes where they are."""
        for name in names:
            os.kill(self.pid(name), signal.SIGSTOP)

    def resume(self, *names: str) -> None:
        """Let them go on."""
        for name in names:
            os.kill(self.pid(name), signal.SIGCONT)

    async def backlog(self) -> int:
        """Events of our shard that are not settled yet."""
        seq, settled = await self.wire.call("HMGET", keys.meta(self.shard), "seq", "settled_seq")
        return int(seq) - int(settled)

    async def forget_lone_claims(self) -> None:
        """Drop the yardsticks' claims, which are worth 2 KiB of the store's memory each."""
        shard = self.lone_shard
        kept = {keys.meta(shard), keys.token(shard), keys.offers(shard) + self.lone_offer}
        cursor = b"0"
        while True:
            found = await self.wire.call(
                "SCAN", cursor, "MATCH", keys.every(shard), "COUNT", SCAN_COUNT
            )
            cursor, names = found
            gone = [name for name in names if name.decode() not in kept]
            if gone:
                await self.wire.call("UNLINK", *gone)
            if cursor == b"0":
                return


@contextmanager
def _paused(arena: Arena) -> Iterator[None]:
    # The broadcaster follows the settler's stream, too; there is no room here.
    names = ("settle", "worker", "sandbox", "broadcast", "laws", "gateway")
    arena.pause(*names)
    try:
        yield
    finally:
        arena.resume(*names)  # a stopped process would not hear that it shall end


@asynccontextmanager
async def open_arena(say: Callable[[str], None]) -> AsyncIterator[Arena]:
    """Start everything; settler and worker are paused while inside."""
    async with fresh_kaituan(say, **CHANGES) as fresh:
        wire = Wire(fresh.settings.redis_url, load_all().values())
        await wire.start()
        try:
            arena = await _arena(fresh, wire)
            while await arena.backlog():
                await asyncio.sleep(0.05)
            await _start_yardsticks(arena)
            with _paused(arena):
                yield arena
        finally:
            await wire.close()


async def _arena(fresh: Fresh, wire: Wire) -> Arena:
    tokens = await sample_tokens(fresh.settings, CUSTOMERS)
    now = now_ms()
    campaign, offer, scarce = await _publish(fresh, now)
    lone = fresh.settings.shards  # one that no settler of this Kaituan reads
    lone_offer, lone_campaign = new_id("ofr"), new_id("cmp")
    await _open_lone_shard(wire, lone)
    config = OfferConfig(
        campaign_id=lone_campaign,
        version=1,
        kind="flash",
        starts_at_ms=now - HOUR_MS,
        ends_at_ms=now + HOUR_MS,
        hold_ms=120_000,
        pay_ms=300_000,
        per_order_max=1,
        per_buyer_max=UNITS,
        per_campaign_max=UNITS,
        keep_until_ms=now + 7 * 24 * HOUR_MS,
        late="refund",
        prices=((offer["price_ids"][0], 3_990, 0),),
    )
    inventory = Inventory(wire, Epochs.fixed({lone: 1}))
    await inventory.offer_open(
        lone, lone_offer, command_id=new_id("cmd"), config=config, total=UNITS
    )
    return Arena(
        fresh=fresh,
        wire=wire,
        tokens=tuple(one.token for one in tokens),
        offer_id=offer["offer_id"],
        price_id=offer["price_ids"][0],
        gone=await sell_out(fresh.settings.public_url, [one.token for one in tokens], scarce),
        lone_shard=lone,
        lone_offer=lone_offer,
        lone_campaign=lone_campaign,
        shard=campaign["shard"],
    )


async def _publish(fresh: Fresh, now: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    offers = await fresh.publish(
        {
            "name": "测速",
            "starts_at_ms": now - 60_000,
            "ends_at_ms": now + HOUR_MS,
            "per_campaign_max": 1_000_000,
            "hold_ms": 120_000,
            "pay_ms": 300_000,
            "offers": [
                {
                    "sku_id": "SP1001",
                    "total": UNITS,
                    "prices": [{"price_fen": 3_990}],
                    "per_order_max": 1,
                    "per_buyer_max": 1_000_000,
                },
                DRAFT,
            ],
        }
    )
    page = await fresh.hq.ask("GET", "/v1/campaigns")
    campaign: dict[str, Any] = page["campaigns"][0]
    by_sku = {one["sku_id"]: one for one in offers}
    return campaign, by_sku["SP1001"], by_sku[DRAFT["sku_id"]]


async def _open_lone_shard(wire: Wire, shard: int) -> None:
    scripts = load_all()
    meta, token = keys.meta(shard), keys.token(shard)
    await wire.call(*scripts["rebuild_begin"].command(meta=meta, token=token, epoch=1))
    opened = scripts["epoch_open"].command(meta=meta, token=token, epoch=1, run_id=wire.run_id)
    await wire.call(*opened)


async def _start_yardsticks(arena: Arena) -> None:
    env = {
        **inherited_environ(),
        **to_environ(msgspec.structs.replace(arena.settings, database_owner_url="")),
    }
    services = []
    listeners = []
    for kind in ("echo", "plain"):
        listener = listening_socket(0)
        listeners.append(listener)
        port = arena.ports[kind] = listener.getsockname()[1]
        services.append(
            Service(
                name=kind,
                argv=[
                    *(sys.executable, "-m", "cli.bench.yardsticks", kind),
                    *("--fd", str(listener.fileno())),
                    *("--shard", str(arena.lone_shard), "--campaign", arena.lone_campaign),
                ],
                env=env,
                ready=answers(port),
                pass_fds=(listener.fileno(),),
            )
        )
    try:
        await arena.fresh.supervisor.start(services)
    finally:
        for listener in listeners:
            listener.close()
    arena.ports["api-1"] = arena.settings.api_port


def answers(port: int) -> Callable[[], bool]:
    """True once anything answers HTTP there, whatever the status."""

    def check() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True

    return check
