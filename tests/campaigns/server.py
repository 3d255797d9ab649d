"""A real API process for tests, and the world around it: open shards, SKUs, tokens, dumps.

The process is started as production starts it: `python -m campaigns.main --fd N` with a socket
that the parent listens on. `World.dump` is every row of every table and every key of the hot
store, so that "nothing changed" can be asserted and not believed.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
from redis.asyncio import Redis
from sqlalchemy import text

from campaigns.models import metadata
from campaigns.people.models import Guide, GuideTerm, Member, Staff, Store
from campaigns.people.phones import PhoneKeys
from campaigns.sku.models import Sku
from engine import keys
from engine.db import Database
from engine.ids import now_ms
from engine.inventory import Inventory
from engine.models import ShardEpoch, ShardPosition
from engine.scripts import load_all
from engine.settings import Settings, inherited_environ, to_environ
from engine.shards import Epochs
from engine.tokens import Role, TokenKeys
from engine.wire import Wire
from loadtests.lean import Answer, LeanClient
from tests.waiting import eventually

SHARDS = 4
HOUR_MS = 3_600_000
PLAN = {
    "promoter_bps": 500,
    "upline_bps": 200,
    "store_bps": 300,
    "level_two": True,
    "cap_bps": 3_000,
}


def api_settings(redis_url: str, database_url: str, **changes: Any) -> Settings:
    """Settings of a development API with invented secrets."""
    fields = {
        "mode": "development",
        "redis_url": redis_url,
        "database_url": database_url,
        "token_secret": "a secret for tests only",
        "phone_secret": "another secret for tests",
        "sandbox_secret": "a third secret for tests",
        "provider_url": "http://127.0.0.1:9",  # discard: nobody answers
        "public_url": "http://127.0.0.1:9",
        "shards": SHARDS,
        "pages_dir": "no-such-folder",  # whether or not this checkout has built pages
        "data_dir": "no-such-folder",  # … or a demo
        "settle_lag_max_ms": HOUR_MS,  # most of these tests run without a settler
    }
    return Settings(**{**fields, **changes})


@dataclass
class World:
    """One API process with its stores; `http` calls it."""

    settings: Settings
    db: Database
    redis: Redis
    wire: Wire
    inventory: Inventory
    http: httpx.AsyncClient
    tokens: TokenKeys
    process: asyncio.subprocess.Process
    log: list[str] = field(default_factory=list)

    def token(
        self,
        subject: str,
        role: Role = "customer",
        *,
        scope: str = "",
        for_ms: int = HOUR_MS,
        new: bool = False,
        traits: str = "",
    ) -> str:
        """A genuine token, expired when `for_ms` is negative."""
        return self.tokens.sign(
            subject, role, scope=scope, new=new, traits=traits, expires_at_ms=now_ms() + for_ms
        )

    def guide(self, guide_id: str) -> dict[str, str]:
        """Headers of a request by a guide: `gd_wang` of store_a, `gd_li` of store_b."""
        return {"Authorization": f"Bearer {self.token(f'stf_{guide_id}', 'guide', scope=guide_id)}"}

    def auth(self, subject: str, role: Role = "customer", *, key: str = "") -> dict[str, str]:
        """Headers of a signed-in request, with its Idempotency-Key when it has one."""
        headers = {"Authorization": f"Bearer {self.token(subject, role)}"}
        return {**headers, "Idempotency-Key": key} if key else headers

    async def open_shards(self, epoch: int = 1) -> None:
        """Open all shards under `epoch`, in SQL and in the hot store, as a rebuild of nothing."""
        scripts = load_all()
        for shard in range(SHARDS):
            meta, token = keys.meta(shard), keys.token(shard)
            begin = scripts["rebuild_begin"].command(meta=meta, token=token, epoch=epoch)
            opened = scripts["epoch_open"].command(
                meta=meta, token=token, epoch=epoch, run_id=self.wire.run_id
            )
            await self.wire.call(*begin)
            await self.wire.call(*opened)
        now = now_ms()
        async with self.db.begin() as session:
            for shard in range(SHARDS):
                session.add(ShardEpoch(shard=shard, epoch=epoch, opened_at_ms=now, reason="test"))
                session.add(
                    ShardPosition(
                        shard=shard,
                        epoch=epoch,
                        seq=0,
                        run_id=self.wire.run_id,
                        state="open",
                        updated_at_ms=now,
                    )
                )
        await self.inventory.epochs.refresh()

    async def ready(self) -> None:
        """Wait until the process says so."""

        async def is_ready() -> bool:
            return (await self.http.get("/readyz")).status_code == 200

        try:
            await eventually(is_ready)
        except (httpx.TransportError, AssertionError) as error:
            raise AssertionError("the API is not ready:\n" + "".join(self.log)) from error

    async def campaign(self, **changes: Any) -> dict[str, Any]:
        """A published campaign over HTTP, with its offers; `changes` as in `draft`."""
        hq = self.auth("stf_hq", "hq")
        made = (await self.http.post("/v1/campaigns", json=draft(**changes), headers=hq)).json()
        at = f"/v1/campaigns/{made['id']}"
        for step, body in (
            ("submit", None),
            ("review", {"decision": "approve"}),
            ("publish", None),
        ):
            answer = await self.http.post(f"{at}/{step}", json=body, headers=hq)
            assert answer.status_code == 200, answer.text
        published: dict[str, Any] = answer.json()
        return published

    async def claim(
        self, offer: Mapping[str, Any], buyer_id: str, *, key: str | None = None, **body: Any
    ) -> httpx.Response:
        """One claim request for a published offer."""
        return await self.http.post(
            f"/v1/offers/{offer['offer_id']}/claims",
            json={"qty": 1, "price_id": offer["price_ids"][0], **body},
            headers=self.auth(buyer_id, key=key or f"key-{buyer_id}"),
        )

    async def seat(
        self,
        offer: Mapping[str, Any],
        buyer_id: str,
        team_id: str = "",
        *,
        key: str | None = None,
        new: bool = False,
        **body: Any,
    ) -> httpx.Response:
        """One request for a seat of a published offer."""
        return await self.http.post(
            f"/v1/offers/{offer['offer_id']}/seats",
            json={"qty": 1, "price_id": offer["price_ids"][0], "team_id": team_id, **body},
            headers={
                "Authorization": f"Bearer {self.token(buyer_id, new=new)}",
                "Idempotency-Key": key or f"key-{buyer_id}",
            },
        )

    async def race(
        self,
        offer: Mapping[str, Any],
        buyers: Sequence[str],
        *,
        key: str = "key-of-race",
        team_id: str | None = None,
    ) -> list[Answer]:
        """One claim per entry of `buyers`, over 64 connections at once, by the lean client.

        With `team_id` one seat each.
        """
        url = str(self.http.base_url)
        wanted = {"qty": 1, "price_id": offer["price_ids"][0]}
        body = msgspec.json.encode(wanted if team_id is None else {**wanted, "team_id": team_id})
        what = "claims" if team_id is None else "seats"
        path = f"/v1/offers/{offer['offer_id']}/{what}"
        waiting = iter(buyers)
        answers: list[Answer] = []

        async def one_line() -> None:
            client = LeanClient(url)
            for buyer_id in waiting:
                answers.append(
                    await client.request(
                        "POST",
                        path,
                        body=body,
                        token=self.token(buyer_id),
                        headers={"Idempotency-Key": key},
                    )
                )
            await client.close()

        await asyncio.gather(*(one_line() for _ in range(64)))
        return answers

    async def dump(self) -> dict[str, Any]:
        """All rows and all keys there are."""
        rows: dict[str, Any] = {}
        async with self.db.begin() as session:
            for table in metadata.sorted_tables:
                found = await session.execute(
                    text(f'SELECT t::text FROM "{table.name}" t ORDER BY 1')
                )
                rows[table.name] = [row[0] for row in found]
        names: list[bytes] = sorted(await self.redis.keys("*"))
        values = [await self.redis.dump(name) for name in names]
        return {"rows": rows, "keys": dict(zip(names, values, strict=True))}


def draft(**changes: Any) -> dict[str, Any]:
    """A campaign that keeps all rules, on sale now; `total`, `price_fen`, `offer`: of its offer.

    `offer` with prices None has none.
    """
    now = now_ms()
    offer = {
        "sku_id": "sku_tea",
        "total": changes.pop("total", 100),
        "prices": changes.pop("prices", [{"price_fen": changes.pop("price_fen", 1_000)}]),
        "per_order_max": 2,
        "per_buyer_max": 2,
        **changes.pop("offer", {}),
    }
    if offer["prices"] is None:
        del offer["prices"]
    return {
        "name": "晚八点秒杀",
        "starts_at_ms": now - HOUR_MS,
        "ends_at_ms": now + HOUR_MS,
        "hold_ms": 60_000,
        "pay_ms": 120_000,
        "per_campaign_max": 4,
        "split_plan": PLAN,
        "offers": [offer],
        **changes,
    }


def team_offer(**changes: Any) -> dict[str, Any]:
    """Fields of an offer for teams of two; for `draft(offer=…)`."""
    return {"kind": "team", "size": 2, "term_ms": HOUR_MS // 2, **changes}


def crowd_offer(*steps: tuple[int, int], **changes: Any) -> dict[str, Any]:
    """Fields of a crowd's offer with a ladder of (seats, price in fen)."""
    ladder = [{"seats": seats, "price_fen": fen} for seats, fen in steps or ((2, 900), (3, 800))]
    return {"kind": "crowd", "prices": None, "steps": ladder, **changes}


