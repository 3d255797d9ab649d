"""Planted faults of the stream, the archive and what is applied: I10, and S1 for what is stuck."""

import msgspec
import pytest
from sqlalchemy import text

from engine.ids import now_ms
from tests.engine.audit.evening import Scene

_SECOND = "(SELECT first_seq FROM event_batches ORDER BY first_seq OFFSET 1 LIMIT 1)"


async def test_i10_a_batch_is_missing(scene: Scene) -> None:
    await scene.run_unguarded(
        "event_batches", f"DELETE FROM event_batches WHERE first_seq = {_SECOND}"
    )
    report = await scene.audit()
    assert set(report.broken) == {"I10"}
    assert "a batch begins at" in report.law("I10").problems[0]


async def test_i10_the_last_batch_is_missing(scene: Scene) -> None:
    await scene.run_unguarded(
        "event_batches",
        "DELETE FROM event_batches WHERE first_seq = (SELECT max(first_seq) FROM event_batches)",
    )
    assert await scene.broken() == {"I10"}


async def test_i10_a_batch_that_was_changed(scene: Scene) -> None:
    """Somebody rewrote who bought."""
    async with scene.db.begin() as session:
        found = await session.execute(
            text("SELECT first_seq, payload FROM event_batches ORDER BY first_seq")
        )
        rows = [(row.first_seq, msgspec.msgpack.decode(row.payload)) for row in found]
    first, entries = next(
        (first, entries) for first, entries in rows if entries[0][1]["kind"] == "claim.held"
    )
    entries[0][1]["buyer_id"] = "somebody"
    await scene.run_unguarded(
        "event_batches",
        "UPDATE event_batches SET payload = :p WHERE first_seq = :f",
        p=msgspec.msgpack.encode(entries),
        f=first,
    )
    report = await scene.audit()
    assert set(report.broken) == {"I10"}
    assert "events say 'somebody'" in report.law("I10").problems[0]


async def test_i10_an_event_behind_the_position_twice(scene: Scene) -> None:
    """Two batches tell the same event."""
    await scene.run(
        "INSERT INTO event_batches (shard, epoch, first_seq, last_seq, payload)"
        " SELECT shard, epoch, last_seq + 1000, last_seq + 1000, payload FROM event_batches"
        " ORDER BY first_seq LIMIT 1"
    )
    assert await scene.broken() == {"I10"}


async def test_i10_orphaned_batches_do_not_count(scene: Scene) -> None:
    await scene.run(
        "INSERT INTO event_batches (shard, epoch, first_seq, last_seq, payload, orphaned)"
        " SELECT shard, epoch, last_seq + 1000, last_seq + 1000, payload, true"
        " FROM event_batches ORDER BY first_seq LIMIT 1"
    )
    assert await scene.broken() == set()


@pytest.mark.parametrize(
    "table", ["offer_commands", "payment_attempts", "payment_facts", "refunds"]
)
async def test_i10_a_row_that_points_to_another_event(scene: Scene, table: str) -> None:
    await scene.run(
        f"UPDATE {table} SET applied_seq = applied_seq + 1 WHERE id ="
        f" (SELECT id FROM {table} WHERE applied_seq IS NOT NULL LIMIT 1)"
    )
    assert await scene.broken() == {"I10"}


async def test_i10_an_event_that_no_row_knows(scene: Scene) -> None:
    await scene.run(
        "UPDATE payment_attempts SET released_seq = NULL WHERE id ="
        " (SELECT id FROM payment_attempts WHERE released_seq IS NOT NULL LIMIT 1)"
    )
    report = await scene.audit()
    assert set(report.broken) == {"I10"}
    assert "does not know that its event was settled" in report.law("I10").problems[0]


async def test_i10_another_outcome_than_the_events(scene: Scene) -> None:
    await scene.run("UPDATE payment_facts SET outcome = 'refused' WHERE outcome = 'late'")
    assert await scene.broken() == {"I10"}


async def test_i10_an_order_that_its_events_do_not_tell(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET body_hash = 'other' WHERE claim_id = :c", c=scene.names["paid"]
    )
    assert await scene.broken() == {"I10"}


async def test_i10_an_order_in_a_state_that_its_claim_forbids(scene: Scene) -> None:
    await scene.run("UPDATE orders SET state = 'open' WHERE claim_id = :c", c=scene.names["lapsed"])
    assert await scene.broken() == {"I10"}


async def test_i10_an_order_is_gone(scene: Scene) -> None:
    await scene.run("DELETE FROM orders WHERE claim_id = :c", c=scene.names["lapsed"])
    report = await scene.audit()
    assert set(report.broken) == {"I6", "I10"}  # the client was told that it had it
    assert "was settled and has no order" in report.law("I10").problems[0]


async def test_i10_dead_letters_are_red_until_they_are_resolved(scene: Scene) -> None:
    await scene.run(
        "INSERT INTO dead_letters (shard, epoch, seq, claim_id, payload, error, state, note,"
        " created_at_ms) VALUES (0, 1, 99999, NULL, '', 'cannot be read', 'open', '', 1)"
    )
    assert await scene.broken() == {"I10"}
    await scene.run("UPDATE dead_letters SET state = 'discarded'")
    assert await scene.broken() == set()


