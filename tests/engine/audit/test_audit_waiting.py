"""Planted faults of waiting lists: I2, I4 and S1."""

from tests.engine.audit.evening import Scene


async def test_i2_a_count_of_those_who_wait_that_is_not_the_lists(scene: Scene) -> None:
    await scene.redis.hincrby(scene.key("offer:", scene.names["sold_out"]), "waiting", -1)
    assert await scene.broken() == {"I2", "I4"}


async def test_i2_an_entry_without_a_place(scene: Scene) -> None:
    await scene.redis.zrem(scene.key("wait:", scene.names["sold_out"]), "b12")
    assert await scene.broken() == {"I2"}


async def test_i4_a_list_that_forgot_somebody(scene: Scene) -> None:
    offer = scene.names["sold_out"]
    await scene.redis.zrem(scene.key("wait:", offer), "b12")
    await scene.redis.hdel(scene.key("wait:", f"{offer}:entries"), "b12")
    await scene.redis.hincrby(scene.key("offer:", offer), "waiting", -1)
    assert await scene.broken() == {"I4"}


async def test_s1_somebody_waits_for_what_is_over(scene: Scene) -> None:
    await scene.run(
        "INSERT INTO offer_commands (id, offer_id, shard, kind, units, reason, actor,"
        " created_at_ms, applied_epoch, applied_seq) SELECT 'cmd_x', id, shard, 'close', 0, '',"
        " 'hq', 1, 1, 1 FROM offers WHERE id = :id",
        id=scene.names["sold_out"],
    )
    report = await scene.audit()
    told = f"waits {scene.names['sold_out']}: somebody waits for an offer that is over (2 such)"
    assert set(report.law("S1").problems) == {told}