async def seed(db: Database, settings: Settings) -> None:
    """A SKU with prices 20.00 and 18.00 yuan, a customer, HQ, two stores with a guide each."""
    sealed = PhoneKeys(settings.phone_secret).seal("13800138000")
    async with db.begin() as session:
        for store, guide, name in (("store_a", "gd_wang", "王芳"), ("store_b", "gd_li", "李雷")):
            session.add(
                Store(id=store, name=f"{name}的店", city="", address="", latitude=0, longitude=0)
            )
            session.add(Guide(id=guide, name=name))
            await session.flush()
            session.add(GuideTerm(guide_id=guide, from_ms=0, store_id=store))
            session.add(
                Staff(
                    id=f"stf_{guide}",
                    login=guide,
                    name=name,
                    role="guide",
                    password_hash="x",
                    guide_id=guide,
                )
            )
        session.add(
            Sku(id="sku_tea", name="龙井 100g", shelf_price_fen=2_000, mall_price_fen=1_800)
        )
        session.add(
            Member(
                id="mbr_seeded",
                nickname="小林",
                phone_hash=sealed.hash,
                phone_cipher=sealed.cipher,
                phone_shown=sealed.shown,
            )
        )
        session.add(Staff(id="stf_hq", login="unused", name="总部", role="hq", password_hash="x"))


