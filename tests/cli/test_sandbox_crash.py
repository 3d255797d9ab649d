"""What the sandbox acknowledged survives its `kill -9`; one folder has one server."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from campaigns.payment.provider import ProviderUnreachable
from engine.ids import new_id, now_ms
from engine.settings import Settings, inherited_environ, to_environ
from tests.sandbox import SECRET, SandboxServer, pay, receiving, running_sandbox
from tests.waiting import eventually

NOWHERE = "http://127.0.0.1:9/callback"


async def _customer(sandbox: SandboxServer, acknowledged: dict[str, str]) -> None:
    """Pays attempt after attempt until the server is gone; keeps what it was told."""
    async with sandbox.client() as client:
        while True:
            attempt_id = new_id("att")
            try:
                prepay = await client.prepay(attempt_id, 990, "tea", now_ms() + 60_000, NOWHERE)
                answer = await pay(prepay.pay_url)
            except (ProviderUnreachable, httpx.HTTPError):
                return
            acknowledged[attempt_id] = answer.json()["transaction_id"]


async def test_killed_in_the_middle_it_keeps_every_acknowledged_payment(tmp_path: Path) -> None:
    with running_sandbox(tmp_path) as sandbox:
        acknowledged: dict[str, str] = {}
        for _ in range(2):
            count = len(acknowledged)
            customers = [asyncio.create_task(_customer(sandbox, acknowledged)) for _ in range(8)]
            await eventually(lambda count=count: len(acknowledged) > count + 25)  # type: ignore[misc]
            sandbox.kill()
            await asyncio.gather(*customers)
            sandbox.start()
        async with sandbox.client() as client:
            for attempt_id, transaction_id in acknowledged.items():
                status = await client.query(attempt_id)
                assert status.payment is not None
                assert status.payment.transaction_id == transaction_id
            await client.close_period("1")
            billed = {row.attempt_id: row.transaction_id for row in (await client.bill("1")).rows}
        assert acknowledged.items() <= billed.items()
        assert len(billed) <= len(acknowledged) + 2 * 8  # the ones cut off, one per customer


async def test_callbacks_and_switches_survive_a_crash(tmp_path: Path) -> None:
    async with receiving() as receiver:
        with running_sandbox(tmp_path) as sandbox:
            receiver.answer = lambda _: (503, b"")
            await sandbox.switch(lost={"attempts": ["att_lost"]})
            async with sandbox.client() as client:
                attempt_id = new_id("att")
                prepay = await client.prepay(
                    attempt_id, 990, "tea", now_ms() + 60_000, receiver.url
                )
                await pay(prepay.pay_url)
                await eventually(lambda: receiver.got)
                sandbox.kill()
                before = len(receiver.got)
                sandbox.start()
                await eventually(lambda: len(receiver.got) > before)
                notes = {client.verify_callback(*got) for got in receiver.got}
                assert [note.attempt_id for note in notes] == [attempt_id]
            assert (await sandbox.get("/switches"))["lost"]["attempts"] == ["att_lost"]


def _run(*arguments: str, fds: tuple[int, ...] = (), secret: str = SECRET) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli.sandbox", *arguments],
        env=inherited_environ() | to_environ(Settings(sandbox_secret=secret)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=fds,
    )


def test_a_second_server_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running_sandbox(tmp_path):
        second = _run("--data", str(tmp_path))
        _, said = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "Another sandbox provider already uses" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("secret", ["", "short"])
def test_a_missing_or_short_secret_is_refused(tmp_path: Path, secret: str) -> None:
    server = _run("--data", str(tmp_path), secret=secret)
    _, said = server.communicate(timeout=60)
    assert server.returncode == 1
    assert "KAITUAN_SANDBOX_SECRET" in said
    assert "Traceback" not in said


async def test_it_takes_a_listening_socket_and_ends_in_order(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        os.set_inheritable(sock.fileno(), True)
        server = _run("--data", str(tmp_path), "--fd", str(sock.fileno()), fds=(sock.fileno(),))
    assert server.stdout is not None
    assert server.stdout.readline() == f"sandbox ready http://127.0.0.1:{port}\n"
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
    server.terminate()
    out, said = server.communicate(timeout=60)
    assert (out, said) == ("", "")
    with running_sandbox(tmp_path):
        pass  # the folder is free again
