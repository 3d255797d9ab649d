"""The laws of these tests can fail: each planted difference is caught by `check`."""

import pytest

from engine import keys
from tests.workers.acts import begin_paying, held, pay
from tests.workers.laws import check
from tests.workers.stage import Stage


async def test_planted_differences_are_caught(stage: Stage) -> None:
    offer = await stage.offer(9)
    waiting = await held(stage, offer, "b1")
    await begin_paying(stage, offer, await held(stage, offer, "b2"))
    await pay(stage, offer, await held(stage, offer, "b3"))
    await stage.settle()
    await check(stage)
    shard = offer.shard
    hash_of, limits = keys.offers(shard) + offer.id, keys.limits(shard) + offer.id
    claim, end = keys.claims(shard) + waiting, str(offer.config["ends_at_ms"])
    answer = keys.idem(shard, "b1", offer.id, "k-1-b1")
    for plant, undo in (
        (("HINCRBY", hash_of, "available", 1), ("HINCRBY", hash_of, "available", -1)),
        (("HINCRBY", limits, "b3", -1), ("HINCRBY", limits, "b3", 1)),
        (("HSET", hash_of, "ends_at_ms", "1"), ("HSET", hash_of, "ends_at_ms", end)),
        (("HSET", claim, "units", "2"), ("HSET", claim, "units", "1")),
        (("PEXPIRE", claim, 99_999), ("PERSIST", claim)),
        (("PERSIST", answer), ("PEXPIREAT", answer, str(offer.config["keep_until_ms"]))),
        (("HINCRBY", keys.meta(shard), "seq", 1), ("HINCRBY", keys.meta(shard), "seq", -1)),
    ):
        await stage.wire.call(*plant)
        with pytest.raises(AssertionError):
            await check(stage)
        await stage.wire.call(*undo)
        await check(stage)
    for wrong, right in (
        ("UPDATE offers SET sold = sold - 1", "UPDATE offers SET sold = sold + 1"),
        (
            "UPDATE orders SET claim_state = 'held' WHERE claim_state = 'paying'",
            "UPDATE orders SET claim_state = 'paying' WHERE attempt_id <> ''"
            " AND claim_state = 'held'",
        ),
        ("UPDATE orders SET paid_fen = 0", "UPDATE orders SET paid_fen = 990 WHERE state = 'paid'"),
    ):
        await stage.run(wrong)
        with pytest.raises(AssertionError):
            await check(stage)
        await stage.run(right)
        await check(stage)
    await stage.wire.call("ZREM", keys.deadlines(shard), waiting)
    with pytest.raises(AssertionError):
        await check(stage)
