"""PostgreSQL is the older side: the start refuses, says why, and leaves the hot store as it is."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from engine.settings import Settings
from tests.conftest import DbUrls
from tests.workers.acts import held
from tests.workers.settler_process import settler_process
from tests.workers.stage import Stage


async def dump(stage: Stage) -> dict[bytes, bytes]:
    """Every byte of the hot store."""
    names = sorted(await stage.wire.call("KEYS", "*"))
    values = await asyncio.gather(*(stage.wire.call("DUMP", name) for name in names))
    return dict(zip(names, values, strict=True))


def settings_of(stage: Stage, valkey_url: str, db_urls: DbUrls) -> Settings:
    return msgspec.structs.replace(stage.settings, redis_url=valkey_url, database_url=db_urls.app)


@pytest.mark.parametrize(
    ("older", "sentence"),
    [
        ("UPDATE shard_position SET epoch = 0", "PostgreSQL knows epoch 0 of shard 0, the hot"),
        ("DELETE FROM shard_position", "PostgreSQL has never heard of it"),
        ("DELETE FROM shard_position WHERE shard = 1", "has data of shard 1"),
    ],
    ids=["older epoch", "no rows", "no row of one shard"],
)
async def test_an_older_database_refuses_the_start(
    stage: Stage,
    valkey_url: str,
    db_urls: DbUrls,
    tmp_path: Path,
    older: str,
    sentence: str,
) -> None:
    offer = await stage.offer(5)
    await held(stage, offer, "b1")
    await stage.settle()
    before = await dump(stage)
    await stage.run(older)
    with settler_process(settings_of(stage, valkey_url, db_urls), tmp_path / "log") as settler:
        settler.start()
        assert await settler.exit_code() == 3
        (line,) = [line for line in settler.said.splitlines() if "database_older" not in line][-1:]
    assert sentence in line
    assert "the database is the older side. Nothing was changed." in line
    assert "Traceback" not in settler.said
    assert await dump(stage) == before
