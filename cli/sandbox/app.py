"""The sandbox as an ASGI app: read, verify, misbehave as switched, act, answer.

`create_app(data_dir, secret, base_url)` is the whole server; uvicorn runs it (see __main__).
Bare ASGI, because the failures it plays (an answer cut in the middle, a status after the work
was done) lie below what a framework lets through. Secrets and bodies are never logged.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from campaigns.payment.provider import BadSignature
from campaigns.payment.sandbox_client import MERCHANT_SERIAL, Refusal
from campaigns.payment.signature import derive_key, verify
from cli.sandbox import routes, switches
from cli.sandbox.courier import Courier
from cli.sandbox.limits import Limits
from cli.sandbox.refusal import Refused
from cli.sandbox.store import Store
from engine.ids import now_ms

log = logging.getLogger("sandbox")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def create_app(
    data_dir: Path | str, secret: str, base_url: str, limits: Limits | None = None
) -> "Sandbox":
    """An ASGI app that keeps its state in `data_dir` and tells customers to pay at `base_url`.

    Raises BlockingIOError when another sandbox uses the folder, ValueError for a short secret.
    """
    return Sandbox(Path(data_dir), secret, base_url.rstrip("/"), limits or Limits())


class Sandbox:
    """The app; it opens its store and starts its courier with the ASGI lifespan."""

    def __init__(self, data_dir: Path, secret: str, base_url: str, limits: Limits) -> None:
        self._secret = secret
        self._keys = {MERCHANT_SERIAL: derive_key(secret, MERCHANT_SERIAL)}
        self._base_url = base_url
        self._limits = limits
        self._store = Store(data_dir)
        self._courier: Courier | None = None
        self._courier_task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: lifespan and http."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._courier = Courier(self._store, self._secret, self._limits)
        self._courier_task = asyncio.create_task(self._courier.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._courier_task.cancel()
        await asyncio.gather(self._courier_task, return_exceptions=True)
        self._store.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        plight = switches.Plight()
        try:
            if (scope["method"], scope["path"]) == ("GET", "/healthz"):
                status, answer = await self._health()
            else:
                body = await _read(receive, self._limits.body_bytes_max)
                route, act = self._understand(scope, body)
                if route.operation is not None:
                    plight = await self._plight(route.operation, act.key)
                status, answer = await self._answer(act, plight)
        except Refused as refused:
            status, answer = refused.status, Refusal(refused.code, refused.message)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            status, answer = 500, Refusal("INTERNAL", "The sandbox failed; see its log.")
        if plight.slow_ms:
            await asyncio.sleep(plight.slow_ms / 1000)
        if plight.how == "closed":
            await _cut(send)
        elif plight.how is not None:
            await _reply(send, int(plight.how), Refusal("SWITCHED", "Switched to fail."))
        else:
            await _reply(send, status, answer)

    def _understand(self, scope: Scope, body: bytes) -> tuple[routes.Route, routes.Act]:
        route, name = routes.find(scope["method"], scope["path"])
        query = scope["query_string"].decode("latin-1")
        if route.is_signed:
            path = scope["raw_path"].decode("latin-1")
            target = f"{scope['method']} {path}{'?' + query if query else ''}"
            headers = {
                key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
            }
            try:
                verify(headers, body, self._keys, now_ms=now_ms(), target=target)
            except BadSignature as bad:
                message = f"The request is not signed by the merchant ({bad.reason})."
                raise Refused(401, "SIGNATURE", message) from bad
        call = routes.Call(name, query, body, now_ms(), self._base_url, self._limits)
        return route, route.make(call)

    async def _plight(self, operation: switches.Operation, key: str) -> switches.Plight:
        return await self._store.act(lambda conn: switches.take_plight(conn, operation, key))

    async def _answer(self, act: routes.Act, plight: switches.Plight) -> tuple[int, Any]:
        if plight.how is not None and plight.when == "before":
            return 500, None
        result = await self._store.act(act.work)
        if self._courier is not None:
            self._courier.wake()
        return 200, result

    async def _health(self) -> tuple[int, Any]:
        await self._store.act(switches.load)
        is_running = self._courier_task is not None and not self._courier_task.done()
        return (200 if is_running else 503), {"status": "ok" if is_running else "no courier"}


async def _read(receive: Receive, bytes_max: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "BAD_REQUEST", "The request ended early.")
        body += message.get("body", b"")
        if len(body) > bytes_max:
            raise Refused(413, "TOO_LARGE", f"A request has at most {bytes_max} bytes.")
        if not message.get("more_body", False):
            return bytes(body)


async def _reply(send: Send, status: int, answer: Any) -> None:
    body = msgspec.json.encode(answer)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _cut(send: Send) -> None:
    """Promise a body and end without it: the server then closes the connection."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"64")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
