"""A whole Kaituan for tests: every process of `kaituan up`, supervised in a temporary place.

`opened_house` starts it; tests speak to it over HTTP as its clients do, and play the operator's
bad day: `kill` (-9, the supervisor starts it again), `frozen` (SIGSTOP), the stores' own clients.
`audited` waits for rest and holds every law to what the clients wrote down and the provider
billed.
"""

import asyncio
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import hiredis
import psutil

from cli.audit import audit_at_rest
from cli.demo.plan import Tally
from cli.fresh import Fresh, fresh_kaituan
from cli.supervisor_child import tail
from engine import keys
from engine.audit.history import HistoryWriter
from engine.audit.report import Report
from engine.errors import Unavailable
from engine.ids import now_ms
from engine.settings import Settings, inherited_environ, to_environ
from engine.shards import shard_of
from engine.tokens import TokenKeys
from engine.wire import Wire
from loadtests.lean import Answer, LeanClient, Lost
from tests.system.buyer import Buyer
from tests.waiting import eventually

HOUR_MS = 3_600_000
# Waits that a person would not notice, and a test that kills things would sit through.
QUICK = {
    "lease_ms": 6_500,
    "provider_timeout_ms": 1_500,
    "retry_cap_ms": 1_000,
    "repeat_after_ms": 500,
    "law_check_every_ms": 3_600_000,  # each test audits for itself when it is done
}


@dataclass(frozen=True)
class Sale:
    """A published campaign of one offer."""

    campaign_id: str
    offer_id: str
    price_id: str
    shard: int


