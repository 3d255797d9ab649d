"""A planted gap: the shard is sealed and says so, others go on, and only a person goes past it."""

import asyncio

import pytest

from campaigns.offer.models import Offer
from cli.rebuild import rebuild
from engine import keys
from engine.errors import Conflict
from engine.ids import parse_claim_id
from engine.settings import Settings
from tests.conftest import DbUrls
from tests.waiting import eventually
from tests.workers.acts import begin_paying, held, pay
from tests.workers.laws import check, rows
from tests.workers.stage import Stage, settling
from workers.settle.batch import unpack
from workers.settle.loop import Settler


async def cut_amidst(stage: Stage, offer: Offer, settled: int) -> None:
    """The second event behind the position is gone."""
    stream = keys.events(offer.shard, stage.epochs.of(offer.shard))
    assert await stage.wire.call("XDEL", stream, f"{settled + 2}-0") == 1


async def cut_first(stage: Stage, offer: Offer, settled: int) -> None:
    stream = keys.events(offer.shard, stage.epochs.of(offer.shard))
    assert await stage.wire.call("XDEL", stream, f"{settled + 1}-0") == 1


async def cut_last(stage: Stage, offer: Offer, settled: int) -> None:
    stream = keys.events(offer.shard, stage.epochs.of(offer.shard))
    assert await stage.wire.call("XDEL", stream, f"{settled + 4}-0") == 1


async def raise_meta(stage: Stage, offer: Offer, settled: int) -> None:
    await stage.wire.call("HINCRBY", keys.meta(offer.shard), "seq", 5)


async def drop_stream(stage: Stage, offer: Offer, settled: int) -> None:
    await stage.wire.call("DEL", keys.events(offer.shard, stage.epochs.of(offer.shard)))


async def trim_too_far(stage: Stage, offer: Offer, settled: int) -> None:
    stream = keys.events(offer.shard, stage.epochs.of(offer.shard))
    await stage.wire.call("XTRIM", stream, "MINID", f"{settled + 3}-0")


# kind of gap → how many of the four unsettled events stay before it, and how many lie behind
GAPS = {
    cut_amidst: (1, 2),
    cut_first: (0, 3),
    cut_last: (3, 0),
    raise_meta: (4, 0),
    drop_stream: (0, 0),
    trim_too_far: (0, 2),
}


def settings_of(stage: Stage, valkey_url: str, db_urls: DbUrls) -> Settings:
    return Settings(shards=2, redis_url=valkey_url, database_url=db_urls.app)


async def state_of(stage: Stage, shard: int) -> str:
    return str(await stage.scalar("SELECT state FROM shard_position WHERE shard = :s", s=shard))


async def offer_elsewhere(stage: Stage, first: Offer) -> Offer:
    """An offer on the other shard."""
    while True:
        offer = await stage.offer(50)
        if offer.shard != first.shard:
            return offer


