"""A stage with money: settler, sandbox provider, callback door and the worker's turns, all real.

The door does what the API's route does: verify the raw bytes, commit the fact, answer, then
carry it to the claim. `rest()` runs turns until nothing is left to do; `verdict()` then holds
our rows and ledger against the provider's bill.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from sqlalchemy import text

from campaigns.payment.provider import BadSignature, BillRow, PaymentProvider
from campaigns.payment.sandbox_client import SandboxClient
from campaigns.payment.service import (
    CALLBACK_PATH,
    PayPage,
    apply_fact,
    begin_payment,
    record_payment,
)
from campaigns.refund.models import Refund
from campaigns.refund.service import request_refund
from engine.db import Database
from engine.errors import KaituanError
from engine.ids import new_id
from engine.inventory import Inventory
from tests.sandbox import SandboxServer, pay
from tests.workers.bill import check_ledger, check_rows, check_stock
from tests.workers.stage import Stage, open_stage
from workers import pay_watch, refunds, sweep
from workers.loop import Parts
from workers.repeats import Repeats

TURNS_MAX = 60
_LEFT = text(
    """
    SELECT (SELECT count(*) FROM payment_attempts WHERE state = 'begun')
         + (SELECT count(*) FROM payment_attempts WHERE state = 'open' AND :all)
         + (SELECT count(*) FROM payment_facts WHERE outcome IS NULL)
         + (SELECT count(*) FROM refunds WHERE state = 'due')
         + (SELECT count(*) FROM refunds WHERE units > 0 AND applied_seq IS NULL)
         + (SELECT count(*) FROM orders WHERE claim_state = 'paying' AND :all)
         + (SELECT count(*) FROM orders WHERE release_due)
    """
)


@dataclass
class Paying:
    """One evening's money; `parts` are what the loops get, tests may swap its members."""

    stage: Stage
    sandbox: SandboxServer
    client: SandboxClient
    parts: Parts
    period: str
    earlier: tuple[BillRow, ...] = ()  # bills of periods that a test closed itself

    async def bought(self, buyer: str = "b1", *, qty: int = 1, **changes: Any) -> str:
        """A held and ordered claim on a fresh offer of 5 units."""
        offer = await self.stage.offer(5, **changes)
        reply = await self.stage.claim(offer, buyer, qty=qty)
        assert reply.what == "held", reply
        await self.stage.settle()
        return reply.details[0]

    async def begin(self, claim_id: str, buyer: str = "b1", **parts: Any) -> PayPage:
        """`begin_payment` with these parts; `parts` replaces some."""
        with_parts: dict[str, Any] = {
            "db": self.parts.db,
            "inventory": self.parts.inventory,
            "provider": self.parts.provider,
            "settings": self.parts.settings,
        } | parts
        return await begin_payment(**with_parts, claim_id=claim_id, buyer_id=buyer)

    async def paid(self, buyer: str = "b1", *trouble: str, qty: int = 1, **changes: Any) -> str:
        """A claim whose customer paid, with the trouble asked for."""
        claim_id = await self.bought(buyer, qty=qty, **changes)
        await self.pay(await self.begin(claim_id, buyer), *trouble)
        return claim_id

    async def pay(self, page: PayPage, *trouble: str) -> httpx.Response:
        """The customer's act."""
        answer = await pay(page.pay_url, *trouble)
        assert answer.status_code == 200, answer.text
        return answer

    async def standing(self, buyer: str = "b1", *, qty: int = 1) -> str:
        """The order id of a claim that was paid and settled."""
        claim_id = await self.paid(buyer, qty=qty)
        await self.rest()
        assert await self.order(claim_id, "state") == "paid"
        return str(await self.order(claim_id, "id"))

    async def refund(self, order_id: str, units: int, **changes: Any) -> Refund:
        """A request by HQ with an id of its own."""
        given = {"request_id": new_id("req"), "amount_fen": None, "actor": "hq"} | changes
        return await request_refund(self.parts.db, order_id=order_id, units=units, **given)

    async def order(self, claim_id: str, column: str) -> Any:
        """One column of the claim's order."""
        return await self.stage.scalar(
            f"SELECT {column} FROM orders WHERE claim_id = :c", c=claim_id
        )

    async def attempt(self, claim_id: str, column: str = "state") -> Any:
        """One column of the claim's newest attempt."""
        sql = f"SELECT {column} FROM payment_attempts WHERE claim_id = :c ORDER BY id DESC LIMIT 1"
        return await self.stage.scalar(sql, c=claim_id)

    async def fact(self, claim_id: str) -> Any:
        """`verdict/outcome` of the claim's facts."""
        sql = (
            "SELECT string_agg(verdict || '/' || coalesce(outcome, '-'), ' ' ORDER BY verdict)"
            " FROM payment_facts WHERE claim_id = :c"
        )
        return await self.stage.scalar(sql, c=claim_id)

    async def run(self, sql: str, **given: Any) -> None:
        """A change to the rows: tests move deadlines, never clocks."""
        async with self.stage.db.begin() as session:
            await session.execute(text(sql), given)

    async def expire(self) -> None:
        """The time to pay of all open attempts is over, and no prepay is under way any more."""
        await self.run(
            "UPDATE payment_attempts SET pay_expires_at_ms = 1, next_at_ms = 1, send_until_ms = 0,"
            " lease_until_ms = 0 WHERE state = 'open'"
        )

    async def due(self) -> None:
        """What waits for another try is due now, and leases of the dead are over."""
        await self.run(
            "UPDATE payment_attempts SET next_at_ms = 1, lease_until_ms = 0 WHERE state = 'begun'"
            " OR (state = 'open' AND (tries > 0 OR reason <> ''))"
        )
        await self.run("UPDATE refunds SET next_at_ms = 1, lease_until_ms = 0 WHERE state = 'due'")

    async def turn(self) -> None:
        """One turn of every loop, and what the settler makes of it."""
        await pay_watch.run_once(self.parts)
        await self.stage.settle()
        await refunds.run_once(self.parts)
        await Repeats(self.parts).run_once()
        await sweep.run_once(self.parts)
        await self.stage.settle()

    async def rest(self, *, all_attempts: bool = False) -> None:
        """Turns until nothing is left; with `all_attempts` also nobody is paying any more."""
        for _ in range(TURNS_MAX):
            await self.due()
            await self.turn()
            async with self.stage.db.begin() as session:
                left = await session.scalar(_LEFT, {"all": all_attempts})
            if left == 0 and await self._courier_is_idle():
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"not at rest after {TURNS_MAX} turns")

    async def _courier_is_idle(self) -> bool:
        counts = await self.sandbox.get("/counts")
        return not counts.get("notices_waiting")

    async def bill(self) -> tuple[BillRow, ...]:
        """What the provider says moved since this world began."""
        await self.client.close_period(self.period)
        return self.earlier + (await self.client.bill(self.period)).rows

    async def verdict(self) -> tuple[int, int]:
        """Hold the bill against our rows and the ledger; (payments, refunds) that moved."""
        bill = await self.bill()
        await check_rows(self.stage, bill)
        await check_ledger(self.stage, bill)
        await check_stock(self.stage)
        refunds_count = sum(one.kind == "refund" for one in bill)
        return len(bill) - refunds_count, refunds_count


