"""A viewer that stops reading: a bounded buffer, the slow code, and nobody else notices (R5)."""

import asyncio
import socket
from typing import Any

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from tests.waiting import eventually
from tests.ws.client import watching
from tests.ws.stage import Stage
from ws import close_codes

HANDSHAKE = (
    "GET /v1/live HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def deaf(url: str, token: str, topic: str) -> socket.socket:
    """A viewer with a small receive buffer that joins and then reads nothing."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    await loop.sock_connect(sock, ("127.0.0.1", int(url.split(":")[2].split("/")[0])))
    await loop.sock_sendall(sock, HANDSHAKE.encode())
    assert b" 101 " in await loop.sock_recv(sock, 1_024)
    join = {"type": "join", "token": token, "topics": [{"topic": topic}]}
    frame = Frame(Opcode.TEXT, msgspec.json.encode(join)).serialize(mask=True)
    await loop.sock_sendall(sock, frame)
    return sock


@pytest.mark.parametrize(
    "changes",
    [{"viewer_buffer_max": 20_000, "slow_after_ms": 600_000}, {"slow_after_ms": 500}],
    ids=["buffer is full", "buffer is never empty"],
)
async def test_who_does_not_read_is_closed_and_others_do_not_notice(
    stage: Stage, changes: dict[str, Any]
) -> None:
    topic = await stage.room()
    small = {"viewer_socket_bytes_max": 4_096, "close_within_ms": 300}
    async with stage.gateway(**small, **changes) as (gateway, url):
        token = stage.token([topic])
        async with watching(url, token, [topic]) as one:
            await one.until("snapshot")
            socks = [await deaf(url, token, topic) for _ in range(3)]
            await eventually(lambda: gateway.metrics.joins == 4)
            most = 0
            while gateway.metrics.closes[close_codes.SLOW] < 3:
                await one.until_at(topic, await stage.publish(topic, 40))
                sizes = [viewer.transport.get_write_buffer_size() for viewer in gateway.hub.viewers]
                most = max(most, *sizes)
            assert most < gateway.settings.viewer_buffer_max + 50_000
            await eventually(lambda: len(gateway.hub.viewers) == 1)
            await one.until_at(topic, await stage.publish(topic))
            assert one.seen[topic].hash == await stage.hash(topic)
            assert gateway.metrics.closes == {close_codes.SLOW: 3}
            for sock in socks:
                sock.close()


async def test_who_wakes_in_time_reads_the_code(stage: Stage) -> None:
    topic = await stage.room()
    small = {"viewer_socket_bytes_max": 4_096, "viewer_buffer_max": 8_000}
    async with stage.gateway(**small, close_within_ms=20_000) as (gateway, url):
        sock = await deaf(url, stage.token([topic]), topic)
        await eventually(lambda: gateway.metrics.joins == 1)
        while not gateway.metrics.closes:
            await stage.publish(topic, 60)
            await asyncio.sleep(0.05)
        heard = b""
        loop = asyncio.get_running_loop()
        while not heard.endswith(b"slow"):
            data = await asyncio.wait_for(loop.sock_recv(sock, 65_536), 20)
            assert data
            heard += data
        assert heard[-6:] == close_codes.SLOW.to_bytes(2, "big") + b"slow"
        sock.close()


async def test_a_peer_that_never_ends_its_closing_handshake(stage: Stage) -> None:
    topic = await stage.room()
    async with stage.gateway(close_within_ms=200) as (gateway, url):
        sock = await deaf(url, "forged", topic)
        await eventually(lambda: gateway.metrics.closes[close_codes.TOKEN] == 1)
        await eventually(lambda: not gateway.hub.viewers and not gateway.hub.lines)
        sock.close()