async def test_i10_a_gap_is_red_until_it_is_resolved(scene: Scene) -> None:
    await scene.run(
        "INSERT INTO incidents (cause, kind, shard, detail, created_at_ms)"
        " VALUES ('gap:0:1:5', 'gap', 0, '{}', 1)"
    )
    assert await scene.broken() == {"I10"}
    await scene.run("UPDATE incidents SET resolved_at_ms = 2")
    assert await scene.broken() == set()


async def test_i10_a_sealed_shard(scene: Scene) -> None:
    await scene.run("UPDATE shard_position SET state = 'sealed'")
    assert "I10" in await scene.broken(at_rest=False)


async def test_i10_a_hole_in_what_is_not_settled(scene: Scene) -> None:
    """The hot store promises an event that its stream does not hold."""
    await scene.redis.hincrby(scene.key("meta"), "seq", 1)
    assert "I10" in await scene.broken(at_rest=False)


async def test_what_is_not_settled_yet_is_no_fault_of_a_running_sale(scene: Scene) -> None:
    """A claim is held now: both stores are compared with the tail applied."""
    key = scene.key("meta")
    epoch = int((await scene.redis.hget(key, "epoch")) or 0)
    seq = int(await scene.redis.hincrby(key, "seq", 1))
    claim, offer = f"clm-s0-e{epoch}-{seq}-0123456789abcdef", scene.names["offer"]
    fields = {
        "kind": "claim.held",
        "at_ms": now_ms(),
        "claim_id": claim,
        "offer_id": offer,
        "campaign_id": scene.names["campaign"],
        "version": 1,
        "buyer_id": "b99",
        "qty": 2,
        "price_id": "p1",
        "price_fen": 990,
        "expires_at_ms": 4_000_000_000_000,
        "key": "k",
        "body_hash": "h",
        "touch": "",
    }
    await scene.redis.xadd(scene.key("events:", str(epoch)), fields, id=f"{seq}-0")
    await scene.redis.hincrby(scene.key("offer:", offer), "available", -2)
    await scene.redis.hincrby(scene.key("offer:", offer), "held", 2)
    await scene.redis.hset(scene.key("holds:", offer), claim, "2")
    await scene.redis.zadd(scene.key("deadlines"), {claim: 4_000_000_000_000})
    hash_ = {"state": "held", "units": 2, "expires_at_ms": 4_000_000_000_000, "offer_id": offer}
    await scene.redis.hset(scene.key("claim:", claim), mapping=hash_)
    assert await scene.broken(at_rest=False) == set()
    report = await scene.audit()  # at rest, it says what is not
    assert "S1" in report.broken
    assert any("is settled to seq" in one for one in report.law("S1").problems)
    await scene.redis.hincrby(scene.key("offer:", offer), "held", 1)
    await scene.redis.hincrby(scene.key("offer:", offer), "available", -1)
    await scene.redis.hset(scene.key("holds:", offer), claim, "3")
    await scene.redis.hset(scene.key("claim:", claim), "units", "3")
    assert await scene.broken(at_rest=False) == {"I4"}


_STUCK = {
    "command": "INSERT INTO offer_commands (id, offer_id, shard, kind, units, reason, actor,"
    " created_at_ms) SELECT 'cmd_x', id, shard, 'close', 0, '', 'hq', 1 FROM offers LIMIT 1",
    "begun": "INSERT INTO payment_attempts (id, claim_id, order_id, shard, amount_fen, state,"
    " reason, pay_url, created_at_ms, send_until_ms, lease_until_ms, next_at_ms, tries, last_error)"
    " SELECT 'att_x', claim_id, id, shard, 1, 'begun', '', '', 1, 0, 0, 1, 0, '' FROM orders"
    " WHERE state = 'released' LIMIT 1",
    "voiding": "UPDATE payment_attempts SET reason = 'voiding', next_at_ms = 1,"
    " pay_expires_at_ms = 1 WHERE state = 'open'",
    "rejected": "UPDATE orders SET release_due = true, claimed_at_ms = claimed_at_ms WHERE"
    " claim_id = (SELECT claim_id FROM orders WHERE state = 'released' LIMIT 1)",
    "alarm": "INSERT INTO incidents (cause, kind, detail, created_at_ms)"
    " VALUES ('refund_not_done:x', 'refund_not_done', '{}', 1)",
}


@pytest.mark.parametrize("plant", _STUCK)
async def test_s1_work_that_nobody_does(scene: Scene, plant: str) -> None:
    await scene.run(_STUCK[plant])
    assert await scene.broken() == {"S1"}


async def test_s1_leaves_young_work_alone_beside_a_sale(scene: Scene) -> None:
    await scene.run(_STUCK["command"].replace("'hq', 1", f"'hq', {now_ms()}"))
    assert await scene.broken(at_rest=False) == set()
    assert await scene.broken(at_rest=False, stale_ms=0) == {"S1"}


async def test_s1_a_reopening_that_does_not_end(scene: Scene) -> None:
    await scene.run("UPDATE shard_position SET state = 'reopening'")
    assert "S1" in await scene.broken(at_rest=False)