class Door:
    """Where callbacks arrive: the API's route without its framework."""

    def __init__(self, db: Database, inventory: Inventory, provider: PaymentProvider) -> None:
        self._db, self._inventory, self._provider = db, inventory, provider
        self.refused = 0
        self.taken = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one callback."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            assert head[0].startswith(f"POST {CALLBACK_PATH} "), head[0]
            headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in head)}
            body = await reader.readexactly(int(headers["content-length"]))
            status, answer = await self._take(headers, body)
            lines = f"HTTP/1.1 {status} X\r\ncontent-length: {len(answer)}\r\nconnection: close"
            writer.write(lines.encode() + b"\r\n\r\n" + answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the sandbox ended in mid-sentence
        finally:
            writer.close()

    async def _take(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        try:
            told = self._provider.verify_callback(headers, body)
        except BadSignature:
            self.refused += 1
            return 401, b"{}"
        fact_id = await record_payment(self._db, told, provider_name="sandbox", source="callback")
        self.taken += 1
        with contextlib.suppress(KaituanError):  # committed; the repeats loop carries it on
            await apply_fact(self._db, self._inventory, fact_id)
        return 200, self._provider.callback_success


@asynccontextmanager
async def open_paying(
    db: Database, valkey_url: str, sandbox: SandboxServer, **changes: Any
) -> AsyncIterator[tuple[Paying, Door]]:
    """A paying stage and its door; `changes` are settings."""
    quick = {
        **{"repeat_after_ms": 0, "retry_base_ms": 1, "retry_cap_ms": 2, "shards": 1},
        **{"refunds_per_s_max": 10_000, "refund_errors_per_s_max": 10_000},
        **changes,
    }
    async with open_stage(db, valkey_url, **quick) as stage, sandbox.client() as client:
        await sandbox.switch()
        opened = await client.open_period()
        period = await client.close_period(opened)
        door = Door(db, stage.inventory, client)
        server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        settings = msgspec.structs.replace(stage.settings, public_url=url)
        parts = Parts(db, stage.inventory, client, "sandbox", settings)
        try:
            yield Paying(stage, sandbox, client, parts, period), door
        finally:
            server.close()
