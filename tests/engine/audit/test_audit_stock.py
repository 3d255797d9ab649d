"""Planted faults of stock, limits, window and price: each is named by its own law."""

import pytest

from tests.engine.audit.evening import Scene


async def test_i1_a_unit_out_of_nothing(scene: Scene) -> None:
    await scene.redis.hincrby(scene.key("offer:", scene.names["offer"]), "available", 1)
    assert await scene.broken() == {"I1"}


async def test_i1_below_zero(scene: Scene) -> None:
    """The sum is right and one part is impossible."""
    key = scene.key("offer:", scene.names["sold_out"])
    await scene.redis.hincrby(key, "available", -1)
    await scene.redis.hincrby(key, "held", 1)
    assert "I1" in await scene.broken()


async def test_i1_a_counter_that_is_no_number(scene: Scene) -> None:
    await scene.redis.hset(scene.key("offer:", scene.names["offer"]), "sold", "many")
    report = await scene.audit()
    assert report.law("I1").ok is False
    assert "no numbers" in report.law("I1").problems[0]


async def test_i2_a_hold_of_nobody(scene: Scene) -> None:
    await scene.redis.hset(scene.key("holds:", scene.names["offer"]), "clm-ghost", "1")
    assert await scene.broken() == {"I2"}


async def test_i2_a_held_claim_without_its_deadline(scene: Scene) -> None:
    await scene.redis.zrem(scene.key("deadlines"), scene.names["held"])
    assert await scene.broken() == {"I2"}


async def test_i2_a_paying_claim_that_would_lapse(scene: Scene) -> None:
    await scene.redis.zadd(scene.key("deadlines"), {scene.names["paying"]: 4_000_000_000_000})
    assert await scene.broken() == {"I2"}


async def test_i2_a_deadline_of_nobody(scene: Scene) -> None:
    await scene.redis.zadd(scene.key("deadlines"), {"clm-ghost": 4_000_000_000_000})
    assert await scene.broken() == {"I2"}


async def test_i3_the_guarded_counters_drift(scene: Scene) -> None:
    await scene.run("UPDATE offers SET held = held + 1 WHERE id = :id", id=scene.names["offer"])
    assert await scene.broken() == {"I3"}


async def test_i3_the_guard_is_gone(scene: Scene) -> None:
    await scene.run("ALTER TABLE offers DROP CONSTRAINT offers_guard")
    assert await scene.broken() == {"I3"}


async def test_i3_more_orders_than_stock(scene: Scene) -> None:
    await scene.run("ALTER TABLE offers DROP CONSTRAINT offers_guard")
    await scene.run("UPDATE offers SET total = 1 WHERE id = :id", id=scene.names["offer"])
    report = await scene.audit()
    assert {"I3", "I4"} <= set(report.broken)
    assert any("units in live orders" in one for one in report.law("I3").problems)


async def test_i3_the_guard_fired_and_nobody_said_so(scene: Scene) -> None:
    """As if the order of the lapsed claim had been rejected, without its incident."""
    await scene.run(
        "UPDATE orders SET state = 'rejected', reason = 'guard' WHERE claim_id = :c",
        c=scene.names["lapsed"],
    )
    assert await scene.broken() == {"I3"}
    await scene.run(
        "INSERT INTO incidents (cause, kind, detail, created_at_ms)"
        " VALUES ('guard:' || :c, 'guard', '{}', 1)",
        c=scene.names["lapsed"],
    )
    assert "is not resolved" in (await scene.audit()).law("I3").problems[0]
    await scene.run("UPDATE incidents SET resolved_at_ms = 2")
    assert await scene.broken() == set()


async def test_i4_the_hot_store_sold_what_no_order_has(scene: Scene) -> None:
    """Held becomes paid in the hot store alone, all of its own sums in order."""
    offer, claim = scene.names["offer"], scene.names["held"]
    await scene.redis.hincrby(scene.key("offer:", offer), "held", -1)
    await scene.redis.hincrby(scene.key("offer:", offer), "sold", 1)
    await scene.redis.hdel(scene.key("holds:", offer), claim)
    await scene.redis.zrem(scene.key("deadlines"), claim)
    await scene.redis.hset(scene.key("claim:", claim), "state", "paid")
    assert await scene.broken() == {"I4"}
    assert await scene.broken(at_rest=False) == {"I4"}


