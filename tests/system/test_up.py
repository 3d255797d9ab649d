"""`kaituan up` as a user runs it: told to start twice, killed with -9, ended with Ctrl-C.

Its data lies in a folder of the test. After a `kill -9` of the supervisor the next start ends
what was left, and serves on with everything that was acknowledged.
"""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from campaigns.people.passwords import Passwords
from campaigns.sign_in.service import NewStaff, seed_staff
from cli.demo.headquarters import SPLIT_PLAN, Headquarters
from cli.place import remove_serving_place, temporary_root
from cli.sample import FILES
from cli.supervisor_state import RunState, read_state
from engine.audit.history import HistoryWriter
from engine.db import Database
from engine.ids import now_ms
from engine.settings import Settings, inherited_environ, load
from engine.tokens import TokenKeys
from loadtests.lean import LeanClient, Lost
from tests.system.house import kaituan
from tests.waiting import eventually

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOUR_MS = 3_600_000
WITHIN_S = 90


class Up:
    """One `kaituan up` and what it says."""

    def __init__(self, data_dir: Path, **environ: str) -> None:
        self.data_dir = data_dir
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up"],
            env=environ_of(data_dir) | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())

    async def serving(self) -> str:
        """Its address, once it says so."""

        def address() -> str:
            assert self.process.poll() is None, self.said
            found = [re.search(r"serves on (http://\S+)", line) for line in self.said]
            return next((one[1] for one in found if one), "")

        return await eventually(address, within_s=WITHIN_S)

    async def ended(self) -> int:
        """Its exit code."""
        await eventually(lambda: self.process.poll() is not None, within_s=WITHIN_S)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert self.process.returncode is not None
        return self.process.returncode

    def state(self) -> RunState:
        state = read_state(self.data_dir)
        assert state is not None
        return state


def environ_of(data_dir: Path) -> dict[str, str]:
    return {
        **inherited_environ(),
        "KAITUAN_DATA_DIR": str(data_dir),
        "KAITUAN_MODE": "development",
        "KAITUAN_API_PORT": "0",
    }


def processes_in(folder: Path) -> list[psutil.Process]:
    """Everything that works in the folder or was told its name."""
    found = []
    for process in psutil.process_iter():
        try:
            where = process.cwd()
            if process.status() != psutil.STATUS_ZOMBIE and Path(where).is_relative_to(folder):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A `.kaituan` of the test's own; nothing may be left of it, whatever happens."""
    parent = Path(tempfile.mkdtemp(prefix="up-test-", dir=temporary_root()))
    parent.chmod(0o755)
    data = parent / ".kaituan"
    try:
        yield data
    finally:
        for process in processes_in(data.resolve()):
            process.kill()
        remove_serving_place(data)
        shutil.rmtree(parent)