@pytest.mark.parametrize("plant", GAPS, ids=lambda plant: plant.__name__)
async def test_a_gap_seals_its_shard_until_a_person_goes_past_it(
    stage: Stage,
    valkey_url: str,
    db_urls: DbUrls,
    plant: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    offer = await stage.offer(20)
    other = await offer_elsewhere(stage, offer)
    kept = await held(stage, offer, "a")
    await stage.settle()
    settled = int(
        str(await stage.scalar("SELECT seq FROM shard_position WHERE shard = :s", s=offer.shard))
    )
    behind = [await held(stage, offer, f"b{n}") for n in range(4)]
    before, orphans = GAPS[plant]  # type: ignore[index]
    await plant(stage, offer, settled)  # type: ignore[operator]
    caplog.clear()
    await stage.settle()
    await stage.settle()

    assert await state_of(stage, offer.shard) == "sealed"
    assert f"kaituan rebuild {offer.shard} --past-gap" in caplog.text
    (incident,) = await rows(stage, "SELECT * FROM incidents")
    assert (incident["kind"], incident["shard"]) == ("gap", offer.shard)
    assert incident["detail"]["after_seq"] == settled + before
    assert (await stage.claim(offer, "c")).what == "reopening"
    await held(stage, other, "c")
    await stage.settle()
    assert await stage.scalar("SELECT count(*) FROM orders WHERE offer_id = :o", o=other.id) == 1
    # another settler, and this one after a restart, leave it sealed
    for _ in range(2):
        second = Settler(stage.db, stage.inventory, stage.settings, take_over_ms=0)
        await second.round()
        await second.round()
    assert await state_of(stage, offer.shard) == "sealed"

    async with settling(stage):  # the settler runs on meanwhile
        old, new = await rebuild(
            settings_of(stage, valkey_url, db_urls), offer.shard, past_gap=True, actor="cli:me"
        )
    assert (old.seq, new.epoch) == (settled + before, 2)
    await stage.settle()
    await check(stage)
    assert await state_of(stage, offer.shard) == "open"
    (incident,) = await rows(stage, "SELECT * FROM incidents")
    assert incident["resolved_at_ms"] is not None
    orphaned = await rows(stage, "SELECT payload FROM event_batches WHERE orphaned")
    assert sum(len(unpack(row["payload"])) for row in orphaned) == orphans
    (audit,) = await rows(stage, "SELECT actor, action, subject, detail FROM audit_log")
    assert audit == {
        "actor": "cli:me",
        "action": "shard.rebuild",
        "subject": f"shard:{offer.shard}",
        "detail": {"epoch": 2, "past_gap": True},
    }
    lost = [born.seq > old.seq for one in (kept, *behind) if (born := parse_claim_id(one))]
    known = {row["claim_id"] for row in await rows(stage, "SELECT claim_id FROM orders")}
    assert lost == [one not in known for one in (kept, *behind)]
    assert lost.count(True) == 4 - before
    fresh = await stage.claim(offer, "b3")
    assert (fresh.what, fresh.details[0] == behind[3]) == (
        ("stored", True) if before == 4 else ("held", False)
    )


async def test_effects_behind_a_gap_do_not_outlive_it(
    stage: Stage, valkey_url: str, db_urls: DbUrls
) -> None:
    """Payments and releases behind the gap: the rows say what is, the repeats do the rest."""
    offer = await stage.offer(20)
    one, two = await held(stage, offer, "a"), await held(stage, offer, "b")
    attempt_id = await begin_paying(stage, offer, one)
    await stage.settle()
    settled = int(
        str(await stage.scalar("SELECT seq FROM shard_position WHERE shard = :s", s=offer.shard))
    )
    await held(stage, offer, "c")
    await stage.inventory.release(offer.shard, two, attempt_id="", why="cancelled")
    await stage.inventory.release(offer.shard, one, attempt_id=attempt_id, why="closed")
    await cut_first(stage, offer, settled)
    await stage.settle()
    await rebuild(
        settings_of(stage, valkey_url, db_urls), offer.shard, past_gap=True, actor="cli:me"
    )
    await stage.settle()
    await check(stage)
    states = await rows(stage, "SELECT claim_state FROM orders ORDER BY claimed_at_ms")
    assert [row["claim_state"] for row in states] == ["paying", "held"]


async def test_rebuild_without_a_gap(stage: Stage, valkey_url: str, db_urls: DbUrls) -> None:
    """By hand, while the settler runs and claims come in: nothing is lost."""
    offer = await stage.offer(400)
    settings = settings_of(stage, valkey_url, db_urls)
    claims: dict[str, str] = {}
    stop = asyncio.Event()

    async def buy() -> None:
        number = 0
        while not stop.is_set():
            reply = await stage.claim(offer, f"b{number}")
            if reply.what in ("held", "stored"):
                claims[f"b{number}"] = reply.details[0]
                number += 1
            await asyncio.sleep(0.005)

    async with settling(stage):
        buying = asyncio.create_task(buy())
        for _ in range(3):
            await asyncio.sleep(0.1)
            await stage.wire.call("HSET", keys.offers(offer.shard) + offer.id, "rev", "77")
            await rebuild(settings, offer.shard, past_gap=False, actor="cli:me")
            assert (await stage.inventory.offer_state(offer.shard, offer.id))["rev"] == "0"
        stop.set()
        await buying
        await eventually(lambda: _all_ordered(stage, claims))
    await stage.settle()
    await check(stage)
    assert await stage.scalar("SELECT count(*) FROM audit_log") == 3
    assert await stage.scalar("SELECT count(*) FROM incidents") == 0


async def _all_ordered(stage: Stage, claims: dict[str, str]) -> bool:
    orders = await rows(stage, "SELECT buyer_id, claim_id FROM orders")
    return {row["buyer_id"]: row["claim_id"] for row in orders} == claims


async def test_rebuild_refuses_what_it_must_not_do(
    stage: Stage, valkey_url: str, db_urls: DbUrls
) -> None:
    settings = settings_of(stage, valkey_url, db_urls)
    offer = await stage.offer(5)
    with pytest.raises(Conflict, match="no gap to go past"):
        await rebuild(settings, offer.shard, past_gap=True, actor="cli:me")
    with pytest.raises(Conflict, match="never heard"):
        await rebuild(settings, 9, past_gap=False, actor="cli:me")
    await pay(stage, offer, await held(stage, offer, "a"))
    await raise_meta(stage, offer, 0)
    for _ in range(2):  # the gap is found by the command itself, and then known
        with pytest.raises(Conflict, match="sealed, because events are missing"):
            await rebuild(settings, offer.shard, past_gap=False, actor="cli:me")
    assert await state_of(stage, offer.shard) == "sealed"
    assert await stage.scalar("SELECT count(*) FROM incidents") == 1
    assert await stage.scalar("SELECT count(*) FROM audit_log") == 0
    ends = await asyncio.gather(
        *(rebuild(settings, offer.shard, past_gap=True, actor=f"cli:{n}") for n in range(2)),
        return_exceptions=True,
    )
    assert [type(end) for end in ends].count(Conflict) == 1, ends
    await stage.settle()
    await check(stage)
    assert await stage.scalar("SELECT count(*) FROM audit_log") == 1
