"""`kaituan tokens`: genuine tokens of members, and only in development mode."""

import asyncio
from typing import Literal

import msgspec
import pytest
from click.testing import CliRunner

from campaigns.people.models import Member
from cli.tokens import sample_tokens, tokens
from engine.db import Database
from engine.errors import RefusedStart
from engine.ids import now_ms
from engine.settings import Settings, to_environ
from engine.tokens import TokenKeys
from tests.conftest import DbUrls

_SECRET = "a secret for tests only"


Mode = Literal["production", "development"]


async def _settings(db: Database, urls: DbUrls, mode: Mode = "development") -> Settings:
    async with db.begin() as session:
        session.add_all(
            Member(
                id=f"m{number}",
                nickname="某",
                phone_hash=f"h{number}",
                phone_cipher=b"c",
                phone_shown="138",
            )
            for number in range(3)
        )
    return Settings(mode=mode, database_url=urls.app, token_secret=_SECRET)


async def test_tokens_are_genuine(db: Database, db_urls: DbUrls) -> None:
    settings = await _settings(db, db_urls)
    made = await sample_tokens(settings, 2)
    keys = TokenKeys.from_setting(_SECRET)
    assert [one.buyer for one in made] == ["m0", "m1"]
    for one in made:
        access = keys.verify(one.token, now_ms())
        assert (access.subject, access.role, access.new) == (one.buyer, "customer", True)
        assert access.expires_at_ms == one.expires_at_ms


async def test_not_in_production_and_not_more_than_there_are(db: Database, db_urls: DbUrls) -> None:
    settings = await _settings(db, db_urls, mode="production")
    with pytest.raises(RefusedStart, match="development"):
        await sample_tokens(settings, 1)
    with pytest.raises(RefusedStart, match="only 3 customers"):
        await sample_tokens(msgspec.structs.replace(settings, mode="development"), 4)


async def test_command_writes_one_a_line(db: Database, db_urls: DbUrls) -> None:
    settings = await _settings(db, db_urls)
    environ = to_environ(settings)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(tokens, arguments, env=environ)
        assert result.exit_code == 0, result.output
        return result.output

    lines = (await asyncio.to_thread(run, "-n", "3")).splitlines()
    assert [msgspec.json.decode(line)["buyer"] for line in lines] == ["m0", "m1", "m2"]
    plain = (await asyncio.to_thread(run, "-n", "3", "--plain")).splitlines()
    assert all(line.count(".") == 1 and "{" not in line for line in plain)
    assert len(plain) == 3
