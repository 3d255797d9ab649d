"""A small real evening, played once, and scenes of it: fresh copies that a test may spoil.

Played on the real stores with the real sandbox: payments that stand, late, retaken, wrong and
refunded ones, lapsed holds, a restock, refusals, repeated keys and group buys. It ends at rest,
with a claim and a seat held and one of each being paid. A scene is a clone of its database and a
copy of its hot state.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from sqlalchemy import text

from campaigns.offer.models import Offer, OfferCommand
from campaigns.payment.provider import BillRow
from engine.audit.history import HistoryWriter
from engine.audit.report import Report
from engine.audit.run import run_audit
from engine.audit.sources import ProviderBill
from engine.db import Database
from engine.ids import new_id, now_ms
from engine.wire import Wire
from tests.engine.audit.room_scene import play_room
from tests.engine.audit.team_scene import play_teams
from tests.waiting import eventually
from tests.workers.paying import Door, Paying

_STATUS = {"sold_out": 409, "limit_reached": 409, "key_reused": 422}
Dump = list[tuple[bytes, bytes, int]]


@dataclass
class Evening:
    """What was played: the database's name, the hot store's keys, history and bill."""

    database: str
    keys: Dump
    history: Path
    bill: tuple[BillRow, ...]
    names: dict[str, str]


@dataclass
class Play:
    """While it is being played; `names` collects the ids that tests ask for."""

    world: Paying
    door: Door
    history: HistoryWriter
    names: dict[str, str] = field(default_factory=dict)

    async def claim(self, offer: Offer, buyer: str, *, qty: int = 1, key: str = "k-1") -> str:
        """A claim as a client sees it; the claim id, or '' when it was refused."""
        asked = self.history.invoke(
            "claim",
            buyer=buyer,
            offer=offer.id,
            key=f"{key}-{buyer}",
            qty=qty,
            price_id="p1",
        )
        reply = await self.world.stage.claim(offer, buyer, qty=qty, key=key)
        if reply.what not in ("held", "stored"):
            self.history.fail(asked, _STATUS[reply.what], reply.what)
            return ""
        claim_id, _, fen, expires = reply.details
        self.history.ok(
            asked,
            claim_id=claim_id,
            price_fen=int(fen),
            expires_at_ms=int(expires),
            replay=reply.what == "stored",
        )
        await self.world.stage.settle()
        return claim_id

    async def pay(self, claim_id: str, buyer: str, *trouble: str) -> None:
        """Begin and pay, both in the history."""
        asked = self.history.invoke("pay", claim_id=claim_id, buyer=buyer)
        page = await self.world.begin(claim_id, buyer)
        self.history.ok(asked, attempt_id=page.attempt_id, amount_fen=page.amount_fen)
        taken = self.door.taken
        done = self.history.invoke(
            "pay_done", attempt_id=page.attempt_id, amount_fen=page.amount_fen
        )
        answer = (await self.world.pay(page, *trouble)).json()
        await eventually(lambda: self.door.taken > taken)
        self.history.ok(done, transaction_id=answer["transaction_id"])

    async def late(self, name: str, buyer: str, **changes: object) -> None:
        """A payment that arrives after its attempt was closed."""
        world = self.world
        offer = await world.stage.offer(3, **changes)
        claim_id = self.names[name] = await self.claim(offer, buyer)
        page = await world.begin(claim_id, buyer)
        await world.expire()
        await world.rest(all_attempts=True)
        taken = self.door.taken
        await world.pay(page, "paid_after_close")
        await eventually(lambda: self.door.taken > taken)
        await world.rest()

    async def evening(self) -> None:
        """The whole of it."""
        world, stage = self.world, self.world.stage
        await stage.people()
        await self.late("late", "b4")
        await self.late("retaken", "b6", late="retake")
        await self._wrong_amount()
        # Nothing may fall due while the scenes are played, however slowly: they share this evening.
        offer = await stage.offer(6, hold_ms=3_500_000, pay_ms=3_500_000)
        self.names["offer"], self.names["campaign"] = offer.id, offer.campaign_id
        await self._standing(offer)
        await self._lapsed()
        await self._sold_out()
        await self._restock(offer)
        await world.rest()
        await play_teams(self)
        self.names["held"] = await self.claim(offer, "b7")
        paying = self.names["paying"] = await self.claim(offer, "b8")
        page = await world.begin(paying, "b8")
        self.names["attempt"] = page.attempt_id
        await self.look(self.names["paid"], "paid")
        await stage.settle()
        self.names["room"] = await play_room(stage, self.history.file.parent)

    async def look(self, claim_id: str, state: str) -> None:
        """The client asks for its claim."""
        asked = self.history.invoke("look", claim_id=claim_id)
        self.history.ok(asked, state=state, ordered=True)

    async def _standing(self, offer: Offer) -> None:
        """Two paid orders with a promoter; one is refunded in part, one wholly."""
        paid = self.names["paid"] = await self.claim(offer, "m1", qty=2)
        assert await self.claim(offer, "m1", qty=2) == paid
        assert await self.claim(offer, "m1", qty=1) == ""
        await self.pay(paid, "m1")
        back = await self.claim(offer, "b2")
        await self.pay(back, "b2")
        await self.world.rest()
        for claim_id in (paid, back):
            order_id = str(await self.world.order(claim_id, "id"))
            asked = self.history.invoke("refund", order_id=order_id, request_id="r", units=1)
            refund = await self.world.refund(order_id, 1)
            self.history.ok(asked, refund_id=refund.id, amount_fen=refund.amount_fen)
        await self.world.rest()
        self.names["order"] = str(await self.world.order(paid, "id"))
        self.names["returned"] = back

    async def _wrong_amount(self) -> None:
        await self.world.sandbox.switch(wrong_amount={"share_bps": 10_000, "delta_fen": -1})
        offer = await self.world.stage.offer(2)
        claim_id = await self.claim(offer, "b5")
        await self.pay(claim_id, "b5")
        await self.world.sandbox.switch()
        await self.world.rest(all_attempts=True)

    async def _lapsed(self) -> None:
        offer = await self.world.stage.offer(1, hold_ms=0)
        self.names["lapsed"] = await self.claim(offer, "b3")
        await self.world.rest()

    async def _sold_out(self) -> None:
        offer = await self.world.stage.offer(1, hold_ms=3_500_000)
        self.names["sold_out"] = offer.id
        claim_id = await self.claim(offer, "b9")
        assert await self.claim(offer, "b10") == ""
        for buyer in ("b10", "b11", "b12"):
            assert (await self.world.stage.wait(offer, buyer)).what == "waiting"
        await self.world.stage.waiting.leave(offer.shard, offer.id, "b11")
        await self.pay(claim_id, "b9")

    async def _restock(self, offer: Offer) -> None:
        command_id = new_id("cmd")
        async with self.world.stage.db.begin() as session:
            session.add(
                OfferCommand(
                    id=command_id,
                    offer_id=offer.id,
                    shard=offer.shard,
                    kind="restock",
                    units=3,
                    actor="hq",
                    created_at_ms=now_ms(),
                )
            )
        await self.world.stage.inventory.offer_restock(
            offer.shard, offer.id, command_id=command_id, units=3
        )


async def dump_keys(redis: Redis) -> Dump:
    """Every key of the hot store with its content and its end."""
    client: Any = redis  # the types of redis-py know neither command right
    found: Dump = []
    async for name in client.scan_iter(count=1_000):
        found.append((name, await client.dump(name), await client.pexpiretime(name)))
    return found


async def restore_keys(redis: Redis, keys: Dump) -> None:
    """The hot store as it was dumped, and nothing else."""
    await redis.flushall()
    for name, content, ends in keys:
        await redis.restore(name, max(ends, 0), content, absttl=ends > 0)


@dataclass
class Scene:
    """A copy of the evening that may be spoiled."""

    db: Database  # the app's role
    owner_db: Database
    redis: Any  # a client; its types know neither await nor numbers right
    wire: Wire
    history: Path
    bill: tuple[BillRow, ...]
    names: dict[str, str]

    async def audit(self, **changes: Any) -> Report:
        """All laws with all sources, as at rest."""
        given: dict[str, Any] = {
            "history": self.history,
            "bill": ProviderBill(self.bill, complete=True),
            "at_rest": True,
        }
        return await run_audit(self.db, self.wire, **{**given, **changes})

    async def broken(self, **changes: Any) -> set[str]:
        """Names of the broken laws."""
        return set((await self.audit(**changes)).broken)

    async def run(self, sql: str, **given: object) -> None:
        """Change rows as their owner."""
        async with self.owner_db.begin() as session:
            await session.execute(text(sql), given)

    async def run_unguarded(self, table: str, sql: str, **given: object) -> None:
        """Change an append-only table behind its trigger's back."""
        async with self.owner_db.begin() as session:
            await session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
            await session.execute(text(sql), given)
            await session.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))

    async def value(self, sql: str, **given: object) -> Any:
        """One value out of the database."""
        async with self.db.begin() as session:
            return await session.scalar(text(sql), given)

    def key(self, kind: str, rest: str = "") -> str:
        """A key of the only shard."""
        return f"{{s0}}:{kind}{rest}"

    def rewrite(self, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
        """Change each line of the history; None drops it."""
        (file,) = self.history.glob("*.jsonl")
        lines = [change(msgspec.json.decode(raw)) for raw in file.read_bytes().splitlines()]
        kept = [msgspec.json.encode(one) + b"\n" for one in lines if one is not None]
        file.write_bytes(b"".join(kept))

    def append(self, **line: object) -> None:
        """One more line of the history."""
        (file,) = self.history.glob("*.jsonl")
        head = {"process": "c1", "at_ms": now_ms()}
        with file.open("ab") as out:
            out.write(msgspec.json.encode({**head, **line}) + b"\n")


def copy_history(history: Path, to: Path) -> Path:
    """The history in a place where it may be rewritten."""
    shutil.copytree(history, to)
    return to
