"""`kaituan audit`: a line per law or JSON, and an exit code that a script can trust."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from cli.audit import audit_at_rest
from engine.audit.history import HistoryWriter
from engine.audit.run import LAWS
from engine.db import Database
from engine.settings import Settings, inherited_environ, to_environ
from tests.conftest import DbUrls
from tests.workers.stage import Stage, open_stage


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url) as opened:
        offer = await opened.offer(3)
        await opened.claim(offer, "b1")
        await opened.settle()
        yield opened


def audit(settings: Settings, *options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from cli.audit import audit_command; audit_command()", *options],
        cwd=folder,
        env={**inherited_environ(), **to_environ(settings), "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def settings(stage: Stage, db_urls: DbUrls, valkey_url: str) -> Settings:
    return msgspec.structs.replace(stage.settings, redis_url=valkey_url, database_url=db_urls.app)


async def test_green_and_red(stage: Stage, settings: Settings, tmp_path: Path) -> None:
    with HistoryWriter(tmp_path / "history", "c") as writer:
        writer.invoke("claim", buyer="b9", offer="o", key="k", qty=1, price_id="p1")
    green = audit(settings, "--json", "--history", "history", folder=tmp_path)
    assert green.returncode == 0, green.stderr
    report = json.loads(green.stdout)
    assert report["ok"] is True
    assert list(report["laws"]) == [name for name, _ in LAWS]
    assert report["laws"]["I1"]["checked"] == 1

    await stage.wire.call("HINCRBY", "{s0}:offer:nobody", "available", 1)
    red = audit(settings, "--wait", "1", folder=tmp_path)
    assert red.returncode == 1
    assert "I1  BROKEN" in red.stdout
    assert "not checked: no client history was given" in red.stdout
    assert red.stdout.splitlines()[-1].startswith("Broken: I1")


async def test_a_store_that_is_away_is_not_a_broken_law(settings: Settings, tmp_path: Path) -> None:
    nowhere = msgspec.structs.replace(settings, database_url="postgresql://x:y@127.0.0.1:1/z")
    away = audit(nowhere, folder=tmp_path)
    assert away.returncode == 3
    assert "so nothing is known" in away.stderr
    assert "Traceback" not in away.stderr


async def test_a_bad_history_is_said_to_be_one(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text("no line of ours\n")
    bad = audit(settings, "--history", ".", folder=tmp_path)
    assert bad.returncode == 3
    assert "c.jsonl line 1" in bad.stderr


async def test_at_rest_what_is_still_under_way_is_named(stage: Stage, settings: Settings) -> None:
    await stage.planned_offer(3)  # its command is committed, and nobody runs it
    report = await audit_at_rest(settings, history=None, within_s=0.2)
    assert report.broken == ("S1",)
    assert "offer command is not applied" in report.law("S1").problems[0]
