"""A lean keep-alive HTTP client for load and demo: one socket, one request at a time.

It costs a few dozen microseconds a request where a general client costs a millisecond, so that
on a shared machine the server is measured and not the generator. One request is never sent twice
by itself: a lost connection is `Lost`, and its outcome is unknown to the caller.
"""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import httptools


class Lost(Exception):
    """The connection broke or timed out before the answer was whole: outcome unknown."""


class Answer(NamedTuple):
    """Status, headers with lower-case names, body."""

    status: int
    headers: dict[str, str]
    body: bytes


class _Parser(asyncio.Protocol):
    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Answer] | None = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self.transport: asyncio.Transport
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.Transport
        self.transport, self.open = cast(asyncio.Transport, transport), True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Lost())

    def ask(self, request: bytes) -> asyncio.Future[Answer]:
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiter

    # -- httptools' callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        answer = Answer(self._parser.get_status_code(), self._headers, b"".join(self._body))
        self._headers, self._body = {}, []
        if not self._parser.should_keep_alive():
            self.open = False
            self.transport.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(answer)


class LeanClient:
    """One keep-alive connection to `base_url`; reconnects for the next request when it was lost."""

    def __init__(self, base_url: str, *, timeout_s: float = 30.0) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._timeout_s = timeout_s
        self._line: _Parser | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        token: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request and wait for its answer; Lost when the outcome is unknown."""
        lines = [f"{method} {path} HTTP/1.1", f"host: {self._host}:{self._port}"]
        if token:
            lines.append(f"authorization: Bearer {token}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body:
            lines.append("content-type: application/json")
        lines.append(f"content-length: {len(body)}\r\n\r\n")
        request = "\r\n".join(lines).encode() + body
        try:
            async with asyncio.timeout(self._timeout_s):
                line = await self._connected()
                return await line.ask(request)
        except (OSError, TimeoutError) as error:
            await self.close()
            raise Lost from error
        except asyncio.CancelledError:
            # Else the next request would be given the answer to this one.
            await self.close()
            raise

    async def _connected(self) -> _Parser:
        if self._line is None or not self._line.open:
            loop = asyncio.get_running_loop()
            _, self._line = await loop.create_connection(_Parser, self._host, self._port)
        return self._line

    async def close(self) -> None:
        """Hang up."""
        if self._line is not None:
            self._line.transport.abort()
            self._line = None