@dataclass
class House:
    """The running house and its operator's hands."""

    fresh: Fresh
    said: list[str]
    hot: Wire
    tokens: TokenKeys
    history: Path = Path()  # where all clients write
    writer: HistoryWriter | None = None
    tally: Tally = field(default_factory=Tally)
    clients: list[LeanClient | Buyer] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return self.fresh.settings

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to work on the same stores."""
        return {**inherited_environ(), **to_environ(self.settings)}

    # -- clients

    def token(self, buyer: str, *, for_ms: int = HOUR_MS) -> str:
        return self.tokens.sign(buyer, "customer", expires_at_ms=now_ms() + for_ms)

    def client(self) -> LeanClient:
        """A connection of a test's own; hung up at the end."""
        client = LeanClient(self.settings.public_url)
        self.clients.append(client)
        return client

    def buyer(self, name: str) -> Buyer:
        """A customer on a connection of their own, who writes the test's history."""
        assert self.writer is not None
        buyer = Buyer(
            *(self.settings.public_url, name, self.token(name)),
            tally=self.tally,
            history=self.writer,
            rng=random.Random(name),
        )
        self.clients.append(buyer)
        return buyer

    async def sale(self, total: int, **changes: Any) -> Sale:
        """Publish one offer on sale now; limits and terms by `changes`, its own by `offer`."""
        limits = {name: changes.pop(name, 1) for name in ("per_order_max", "per_buyer_max")}
        kind = changes.pop("offer", {})
        draft = {
            "name": "晚八点秒杀",
            "starts_at_ms": now_ms() - 1_000,
            "ends_at_ms": now_ms() + HOUR_MS,
            "per_campaign_max": limits["per_buyer_max"],
            "hold_ms": 60_000,
            "pay_ms": 60_000,
            **changes,
        }
        offer = {
            "sku_id": "SP1001",
            "total": total,
            "prices": [{"price_fen": 3_990}],
            **limits,
            **kind,
        }
        (published,) = await self.fresh.publish({**draft, "offers": [offer]})
        offer_id = published["offer_id"]
        campaign = await self.scalar("SELECT campaign_id FROM offers WHERE id = $1", offer_id)
        sale = Sale(
            campaign, offer_id, published["price_ids"][0], shard_of(campaign, self.settings.shards)
        )

        async def is_open() -> bool:
            return bool(await self.ask("EXISTS", keys.offers(sale.shard) + offer_id))

        await eventually(is_open)
        return sale

    async def sale_elsewhere(self, shards: set[int], total: int, **changes: Any) -> Sale:
        """A sale on another shard than these."""
        for _ in range(64):
            sale = await self.sale(total, **changes)
            if sale.shard not in shards:
                return sale
        raise AssertionError("64 campaigns on so few shards")

    async def ready(self) -> Answer:
        """What /readyz says."""
        client = LeanClient(self.settings.public_url)
        try:
            return await client.request("GET", "/readyz")
        finally:
            await client.close()

    async def until_ready(self, *, within_s: float = 60) -> None:
        """Wait until every API process has had the chance to say so, and one did."""

        async def is_ready() -> bool:
            try:
                return (await self.ready()).status == 200
            except Lost:
                return False

        await eventually(is_ready, within_s=within_s, every_s=0.1)

    async def served(self) -> dict[str, float]:
        """API process → how many claims it has answered, from its own /metrics."""
        found: dict[str, float] = {}

        async def all_told() -> bool:
            client = LeanClient(self.settings.public_url)  # a new connection may meet the other one
            text = (await client.request("GET", "/metrics")).body.decode()
            await client.close()
            counts = re.findall(r'kaituan_claims_total\{answer="[^"]*",pid="(\d+)"\} (\S+)', text)
            found.update({pid: sum(float(n) for p, n in counts if p == pid) for pid, _ in counts})
            return len(found) == self.settings.api_processes

        await eventually(all_told)
        return found

    # -- the operator's bad day

    def pid(self, name: str) -> int:
        return self.fresh.supervisor.children[name].pid

    def kill(self, name: str) -> int:
        """`kill -9`; the pid it had. On return the process is dead, and not yet started again."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        process = psutil.Process(pid)
        until = time.monotonic() + 10
        # No await here: the supervisor shares this loop, so it has not noticed yet.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until, f"{name} does not die"
            time.sleep(0.005)
        return pid

    async def until_back(self, name: str, old_pid: int) -> None:
        """Wait until the supervisor has started `name` again."""
        await eventually(lambda: self.pid(name) != old_pid, within_s=60)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """SIGSTOP while inside."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    # -- what the stores say

    async def rows(self, sql: str, *given: object) -> list[asyncpg.Record]:
        """A query over a connection of its own, again while PostgreSQL is away."""
        until = time.monotonic() + 60
        while True:
            try:
                connection = await asyncpg.connect(self.settings.database_url)
                try:
                    return list(await connection.fetch(sql, *given))
                finally:
                    await connection.close()
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)

    async def scalar(self, sql: str, *given: object) -> Any:
        return (await self.rows(sql, *given))[0][0]

    async def ask(self, *command: str | int) -> Any:
        """One command to the hot store, which may be away for a while."""
        until = time.monotonic() + 60
        while True:
            try:
                return await self.hot.call(*command)
            except (Unavailable, hiredis.ReplyError) as error:
                if isinstance(error, hiredis.ReplyError) and "LOADING" not in str(error):
                    raise
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.05)

    async def stock(self, sale: Sale) -> dict[str, int]:
        """total, available, held, sold in the hot store."""
        names = ("total", "available", "held", "sold")
        values = await self.ask("HMGET", keys.offers(sale.shard) + sale.offer_id, *names)
        return {name: int(value) for name, value in zip(names, values, strict=True)}

    async def epoch(self, shard: int) -> int:
        """The shard's epoch as PostgreSQL says."""
        found: int = await self.scalar("SELECT epoch FROM shard_position WHERE shard = $1", shard)
        return found

    async def settled(self) -> None:
        """Wait until every event is in PostgreSQL and every shard open."""

        async def is_settled() -> bool:
            for row in await self.rows("SELECT shard, epoch, seq, state FROM shard_position"):
                meta = await self.ask("HMGET", keys.meta(row["shard"]), "epoch", "seq", "sealed")
                if row["state"] != "open" or meta[2] != b"":
                    return False
                if (int(meta[0]), int(meta[1])) != (row["epoch"], row["seq"]):
                    return False
            return True

        await eventually(is_settled, within_s=60)

    async def audited(self, *, within_s: float = 60) -> Report:
        """All laws at rest, with the clients' history and the provider's bill."""
        assert self.writer is not None
        self.writer.flush()
        return await audit_at_rest(self.settings, history=self.history, within_s=within_s)

    def logs(self) -> list[str]:
        """The last lines of every process's log, for a test that failed."""
        place = self.fresh.supervisor.place
        told = [f"said: {line}" for line in self.said]
        for name in self.fresh.supervisor.children:
            told += [f"--- {name}", tail(place.log_of(name))]
        return told

    async def lawful(self, *checked: str, within_s: float = 60) -> Report:
        """As `audited`; every law must hold, and these must have looked at something."""
        report = await self.audited(within_s=within_s)
        assert report.ok, "\n".join([*report.lines(), *self.logs()])
        for name in checked:
            assert report.law(name).checked > 0, "\n".join(report.lines())
        return report


class Told(NamedTuple):
    """What a command of `kaituan` said, and its exit code."""

    code: int
    text: str


async def kaituan(environ: Mapping[str, str], *arguments: str, within_s: float = 90) -> Told:
    """Run `kaituan …` as an operator beside a running one would."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", *arguments),
        env=dict(environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=Path(__file__).parents[2],
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), within_s)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Told(process.returncode, said.decode())


@asynccontextmanager
async def opened_house(**changes: Any) -> AsyncIterator[House]:
    """Start everything and wait until it is ready; nothing of it is left afterwards."""
    said: list[str] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    async with fresh_kaituan(said.append, **{**QUICK, **changes}) as fresh:
        for number, handler in handlers.items():  # they interrupt the tests, not the house alone
            asyncio.get_running_loop().remove_signal_handler(number)
            signal.signal(number, handler)
        hot = Wire(fresh.settings.redis_url, ())
        tokens = TokenKeys.from_setting(fresh.settings.token_secret)
        await hot.start()
        try:
            yield House(fresh, said, hot, tokens)
        finally:
            await hot.close()


@asynccontextmanager
async def lived_in(house: House, folder: Path) -> AsyncIterator[House]:
    """The house with a history of its own, for as long as one module's tests play in it."""
    with HistoryWriter(folder, "test") as writer:
        guest = replace(house, history=folder, writer=writer, clients=[])
        try:
            yield guest
        finally:
            for client in guest.clients:
                await client.close()
