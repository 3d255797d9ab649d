"""A sandbox provider of a test's own, and a receiver for the callbacks it sends.

`with running_sandbox(folder) as sandbox:` starts the real server process on a free port and
always ends it; `sandbox.kill()` and `sandbox.start()` play its crash on the same port and data.
`async with receiving() as receiver:` is a tiny HTTP server on loopback that keeps what it gets.
"""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from campaigns.payment.sandbox_client import CALLBACK_SUCCESS, SandboxClient
from engine.settings import Settings, inherited_environ, to_environ

SECRET = "a secret for tests, 16 or more"
Answer = tuple[int, bytes]
# One for all clients: making one reads every root certificate, 50 ms each time.
TLS = ssl.create_default_context()


class SandboxServer:
    """The server process; `url` stays the same over a crash."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.url = ""
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it (again) and wait until it listens."""
        port = self.url.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "cli.sandbox", "--port", port, "--data", str(self.data)]
        environ = inherited_environ() | to_environ(Settings(sandbox_secret=SECRET))
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("sandbox ready http://"), line
        self.url = line.split()[2]

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self._reap()

    def stop(self) -> None:
        """Ask it to end, and wait for it."""
        if self.process is not None:
            self.process.terminate()
            self._reap()

    def _reap(self) -> None:
        assert self.process is not None
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    def client(self, *, timeout_ms: int = 5_000) -> SandboxClient:
        """The adapter, speaking to this server."""
        return SandboxClient(self.url, SECRET, timeout_ms=timeout_ms)

    async def switch(self, **switches: Any) -> None:
        """Set the switches (all others off); they hold from the next request on."""
        async with httpx.AsyncClient(trust_env=False, verify=TLS) as http:
            (await http.put(f"{self.url}/switches", json=switches)).raise_for_status()

    async def get(self, path: str) -> Any:
        """What the operator's address `path` answers."""
        async with httpx.AsyncClient(trust_env=False, verify=TLS) as http:
            return (await http.get(self.url + path)).raise_for_status().json()


async def pay(pay_url: str, *trouble: str) -> httpx.Response:
    """The customer's act, honest or asking for trouble."""
    async with httpx.AsyncClient(trust_env=False, verify=TLS) as http:
        return await http.post(pay_url, json={"trouble": trouble} if trouble else None)


@contextmanager
def running_sandbox(data: Path) -> Iterator[SandboxServer]:
    """A started server that is gone afterwards."""
    server = SandboxServer(data)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Callback(NamedTuple):
    """One request that the receiver got; header names in lower case."""

    headers: dict[str, str]
    body: bytes


class Receiver:
    """Keeps every callback and answers as told (default: success)."""

    def __init__(self) -> None:
        self.got: list[Callback] = []
        self.answer: Callable[[Callback], Answer] = lambda _: (200, CALLBACK_SUCCESS)
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request: enough for a callback."""
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:-2]
            headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.got.append(Callback(headers, body))
            status, answer = self.answer(self.got[-1])
            head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(answer)}\r\nconnection: close"
            writer.write(head.encode() + b"\r\n\r\n" + answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the sandbox was killed in mid-sentence; there is no callback to keep
        finally:
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A listening receiver."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/callback"
    try:
        yield receiver
    finally:
        server.close()
