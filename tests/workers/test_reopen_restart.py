"""The hot store dies or comes back with another file: whole, with a cut tail, or an older one.

A server of this file's own is killed and restarted. Whatever it still knows, nothing settled is
forgotten, nothing is sold twice, and what is lost lies above the closed epoch's last seq.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from campaigns.offer.models import Offer
from cli.embedded.valkey import ValkeyServer, start_valkey
from cli.place import Place
from engine import keys
from engine.db import Database
from engine.ids import parse_claim_id
from engine.scripts import load_all
from tests.waiting import eventually
from tests.workers.acts import begin_paying, confirm, held, pay, sell_out
from tests.workers.laws import check, rows
from tests.workers.stage import Stage, open_stage


@pytest_asyncio.fixture
async def valkey(own_place: Place) -> AsyncIterator[ValkeyServer]:
    """A server that a test may kill."""
    server = await asyncio.to_thread(start_valkey, own_place)
    yield server
    await asyncio.to_thread(server.stop)


@pytest_asyncio.fixture
async def stage(db: Database, valkey: ValkeyServer) -> AsyncIterator[Stage]:
    """On that server."""
    async with open_stage(db, valkey.url) as opened:
        yield opened


def tail(valkey: ValkeyServer) -> Path:
    """The append-only file that grows."""
    (path,) = (valkey.data / "appendonlydir").glob("*.incr.aof")
    return path


async def restart(stage: Stage, valkey: ValkeyServer) -> None:
    """Start the killed server and wait for the wire; the settler has not looked yet."""
    before = stage.wire.run_id
    await asyncio.to_thread(valkey.restart)
    await eventually(lambda: stage.wire.connected and stage.wire.run_id != before)


async def epoch_of(stage: Stage, offer: Offer) -> int:
    """As PostgreSQL says."""
    query = "SELECT epoch FROM shard_position WHERE shard = :s"
    return int(str(await stage.scalar(query, s=offer.shard)))


async def mark(stage: Stage, offer: Offer) -> None:
    """A trace in the offer's hash that a rebuild would not write."""
    await stage.wire.call("HSET", keys.offers(offer.shard) + offer.id, "rev", "77")


async def was_rebuilt(stage: Stage, offer: Offer) -> bool:
    """Whether the trace is gone."""
    return (await stage.inventory.offer_state(offer.shard, offer.id))["rev"] != "77"


async def is_lost(stage: Stage, claim_id: str) -> bool:
    """By the rule that answers 410: the closed epoch ends below the claim's seq."""
    born = parse_claim_id(claim_id)
    assert born is not None
    query = "SELECT last_seq FROM shard_epochs WHERE shard = :s AND epoch = :e"
    last = await stage.scalar(query, s=born.shard, e=born.epoch)
    assert isinstance(last, int)
    order = await rows(stage, "SELECT id FROM orders WHERE claim_id = :c", c=claim_id)
    known = await stage.inventory.claim_state(born.shard, claim_id)
    assert bool(order) == bool(known) == (born.seq <= last)
    return born.seq > last


async def sell_the_rest(stage: Stage, offer: Offer) -> None:
    """Everything is sold out: exactly the total, in both stores."""
    await sell_out(stage, offer, "rest")
    await stage.settle()
    await check(stage)
    (row,) = await rows(
        stage, "SELECT total, held + sold AS taken FROM offers WHERE id = :o", o=offer.id
    )
    assert row["taken"] == row["total"]


async def test_a_restart_with_the_file_intact_keeps_everything(
    stage: Stage, valkey: ValkeyServer
) -> None:
    offer = await stage.offer(20)
    waiting = await held(stage, offer, "b1", qty=2)
    paying = await held(stage, offer, "b2")
    attempt_id = await begin_paying(stage, offer, paying)
    await pay(stage, offer, await held(stage, offer, "b3"))
    await stage.settle()
    await mark(stage, offer)
    unsettled = await held(stage, offer, "b4")
    old_run_id = stage.wire.run_id
    deadlines = await stage.wire.call("ZRANGE", keys.deadlines(offer.shard), 0, -1, "WITHSCORES")
    assert len(deadlines) == 4  # two claims with their scores

    await asyncio.to_thread(valkey.kill)
    await restart(stage, valkey)
    assert (await stage.claim(offer, "b5")).what == "reopening"  # meta names another life
    await stage.settle()
    assert await epoch_of(stage, offer) == 2
    assert not await was_rebuilt(stage, offer)
    await check(stage)
    assert deadlines == await stage.wire.call(
        "ZRANGE", keys.deadlines(offer.shard), 0, -1, "WITHSCORES"
    )
    late = load_all()["settled"].command(
        meta=keys.meta(offer.shard),
        events=keys.events(offer.shard, 2),
        epoch="2",
        run_id=old_run_id,
        seq=1,
    )
    assert await stage.wire.call(*late) == [b"reopening"]

    again = await stage.claim(offer, "b1", qty=2)
    assert (again.what, again.details[0]) == ("stored", waiting)
    assert (await stage.claim(offer, "b4")).details[0] == unsettled
    assert (await confirm(stage, offer, paying, attempt_id))[1].what == "paid"
    await pay(stage, offer, waiting, qty=2)  # a claim of epoch 1, paid in epoch 2
    await stage.settle()
    await check(stage)
    assert not await is_lost(stage, unsettled)
    await sell_the_rest(stage, offer)


