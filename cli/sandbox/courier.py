"""The courier: sends notices that are due, a bounded number at a time, and lets refunds succeed.

It lives off the rows alone: what a killed server had not recorded as delivered is sent again,
so a receiver sees each notice at least once. It follows no redirects and asks no proxy.
"""

import asyncio
import logging
import secrets
import ssl
from typing import Any, Literal

import httpx
import msgspec

from campaigns.payment.sandbox_client import CALLBACK_SUCCESS, PROVIDER_SERIAL
from campaigns.payment.signature import TOLERANCE_MS, derive_key, sign
from cli.sandbox import notices, refunds
from cli.sandbox.limits import Limits
from cli.sandbox.store import Store
from engine.ids import now_ms

log = logging.getLogger("sandbox")

Outcome = Literal["success", "refused", "no_answer"]
IDLE_S = 1.0


class Courier:
    """One task that looks for due work, and one short task for each notice under way."""

    def __init__(self, store: Store, secret: str, limits: Limits) -> None:
        self._store = store
        self._key = derive_key(secret, PROVIDER_SERIAL)
        self._limits = limits
        self._wake = asyncio.Event()
        self._under_way: dict[int, asyncio.Task[None]] = {}
        self._http = httpx.AsyncClient(
            timeout=limits.notice_timeout_ms / 1000,
            transport=httpx.AsyncHTTPTransport(
                # http only, so no root certificates: reading them costs 50 ms of each start.
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                limits=httpx.Limits(max_connections=limits.notices_in_flight_max),
            ),
            trust_env=False,
            follow_redirects=False,
        )

    def wake(self) -> None:
        """There may be something due."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. A failing turn is logged and tried again: notices must not stop."""
        try:
            while True:
                self._wake.clear()
                try:
                    wait_s = await self._turn()
                except Exception:
                    log.exception("the courier's turn failed; it goes on in %s s", IDLE_S)
                    wait_s = IDLE_S
                try:
                    async with asyncio.timeout(wait_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        finally:
            await self._stop()

    async def _turn(self) -> float:
        """Start what is due; seconds until something else will be."""
        started_ms = now_ms()
        free = self._limits.notices_in_flight_max - len(self._under_way)
        under_way = set(self._under_way)

        def look(conn: Any) -> tuple[list[Any], list[int | None]]:
            refunds.settle_due(conn, started_ms, self._limits.refunds_settled_max)
            due = notices.due(conn, started_ms, under_way, free) if free else []
            return due, [
                notices.next_due_at_ms(conn, started_ms),
                refunds.next_due_at_ms(conn),
            ]

        due, nexts = await self._store.act(look)
        for row in due:
            task = asyncio.create_task(self._deliver(row))
            self._under_way[row["notice_id"]] = task
        waits = [(at_ms - now_ms()) / 1000 for at_ms in nexts if at_ms is not None]
        return max(0.005, min([IDLE_S, *waits]))

    async def _deliver(self, row: Any) -> None:
        try:
            outcome = await self._send(row)
            await self._store.act(
                lambda conn: notices.record(conn, now_ms(), self._limits, row["notice_id"], outcome)
            )
        except Exception:
            log.exception("notice %s could not be sent or recorded", row["notice_id"])
            await asyncio.sleep(IDLE_S)
        finally:
            del self._under_way[row["notice_id"]]
            self.wake()

    async def _send(self, row: Any) -> Outcome:
        headers = self._headers(row["kind"], row["body"])
        answer = bytearray()
        try:
            async with (
                asyncio.timeout(self._limits.notice_timeout_ms / 1000),
                self._http.stream(
                    "POST", row["url"], content=row["body"], headers=headers
                ) as response,
            ):
                async for piece in response.aiter_raw():
                    answer += piece
                    if len(answer) > self._limits.notice_answer_bytes_max:
                        return "refused"
        except (httpx.HTTPError, TimeoutError):
            return "no_answer"
        return "success" if response.is_success and _says_success(answer) else "refused"

    def _headers(self, kind: str, body: bytes) -> dict[str, str]:
        signed_ms, key, serial = now_ms(), self._key, PROVIDER_SERIAL
        if kind == "forged_signature":
            key = secrets.token_bytes(32)
        elif kind == "forged_serial":
            serial = "provider-666"
        elif kind == "forged_stale":
            signed_ms -= 12 * TOLERANCE_MS
        return {
            "content-type": "application/json",
            "accept-encoding": "identity",
            **sign(serial, key, body, now_ms=signed_ms),
        }

    async def _stop(self) -> None:
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()


def _says_success(answer: bytes | bytearray) -> bool:
    try:
        return bool(msgspec.json.decode(answer) == msgspec.json.decode(CALLBACK_SUCCESS))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