async def test_i4_an_offer_is_gone_from_the_hot_store(scene: Scene) -> None:
    offer = await scene.value("SELECT offer_id FROM orders WHERE claim_id = :c",
                              c=scene.names["lapsed"])  # fmt: skip
    await scene.redis.delete(scene.key("offer:", offer))
    assert "I4" in await scene.broken()


async def test_i5_a_hold_that_never_lapses(scene: Scene) -> None:
    """Its deadline is over in both stores, and nobody has swept it."""
    claim = scene.names["held"]
    await scene.redis.hset(scene.key("claim:", claim), "expires_at_ms", "1000")
    await scene.redis.zadd(scene.key("deadlines"), {claim: 1000})
    await scene.run("UPDATE orders SET expires_at_ms = 1000 WHERE claim_id = :c", c=claim)
    await scene.run("UPDATE shard_epochs SET opened_at_ms = 1")
    broken = await scene.broken()
    assert "I5" in broken
    assert broken <= {"I5", "I6", "I10"}  # the client and the archive know another deadline


async def test_i5_an_overdue_payment_that_nobody_closes(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET pay_expires_at_ms = 1000 WHERE claim_id = :c", c=scene.names["paying"]
    )
    assert await scene.broken() == {"I5"}
    await scene.run("UPDATE payment_attempts SET tries = 1 WHERE state = 'open'")
    assert await scene.broken() == set()


async def test_i5_units_that_nobody_can_buy(scene: Scene) -> None:
    """Nothing is held or paid, all sums agree, and a unit is missing from the total."""
    offer = await scene.value("SELECT offer_id FROM orders WHERE claim_id = :c",
                              c=scene.names["lapsed"])  # fmt: skip
    key = scene.key("offer:", offer)
    await scene.redis.hset(key, mapping={"total": 0, "available": 0})
    report = await scene.audit()
    assert set(report.broken) == {"I4", "I5"}


async def test_i8_a_counter_above_the_limit(scene: Scene) -> None:
    await scene.redis.hset(scene.key("limits:", scene.names["offer"]), "b7", 3)
    assert await scene.broken(at_rest=False) == {"I8"}


async def test_i8_a_counter_that_forgot_a_unit(scene: Scene) -> None:
    """The next claim of this buyer would oversteps the limit: seen at rest already."""
    await scene.redis.hset(scene.key("limits:", scene.names["campaign"]), "m1", 0)
    assert await scene.broken() == {"I8"}


@pytest.mark.parametrize("limit", ["per_order_max", "per_buyer_max", "per_campaign_max"])
async def test_i8_orders_above_the_limit(scene: Scene, limit: str) -> None:
    await scene.run(
        "UPDATE offers SET config = jsonb_set(config, ARRAY[:limit], '0') WHERE id = :id",
        limit=limit,
        id=scene.names["offer"],
    )
    assert await scene.broken() == {"I8"}


async def test_i9_a_claim_before_the_window(scene: Scene) -> None:
    await scene.run(
        "UPDATE offers SET config = jsonb_set(config, '{starts_at_ms}', '3999999999999')"
        " WHERE id = :id",
        id=scene.names["offer"],
    )
    assert await scene.broken() == {"I9"}


async def test_i9_another_price_than_the_price_ids(scene: Scene) -> None:
    await scene.run(
        "UPDATE offers SET config = jsonb_set(config, '{prices,0,1}', '991') WHERE id = :id",
        id=scene.names["offer"],
    )
    report = await scene.audit()
    assert set(report.broken) == {"I9"}
    assert any("was told 990 fen" in one for one in report.law("I9").problems)
    assert await scene.broken(history=None) == {"I9"}


async def test_i9_a_price_that_was_not_in_force(scene: Scene) -> None:
    await scene.run(
        "UPDATE offers SET config = jsonb_set(config, '{prices}',"
        ' \'[["p1", 990, 0], ["p2", 990, 1000]]\') WHERE id = :id',
        id=scene.names["offer"],
    )
    assert await scene.broken() == {"I9"}