async def test_holds_of_an_older_epoch_lapse_at_their_deadline(
    stage: Stage, valkey: ValkeyServer
) -> None:
    offer = await stage.offer(1, hold_ms=1)
    await held(stage, offer, "b1")
    await stage.settle()
    await asyncio.to_thread(valkey.kill)
    await restart(stage, valkey)
    await stage.settle()
    swept = await stage.inventory.sweep(offer.shard, 10)
    assert swept.details == ("1", "1")
    await stage.settle()
    await check(stage)
    await held(stage, offer, "b2")


async def test_a_cut_tail_above_the_position_loses_only_unsettled_claims(
    stage: Stage, valkey: ValkeyServer
) -> None:
    offer = await stage.offer(12)
    settled = [await held(stage, offer, f"a{n}") for n in range(3)]
    await stage.settle()
    await mark(stage, offer)
    kept = await held(stage, offer, "b")
    bytes_kept = tail(valkey).stat().st_size
    lost = [await held(stage, offer, f"c{n}") for n in range(4)]
    await asyncio.to_thread(valkey.kill)
    os.truncate(tail(valkey), bytes_kept + 40)  # in the midst of a transaction
    await restart(stage, valkey)
    await stage.settle()
    await check(stage)
    assert not await was_rebuilt(stage, offer)
    assert [await is_lost(stage, claim) for claim in (*settled, kept)] == [False] * 4
    assert [await is_lost(stage, claim) for claim in lost] == [True] * 4
    fresh = await stage.claim(offer, "c0")  # same buyer, same key: a claim of its own
    assert (fresh.what, fresh.details[0] in lost) == ("held", False)
    await sell_the_rest(stage, offer)


async def test_a_tail_cut_below_the_position_is_rebuilt(stage: Stage, valkey: ValkeyServer) -> None:
    offer = await stage.offer(12)
    first = await held(stage, offer, "a")
    await stage.settle()
    bytes_kept = tail(valkey).stat().st_size
    settled = [await held(stage, offer, f"b{n}") for n in range(4)]
    await pay(stage, offer, settled[0])
    await stage.settle()
    await mark(stage, offer)
    lost = await held(stage, offer, "c")
    await asyncio.to_thread(valkey.kill)
    os.truncate(tail(valkey), bytes_kept)
    await restart(stage, valkey)
    await stage.settle()
    await check(stage)
    assert await was_rebuilt(stage, offer)
    assert [await is_lost(stage, claim) for claim in (first, *settled)] == [False] * 5
    assert await is_lost(stage, lost)
    assert (await stage.claim(offer, "b1")).details[0] == settled[1]
    await sell_the_rest(stage, offer)


async def test_a_tail_cut_at_any_byte_never_oversells(stage: Stage, valkey: ValkeyServer) -> None:
    offer = await stage.offer(60)
    for cut in (1, 300, 900, 2_500, 9_000):
        claims = [await held(stage, offer, f"a{cut}-{n}") for n in range(2)]
        await pay(stage, offer, claims[0])
        await stage.settle()
        claims += [await held(stage, offer, f"b{cut}-{n}") for n in range(2)]
        await asyncio.to_thread(valkey.kill)
        os.truncate(tail(valkey), tail(valkey).stat().st_size - cut)
        await restart(stage, valkey)
        await stage.settle()
        await check(stage)
        assert [await is_lost(stage, claim) for claim in claims[:2]] == [False] * 2
        for claim in claims[2:]:
            await is_lost(stage, claim)  # or not: but both stores agree on it
    await sell_the_rest(stage, offer)


async def restore_older(stage: Stage, valkey: ValkeyServer, copy: Path) -> None:
    """Kill the server and bring it back with `copy` as its data."""
    await asyncio.to_thread(valkey.kill)
    shutil.rmtree(valkey.data / "appendonlydir")
    shutil.copytree(copy, valkey.data / "appendonlydir")
    await restart(stage, valkey)


async def test_an_older_file_of_this_epoch_is_rebuilt(
    stage: Stage, valkey: ValkeyServer, tmp_path: Path
) -> None:
    offer = await stage.offer(9)
    await held(stage, offer, "a")
    await stage.settle()
    shutil.copytree(valkey.data / "appendonlydir", tmp_path / "copy")
    claims = [await held(stage, offer, f"b{n}") for n in range(4)]
    await stage.settle()
    await restore_older(stage, valkey, tmp_path / "copy")
    await stage.settle()
    await check(stage)
    assert [await is_lost(stage, claim) for claim in claims] == [False] * 4
    await sell_the_rest(stage, offer)


async def test_an_older_file_of_an_ended_epoch_is_rebuilt(
    stage: Stage, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """Its own end is exactly where that epoch was closed, but another one followed."""
    offer = await stage.offer(9)
    await held(stage, offer, "a")
    await stage.settle()
    await asyncio.to_thread(valkey.kill)
    shutil.copytree(valkey.data / "appendonlydir", tmp_path / "copy")
    await restart(stage, valkey)
    await stage.settle()
    claims = [await held(stage, offer, f"b{n}") for n in range(4)]
    await stage.settle()
    assert await epoch_of(stage, offer) == 2
    await restore_older(stage, valkey, tmp_path / "copy")
    await stage.settle()
    await check(stage)
    assert await epoch_of(stage, offer) == 3
    known = await rows(stage, "SELECT claim_id FROM orders WHERE buyer_id LIKE 'b%'")
    assert {row["claim_id"] for row in known} == set(claims)
    await sell_the_rest(stage, offer)
