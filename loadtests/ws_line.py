"""A lean WebSocket client connection: handshake, framing and masking on an asyncio.Protocol.

Thousands of them fit in one process: no task, no queue and no buffer of its own beyond an
unfinished frame. Text frames go to `on_text` as they came (bytes); what breaks RFC 6455 ends the
connection with 1002. `stall()` stops reading, so that a test can be a slow viewer.
"""

import asyncio
import base64
import os
from collections.abc import Callable
from hashlib import sha1
from typing import cast

FRAME_BYTES_MAX = 4 << 20
HEAD_BYTES_MAX = 16_384
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CONTINUE, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0, 1, 2, 8, 9, 10
NO_CODE = 1006  # the connection ended without a close frame


class NoHandshake(Exception):
    """The server did not switch to WebSocket; the text says its status line."""


class WsLine(asyncio.Protocol):
    """One connection. `opened` ends with the handshake, `closed` gives the close code."""

    def __init__(self, host: str, path: str, origin: str, on_text: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self._host, self._path, self._origin = host, path, origin
        self._on_text = on_text
        self._key = base64.b64encode(os.urandom(16))
        self._rest = b""  # of a frame that has not come whole
        self._message: list[bytes] = []  # fragments
        self._code, self.reason = 0, ""
        self.open = False
        self.opened: asyncio.Future[None] = loop.create_future()
        self.closed: asyncio.Future[int] = loop.create_future()
        self.transport: asyncio.Transport

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio.Transport
        self.transport = cast(asyncio.Transport, transport)
        lines = [
            f"GET {self._path} HTTP/1.1",
            f"Host: {self._host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {self._key.decode()}",
            "Sec-WebSocket-Version: 13",
        ]
        if self._origin:
            lines.append(f"Origin: {self._origin}")
        self.transport.write("\r\n".join([*lines, "", ""]).encode())

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        if not self.open:
            if not self._shake_hands(data):
                return
            data, self._rest = self._rest, b""
        self._read_frames(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if not self.opened.done():
            self.opened.set_exception(NoHandshake("the connection was lost before an answer"))
        if not self.closed.done():
            self.closed.set_result(self._code or NO_CODE)

    # -- the viewer's side

    def send(self, text: bytes) -> None:
        """One masked text frame; nothing when the connection is no longer open."""
        if self.open:
            self.transport.write(_frame(_TEXT, text))

    def close(self, code: int = 1000) -> None:
        """Say goodbye; the server closes."""
        if self.open:
            self.transport.write(_frame(_CLOSE, code.to_bytes(2, "big")))

    def cut(self) -> None:
        """Break the connection without a word, as a lost network does."""
        self.transport.abort()

    def stall(self) -> None:
        """Stop reading: the bytes pile up on the server's side."""
        self.transport.pause_reading()

    def go_on(self) -> None:
        """Read again."""
        self.transport.resume_reading()

    # -- inside

    def _shake_hands(self, data: bytes) -> bool:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end and len(data) <= HEAD_BYTES_MAX:
            self._rest = data
            return False
        lines = head.split(b"\r\n")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        accept = base64.b64encode(sha1(self._key + _GUID, usedforsecurity=False).digest())
        if b" 101 " not in lines[0] + b" " or fields.get(b"sec-websocket-accept") != accept:
            if not self.opened.done():
                self.opened.set_exception(NoHandshake(lines[0][:120].decode("latin-1")))
            self.transport.abort()
            return False
        self.open, self._rest = True, rest
        self.opened.set_result(None)
        return True

    def _read_frames(self, data: bytes) -> None:
        at, end = 0, len(data)
        while end - at >= 2:
            first, size = data[at], data[at + 1]
            start = at + 2
            if size == 126:
                start += 2
                size = int.from_bytes(data[at + 2 : start], "big") if start <= end else end
            elif size == 127:
                start += 8
                size = int.from_bytes(data[at + 2 : start], "big") if start <= end else end
            elif size > 127:
                return self._refuse("a server does not mask")
            if size > FRAME_BYTES_MAX:
                return self._refuse("a frame is too large")
            if start + size > end:
                break
            payload = data[start : start + size]
            at = start + size
            if first == 0x81 and not self._message:
                self._on_text(payload)
            elif not self._odd_frame(first, payload):
                return None
        self._rest = data[at:]
        return None

    def _odd_frame(self, first: int, payload: bytes) -> bool:
        """Everything but a whole text frame; False when nothing more is read."""
        kind = first & 0x0F
        if first & 0x70:
            self._refuse("a reserved bit is set")
            return False
        if kind == _PING:
            self.transport.write(_frame(_PONG, payload))
        elif kind == _CLOSE:
            self._code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            self.reason = payload[2:].decode(errors="replace")
            self.close(self._code if self._code != 1005 else 1000)
            self.open = False
            self.transport.close()
            return False
        elif kind in (_TEXT, _CONTINUE) and (kind == _CONTINUE) == bool(self._message):
            self._message.append(payload)
            if first & 0x80:
                whole, self._message = b"".join(self._message), []
                self._on_text(whole)
        elif kind != _PONG:
            self._refuse("a frame of no known kind")
            return False
        return True

    def _refuse(self, why: str) -> None:
        self._code, self.reason = 1002, why
        self.close(1002)
        self.open = False
        self.transport.close()


def _frame(kind: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | kind, 0x80 | size))
    elif size < 65_536:
        head = bytes((0x80 | kind, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | kind, 0xFF)) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    pad = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")
    return head + mask + masked
