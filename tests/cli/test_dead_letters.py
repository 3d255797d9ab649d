"""The commands for people: rebuild a shard, look at dead letters, retry or discard them."""

import asyncio
from collections.abc import AsyncIterator

import click
import msgspec
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from campaigns.offer.models import Offer
from cli.dead_letters import dead_letters_group
from cli.rebuild import rebuild_command
from engine.db import Database
from engine.settings import Settings, to_environ
from tests.conftest import DbUrls
from tests.workers.acts import add_attempt, held
from tests.workers.laws import rows
from tests.workers.stage import Stage, open_stage

NOBODY = "pay_nobody_wrote"


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url) as opened:
        yield opened


@pytest.fixture
def environ(db_urls: DbUrls, valkey_url: str) -> dict[str, str]:
    return to_environ(Settings(shards=2, redis_url=valkey_url, database_url=db_urls.app))


async def run(command: click.Command, environ: dict[str, str], *arguments: str) -> Result:
    """The command in a thread, since it brings its own event loop."""
    return await asyncio.to_thread(CliRunner().invoke, command, arguments, env=environ)


async def poison(stage: Stage, offer: Offer, buyer: str) -> str:
    """A claim with an open letter: its paying has no attempt row."""
    claim_id = await held(stage, offer, buyer)
    await stage.settle()
    assert (await stage.inventory.pay_begin(offer.shard, claim_id, NOBODY)).what == "paying"
    await stage.settle()
    return claim_id


async def test_letters_are_listed_retried_and_discarded(
    stage: Stage, environ: dict[str, str]
) -> None:
    offer = await stage.offer(5)
    listed = await run(dead_letters_group, environ, "list")
    assert (listed.exit_code, listed.output) == (0, "There are no open dead letters.\n")
    claim_id, other = await poison(stage, offer, "a"), await poison(stage, offer, "b")
    listed = await run(dead_letters_group, environ, "list")
    assert claim_id in listed.output
    assert f"no payment attempt {NOBODY}" in listed.output
    as_json = await run(dead_letters_group, environ, "list", "--json")
    first, second = [msgspec.json.decode(line) for line in as_json.output.splitlines()]
    assert first["event"]["attempt_id"] == NOBODY
    assert [first["claim_id"], second["claim_id"]] == [claim_id, other]

    refused = await run(dead_letters_group, environ, "retry", str(first["id"]))
    assert refused.exit_code == 1
    assert f"Error: It still cannot be settled no payment attempt {NOBODY}" in refused.output
    attempt_id = await add_attempt(stage, offer, claim_id)
    await stage.run(
        "UPDATE payment_attempts SET id = :new WHERE id = :old", new=NOBODY, old=attempt_id
    )
    retried = await run(dead_letters_group, environ, "retry", str(first["id"]))
    assert (retried.exit_code, retried.output) == (0, "Settled: 1 letter.\n")
    state = "SELECT claim_state FROM orders WHERE claim_id = :c"
    assert await stage.scalar(state, c=claim_id) == "paying"

    for wrong in (["discard", str(second["id"])], ["discard", str(second["id"]), "--note", " "]):
        assert (await run(dead_letters_group, environ, *wrong)).exit_code == 2
    note = ["--note", "seen by hand"]
    discarded = await run(dead_letters_group, environ, "discard", str(second["id"]), *note)
    assert discarded.exit_code == 0
    assert f"Run `kaituan rebuild {offer.shard}`" in discarded.output
    again = await run(dead_letters_group, environ, "discard", str(second["id"]), *note)
    assert (again.exit_code, "There is no open dead letter" in again.output) == (1, True)

    log = await rows(stage, "SELECT action, subject, detail FROM audit_log ORDER BY id")
    assert log == [
        {
            "action": "dead_letter.retry",
            "subject": claim_id,
            "detail": {"letters": [first["id"]]},
        },
        {
            "action": "dead_letter.discard",
            "subject": other,
            "detail": {"letters": [second["id"]], "note": "seen by hand"},
        },
    ]
    # the hint is right: after it hot store and rows agree that the claim is held
    rebuilt = await run(rebuild_command, environ, str(offer.shard))
    assert rebuilt.exit_code == 0, rebuilt.output
    assert f"Shard {offer.shard} is open in epoch 2, rebuilt from PostgreSQL." in rebuilt.output
    assert (await stage.inventory.claim_state(offer.shard, other))["state"] == "held"


async def test_a_letter_is_not_retried_while_its_shard_is_reopened(
    stage: Stage, environ: dict[str, str]
) -> None:
    offer = await stage.offer(5)
    await poison(stage, offer, "a")
    letter_id = str(await stage.scalar("SELECT id FROM dead_letters"))
    await stage.run("UPDATE shard_position SET state = 'reopening' WHERE shard = :s", s=offer.shard)
    refused = await run(dead_letters_group, environ, "retry", letter_id)
    assert refused.exit_code == 1
    assert "is reopening Try again once it is open." in refused.output


async def test_rebuild_says_what_is_wrong(stage: Stage, environ: dict[str, str]) -> None:
    refused = await run(rebuild_command, environ, "0", "--past-gap")
    assert refused.exit_code == 1
    assert "Shard 0 is open: there is no gap to go past." in refused.output