class Shop:
    """HQ and customers of one `kaituan up`."""

    def __init__(self, data_dir: Path, history: Path) -> None:
        self.data_dir = data_dir
        self.writer = HistoryWriter(history, "up")
        self.offer: dict[str, Any] = {}

    def settings(self) -> Settings:
        state = read_state(self.data_dir)
        assert state is not None
        return load(state.environ)

    async def open(self) -> None:
        """Import the chain, give HQ an account, publish an offer over HTTP."""
        code, said = await kaituan(environ_of(self.data_dir), "import", *map(str, FILES))
        assert code == 0, said
        settings, password = self.settings(), secrets.token_urlsafe(12)
        db, passwords = Database(settings.database_url, pool_max=1), Passwords()
        try:
            await seed_staff(db, passwords, [NewStaff("hq", "总部", "hq", password)])
        finally:
            passwords.close()
            await db.close()
        hq = Headquarters(settings.public_url)
        try:
            await hq.sign_in("hq", password)
            draft = {
                "name": "晚场",
                "starts_at_ms": now_ms() - 1_000,
                "ends_at_ms": now_ms() + HOUR_MS,
                "split_plan": SPLIT_PLAN,
                "offers": [{"sku_id": "SP1001", "total": 50, "prices": [{"price_fen": 3_990}]}],
            }
            campaign = await hq.ask("POST", "/v1/campaigns", draft)
            at = f"/v1/campaigns/{campaign['id']}"
            await hq.ask("POST", f"{at}/submit")
            await hq.ask("POST", f"{at}/review", {"decision": "approve", "note": "ok"})
            published = await hq.ask("POST", f"{at}/publish")
            self.offer = published["offers"][0]
        finally:
            await hq.close()

    async def claim(self, buyer: str) -> dict[str, Any]:
        """Hold a unit; asked again under the same key while the answer is lost or 503."""
        settings = self.settings()
        token = TokenKeys.from_setting(settings.token_secret).sign(
            buyer, "customer", expires_at_ms=now_ms() + HOUR_MS
        )
        price_id, offer_id, key = self.offer["price_ids"][0], self.offer["offer_id"], f"key-{buyer}"
        body = json.dumps({"qty": 1, "price_id": price_id}).encode()
        client = LeanClient(settings.public_url)
        told: dict[str, Any] = {}

        async def answered() -> bool:
            invoked = self.writer.invoke(
                "claim", buyer=buyer, offer=offer_id, key=key, qty=1, price_id=price_id
            )
            try:
                answer = await client.request(
                    *("POST", f"/v1/offers/{offer_id}/claims"),
                    body=body,
                    token=token,
                    headers={"idempotency-key": key},
                )
            except Lost:
                self.writer.unknown(invoked)
                return False
            told.update(json.loads(answer.body))
            if answer.status != 201:
                self.writer.fail(invoked, answer.status, told["code"])
                assert answer.status == 503, told
                return False
            replay = "idempotent-replay" in answer.headers
            self.writer.ok(invoked, replay=replay, **told)
            return True

        try:
            await eventually(answered, every_s=0.2)
        finally:
            await client.close()
        return told

    async def lawful(self, history: Path) -> None:
        """`kaituan audit`, as an operator runs it."""
        self.writer.flush()
        code, said = await kaituan(
            environ_of(self.data_dir), "audit", "--history", str(history), "--bill", "--wait", "30"
        )
        assert code == 0, said


async def test_a_second_start_a_kill_and_the_start_after_it(data_dir: Path, tmp_path: Path) -> None:
    first = Up(data_dir)
    address = await first.serving()
    history = tmp_path / "history"
    shop = Shop(data_dir, history)
    await shop.open()
    told = {f"mbr_{number}": await shop.claim(f"mbr_{number}") for number in range(5)}

    second = Up(data_dir)
    assert await second.ended() == 0
    assert any(address in line for line in second.said), second.said
    assert first.process.poll() is None

    left = [identity.pid for identity in first.state().children.values()]
    first.process.kill()
    assert await first.ended() == -signal.SIGKILL
    assert [pid for pid in left if psutil.pid_exists(pid)], "its children outlive it"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        third = Up(data_dir, KAITUAN_API_PORT=str(port))
        address = await third.serving()
    assert any("ended what it left" in line for line in third.said), third.said
    assert any(f"Port {port} is taken" in line for line in third.said), third.said
    assert not address.endswith(f":{port}")
    assert not [pid for pid in left if _is_alive(pid)]
    for buyer, before in told.items():
        assert await shop.claim(buyer) == before
    assert await shop.claim("mbr_new")
    await shop.lawful(history)
    shop.writer.close()

    children = third.state().children.values()
    os.killpg(third.process.pid, signal.SIGINT)  # as a terminal does it
    assert await third.ended() == 0, third.said
    assert not any("did not stop in time" in line for line in third.said), third.said
    assert not [one for one in children if _is_alive(one.pid)]
    assert_nothing_is_left(data_dir)


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_nothing_is_left(data_dir: Path) -> None:
    """No process, no socket, no lock, no run.json; the data stays."""
    folder = data_dir.resolve()
    assert processes_in(folder) == []
    assert not (folder / "supervisor.lock").exists()
    assert not (folder / "run.json").exists()
    assert [path for path in folder.rglob("*") if path.is_socket()] == []
    assert (folder / "postgres").is_dir()
    assert (folder / "valkey").is_dir()
