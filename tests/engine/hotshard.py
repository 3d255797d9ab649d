"""A shard on the real hot store for tests: opened by the scripts themselves, dumped whole.

`Bench` is a wire with its typed commands on one shard; `dump` is every byte of a shard's keys
with their expiry, so that "leaves no trace" can be asserted and not believed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from engine import keys
from engine.commands import WAIT_SCAN_MAX
from engine.events import AnyEvent, decode
from engine.ids import now_ms
from engine.inventory import Inventory, OfferConfig, Reply
from engine.replay.view import View, view_of_hot
from engine.scripts import Script, load_all
from engine.shards import Epochs
from engine.wire import Wire

HOUR_MS = 3_600_000
SCRIPTS = load_all()


def config(**changes: Any) -> OfferConfig:
    """An offer that is on sale now, with wide limits; `changes` are fields."""
    now = now_ms()
    fields: dict[str, Any] = {
        "campaign_id": "cmp_a",
        "version": 1,
        "kind": "flash",
        "starts_at_ms": now - HOUR_MS,
        "ends_at_ms": now + HOUR_MS,
        "hold_ms": HOUR_MS,
        "pay_ms": HOUR_MS,
        "per_order_max": 9,
        "per_buyer_max": 9,
        "per_campaign_max": 9,
        "keep_until_ms": now + 24 * HOUR_MS,
        "late": "refund",
        "prices": (("prc_1", 1_000, 0),),
    }
    return OfferConfig(**{**fields, **changes})


@dataclass
class Bench:
    """Typed commands on shard `shard`, and looks behind them."""

    wire: Wire
    inventory: Inventory
    shard: int = 0
    epoch: int = 1
    scripts: dict[str, Script] = field(default_factory=lambda: SCRIPTS)

    async def ask(self, script: str, **values: str | int) -> list[str]:
        """Run one script by its names; its reply as strings."""
        raw: list[bytes] = await self.wire.call(*self.scripts[script].command(**values))
        return [part.decode() for part in raw]

    async def open(self) -> None:
        """Open the shard under `epoch`, as a rebuild of nothing does."""
        meta, token = keys.meta(self.shard), keys.token(self.shard)
        begun = await self.ask("rebuild_begin", meta=meta, token=token, epoch=self.epoch)
        opened = await self.ask(
            "epoch_open", meta=meta, token=token, epoch=self.epoch, run_id=self.wire.run_id
        )
        assert (begun, opened) == (["begun"], ["opened"])

    async def offer(self, offer_id: str, total: int, **changes: Any) -> OfferConfig:
        """Open an offer; `changes` as in `config`."""
        rules = config(**changes)
        reply = await self.inventory.offer_open(
            self.shard, offer_id, command_id=f"cmd_{offer_id}", config=rules, total=total
        )
        assert reply == Reply("opened")
        return rules

    async def claim(self, offer_id: str, buyer_id: str, qty: int = 1, **changes: str) -> Reply:
        """Claim with the standard price; `changes` as in `Inventory.claim`."""
        fields = {
            "campaign_id": "cmp_a",
            "price_id": "prc_1",
            "key": f"key-{buyer_id}",
            "body_hash": f"{qty}",
            **changes,
        }
        return await self.inventory.claim(
            self.shard, offer_id=offer_id, buyer_id=buyer_id, qty=qty, **fields
        )

    async def confirm(
        self, claim_id: str, attempt_id: str, fact_id: str, verdict: str = "ok"
    ) -> Reply:
        """A payment fact meets its claim."""
        return await self.inventory.pay_confirm(
            self.shard, claim_id, attempt_id=attempt_id, fact_id=fact_id, verdict=verdict
        )

    async def events(self) -> list[AnyEvent]:
        """All events of the epoch, decoded; they are numbered from 1 without a gap."""
        raw = await self.wire.call("XRANGE", keys.events(self.shard, self.epoch), "-", "+")
        entries = [(entry_id.decode(), [part.decode() for part in flat]) for entry_id, flat in raw]
        assert [entry_id for entry_id, _ in entries] == [f"{n + 1}-0" for n in range(len(entries))]
        return [
            decode(place + 1, dict(zip(flat[::2], flat[1::2], strict=True)))
            for place, (_, flat) in enumerate(entries)
        ]

    async def view(self) -> View:
        """The shard's keys as values."""
        names: list[bytes] = await self.wire.call("KEYS", keys.every(self.shard))
        kinds = await asyncio.gather(*(self.wire.call("TYPE", name) for name in names))
        hot: dict[str, Any] = {}
        reads = {
            b"hash": lambda name: self.wire.call("HGETALL", name),
            b"zset": lambda name: self.wire.call("ZRANGE", name, 0, -1, "WITHSCORES"),
            b"string": lambda name: self.wire.call("GET", name),
        }
        wanted = [(name, kind) for name, kind in zip(names, kinds, strict=True) if kind in reads]
        values = await asyncio.gather(*(reads[kind](name) for name, kind in wanted))
        for (name, kind), value in zip(wanted, values, strict=True):
            if kind == b"string":
                hot[name.decode()] = value.decode()
            else:
                texts = [part.decode() for part in value]
                hot[name.decode()] = dict(zip(texts[::2], texts[1::2], strict=True))
        meta = hot.pop(keys.meta(self.shard))
        return view_of_hot(self.shard, meta, hot)

    async def dump(self) -> dict[bytes, tuple[bytes, int]]:
        """key → (serialised value, when it expires in ms or -1) of every key there is."""
        names: list[bytes] = await self.wire.call("KEYS", "*")
        values = await asyncio.gather(*(self.wire.call("DUMP", name) for name in names))
        ends = await asyncio.gather(*(self.wire.call("PEXPIRETIME", name) for name in names))
        return dict(zip(names, zip(values, ends, strict=True), strict=True))


@asynccontextmanager
async def bench(
    url: str,
    *,
    shard: int = 0,
    epoch: int = 1,
    lag_max_ms: int = HOUR_MS,
    scripts: dict[str, Script] = SCRIPTS,
    wait_scan_max: int = WAIT_SCAN_MAX,
) -> AsyncIterator[Bench]:
    """A bench on the hot store at `url`; the shard is not opened yet."""
    wire = Wire(url, scripts.values())
    await wire.start()
    try:
        inventory = Inventory(
            wire,
            Epochs.fixed({shard: epoch}),
            scripts,
            settle_lag_max_ms=lag_max_ms,
            wait_scan_max=wait_scan_max,
        )
        yield Bench(wire, inventory, shard, epoch, scripts)
    finally:
        await wire.close()
