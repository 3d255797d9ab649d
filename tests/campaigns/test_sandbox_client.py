"""The adapter against peers that answer badly: whatever it cannot read is an unknown outcome."""

import asyncio

import pytest

from campaigns.payment.provider import (
    PaymentProvider,
    PaymentStatus,
    ProviderRefused,
    ProviderUnreachable,
)
from campaigns.payment.sandbox_client import SandboxClient
from engine.settings import Settings
from tests.sandbox import SECRET, receiving

PAYMENT = b'{"transaction_id":"txn_1","amount_fen":990,"currency":"CNY","paid_at_ms":1}'
PAID = b'{"state":"paid","payment":' + PAYMENT + b"}"


async def test_it_is_a_payment_provider_made_from_the_settings() -> None:
    async with receiving() as peer:
        settings = Settings(provider_url=peer.url, sandbox_secret=SECRET, provider_timeout_ms=2_000)
        provider: PaymentProvider = SandboxClient.from_settings(settings)
        peer.answer = lambda _: (200, PAID)
        status = await provider.query("att_1")
        assert status.state == "paid"
        assert status.payment is not None
        assert isinstance(provider, SandboxClient)
        await provider.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"<html>"),
        (200, b"null"),
        (200, b'"\xff"'),
        (200, b'{"state":"paid"}'),
        (200, b'{"state":"gone"}'),
        (200, b'{"state":"closed","payment":' + PAYMENT + b"}"),
        (200, b'{"state":"closed","more":1}'),
        (200, PAID.replace(b"990", b"990.0")),
        (200, PAID.replace(b"990", b"990.5")),
        (200, PAID.replace(b"990", b'"990"')),
        (200, PAID.replace(b"990", b"true")),
        (200, PAID.replace(b"990", b"0")),
        (200, PAID.replace(b"990", str(2**63).encode())),
        (200, b" " * 2_000_000 + PAID),
        (204, b""),
        (302, b'{"code":"MOVED","message":"elsewhere"}'),
        (400, b"<html>a proxy speaks</html>"),
        (429, b'{"code":"RATE_LIMITED","message":"slowly"}'),
        (500, b'{"code":"X","message":"x"}'),
        (503, PAID),
    ],
)
async def test_an_unreadable_answer_is_an_unknown_outcome(answer: tuple[int, bytes]) -> None:
    async with receiving() as peer, SandboxClient(peer.url, SECRET, timeout_ms=5_000) as client:
        peer.answer = lambda _: answer
        with pytest.raises(ProviderUnreachable):
            await client.query("att_1")
        assert len(peer.got) == 1  # never retried by itself


async def test_a_refusal_in_the_providers_words() -> None:
    async with receiving() as peer, SandboxClient(peer.url, SECRET, timeout_ms=5_000) as client:
        peer.answer = lambda _: (409, b'{"code":"NOT_ENOUGH","message":"Only 3 fen are left."}')
        with pytest.raises(ProviderRefused) as refused:
            await client.refund("ref_1", "txn_1", 5, 990, "late")
        assert (refused.value.code, refused.value.message) == ("NOT_ENOUGH", "Only 3 fen are left.")


async def test_nobody_there() -> None:
    async with receiving() as peer:
        url = peer.url
    async with SandboxClient(url, SECRET, timeout_ms=2_000) as client:
        with pytest.raises(ProviderUnreachable):
            await client.query("att_1")


async def test_an_answer_in_drops_ends_at_the_timeout() -> None:
    """Each single read is in time; the whole is not."""

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
            for _n in range(1_000):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass  # the client has gone, as it should
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with SandboxClient(url, SECRET, timeout_ms=300) as client:
        with pytest.raises(ProviderUnreachable) as caught:
            await client.query("att_1")
        assert caught.value.reason == "timeout"
    server.close()
    await server.wait_closed()


async def test_the_callback_answer_is_the_success_body() -> None:
    assert SandboxClient.callback_success == b'{"code":"SUCCESS"}'
    assert PaymentStatus(state="pending").payment is None
    with pytest.raises(ValueError, match="payment"):
        PaymentStatus(state="paid")