@asynccontextmanager
async def running_world(settings: Settings, redis: Redis) -> AsyncIterator[World]:
    """A seeded database, an API process on it, and clients; shards are not open yet."""
    db = Database(settings.database_url)
    await seed(db, settings)
    wire = Wire(settings.redis_url, load_all().values())
    await wire.start()
    epochs = Epochs(db)
    process, port = await start_api(settings)
    http = httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        timeout=30,
        trust_env=False,
        limits=httpx.Limits(max_connections=256),
    )
    world = World(
        settings,
        db,
        redis,
        wire,
        Inventory(wire, epochs),
        http,
        TokenKeys.from_setting(settings.token_secret),
        process,
    )
    reading = asyncio.create_task(_read_log(world))
    try:
        yield world
    finally:
        await http.aclose()
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 30)
        await reading
        await wire.close()
        await db.close()


async def start_api(settings: Settings) -> tuple[asyncio.subprocess.Process, int]:
    """The process and its port; it answers once its stores do."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_024) as sock:
        os.set_inheritable(sock.fileno(), True)
        port: int = sock.getsockname()[1]
        reachable = msgspec.structs.replace(settings, public_url=f"http://127.0.0.1:{port}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "campaigns.main", "--fd", str(sock.fileno())),
            env={**inherited_environ(), **to_environ(reachable)},
            pass_fds=[sock.fileno()],
            stderr=asyncio.subprocess.PIPE,
        )
        return process, port


async def _read_log(world: World) -> None:
    assert world.process.stderr is not None
    async for line in world.process.stderr:
        world.log.append(line.decode())
