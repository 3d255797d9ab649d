"""Planted faults of seats and teams in rows, hot store and ledger: each is named by its own law."""

from typing import Any

import msgspec

from tests.engine.audit.evening import Scene


def team_key(scene: Scene, name: str) -> str:
    """The hash of a team of the evening."""
    return scene.key("team:", scene.names[name])


async def test_t1_a_seat_out_of_nothing(scene: Scene) -> None:
    await scene.redis.hincrby(team_key(scene, "team_forming"), "paid", 1)
    assert await scene.broken() == {"T1"}


async def test_t1_more_seats_than_there_are(scene: Scene) -> None:
    key = team_key(scene, "team_forming")
    await scene.redis.hset(key, "size", 2)
    report = await scene.audit()
    assert report.broken == ("T1",)
    assert "has held, paying, paid, subsidy" in report.law("T1").problems[0]


async def test_t1_a_counter_that_is_no_number(scene: Scene) -> None:
    await scene.redis.hset(team_key(scene, "team_forming"), "paid", "many")
    assert "no numbers" in (await scene.audit()).law("T1").problems[0]


async def test_t1_a_row_that_counts_wrong(scene: Scene) -> None:
    sql = "UPDATE teams SET paid = paid + 1 WHERE id = :id"
    await scene.run(sql, id=scene.names["team_forming"])
    assert await scene.broken() == {"T1"}


async def test_t1_a_team_that_the_hot_store_forgot(scene: Scene) -> None:
    await scene.redis.delete(team_key(scene, "team_forming"))
    report = await scene.audit()
    assert any("not in the hot store" in one for one in report.law("T1").problems)


async def test_t1_a_seat_of_another_claim(scene: Scene) -> None:
    key = team_key(scene, "team_forming") + ":seats"
    await scene.redis.hset(key, "t14", scene.names["seat_formed"])
    assert await scene.broken() == {"T1"}


async def test_t1_a_team_that_closed_before_its_deadline(scene: Scene) -> None:
    sql = "UPDATE teams SET deadline_ms = decided_at_ms + 60000 WHERE id = :id"
    await scene.run(sql, id=scene.names["team_failed"])
    report = await scene.audit()
    assert report.broken == ("T1",)
    assert "its deadline is" in report.law("T1").problems[0]


async def test_t2_two_seats_of_one_buyer(scene: Scene) -> None:
    """As if the held seat were the captain's own."""
    await scene.run(
        "UPDATE orders SET buyer_id = 't13' WHERE claim_id = :c", c=scene.names["seat_held"]
    )
    report = await scene.audit()
    assert "T2" in report.broken
    assert "buyer t13 has 2 seats" in report.law("T2").problems[0]


async def test_t2_a_buyer_who_counts_as_having_a_team_open(scene: Scene) -> None:
    key = scene.key("team:openers:", scene.names["team_offer"])
    await scene.redis.hset(key, "t2", scene.names["team_formed"])
    assert await scene.broken() == {"T2"}


async def test_t3_a_formed_team_with_a_seat_less(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET seat = 'left' WHERE claim_id = :c", c=scene.names["seat_formed"]
    )
    assert await scene.broken() == {"T3", "T7"}  # and its payer has no seat for the money


async def test_t3_a_member_who_sits_elsewhere(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET team_id = :t WHERE claim_id = :c",
        t=scene.names["team_formed"],
        c=scene.names["seat_held"],
    )
    assert "T3" in await scene.broken()


async def test_t3_a_captain_who_is_none(scene: Scene) -> None:
    sql = "UPDATE teams SET captain_id = 't15' WHERE id = :id"
    await scene.run(sql, id=scene.names["team_forming"])
    report = await scene.audit()
    assert report.broken == ("T3",)
    assert "is led by t15, events say t13" in report.law("T3").problems[0]


async def test_t3_a_subsidy_of_another_price(scene: Scene) -> None:
    await scene.run("UPDATE team_commands SET amount_fen = amount_fen + 1")
    assert await scene.broken() == {"M3", "T3"}


async def test_t3_a_subsidy_that_costs_what_no_seat_does(scene: Scene) -> None:
    """In the ledger with the same fen, so that only its price tells."""
    await scene.run("UPDATE team_commands SET seats = 2 WHERE id = :id", id=scene.names["subsidy"])
    problems = (await scene.audit()).law("T3").problems
    assert any("is for 990 fen, its seats cost [1980, 1980]" in one for one in problems), problems


async def test_t3_a_subsidy_that_nobody_ordered(scene: Scene) -> None:
    await scene.run("UPDATE team_commands SET applied_seq = NULL, applied_epoch = NULL")
    assert {"T3", "S1", "I10"} <= await scene.broken()


async def test_t4_formed_and_failed(scene: Scene) -> None:
    await scene.run(
        "UPDATE teams SET state = 'failed' WHERE id = :id", id=scene.names["team_formed"]
    )
    report = await scene.audit()
    assert "T4" in report.broken
    assert "its row is failed, events say formed" in report.law("T4").problems[0]


async def test_t5_a_member_who_got_less_back(scene: Scene) -> None:
    await scene.run("UPDATE refunds SET amount_fen = 1 WHERE cause = 'team_failed'")
    report = await scene.audit()
    assert "T5" in report.broken
    assert any("1 fen of 900" in one for one in report.law("T5").problems)


async def test_t5_a_difference_that_is_too_small(scene: Scene) -> None:
    """A crowd that formed at a lower price owes each member of the first step 90 fen."""
    await scene.run("UPDATE refunds SET amount_fen = 89 WHERE cause = 'crowd_difference'")
    report = await scene.audit()
    assert "gets 89 fen of difference, due are 90" in report.law("T5").problems[0]


async def test_t5_a_member_whose_units_stay_away(scene: Scene) -> None:
    await scene.run("UPDATE refunds SET units = 0 WHERE cause = 'team_failed'")
    assert "T5" in await scene.broken()


async def test_t5_a_decided_team_that_nobody_booked(scene: Scene) -> None:
    await scene.run(
        "UPDATE teams SET booked_at_ms = NULL WHERE id = :id", id=scene.names["team_failed"]
    )
    assert await scene.broken() == {"T5", "S1"}


async def test_t5_a_formed_team_whose_money_was_not_split(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET split_fen = NULL WHERE claim_id = :c", c=scene.names["seat_formed"]
    )
    assert "T5" in await scene.broken()


async def test_t6_a_seat_held_past_the_deadline(scene: Scene) -> None:
    await scene.redis.hset(team_key(scene, "team_forming"), "deadline_ms", 1)
    assert await scene.broken() == {"T6"}
    await scene.run("UPDATE teams SET deadline_ms = 1 WHERE decided_at_ms IS NULL")
    assert await scene.broken() == {"T6", "S1"}


async def test_t7_a_payment_without_a_seat(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET seat = 'left' WHERE claim_id = :c", c=scene.names["seat_late"]
    )
    report = await scene.audit()
    assert "T7" in report.broken
    assert "has no seat, 0 of 990 fen back" in report.law("T7").problems[0]


async def test_t7_a_reason_that_is_not_true(scene: Scene) -> None:
    """As if who was told `team_full` had asked for a team that never was."""

    def change(line: dict[str, Any]) -> dict[str, Any]:
        return line | {"team_id": scene.names["team_failed"]} if "team_id" in line else line

    scene.rewrite(change)
    report = await scene.audit()
    assert report.broken == ("T7",)
    assert "was told team_full" in report.law("T7").problems[0]


async def test_i8_who_is_not_new_in_a_team_for_new_customers(scene: Scene) -> None:
    await scene.run(
        "UPDATE offers SET config = jsonb_set(config, '{team,newcomers_only}', 'true')"
        " WHERE id = :id",
        id=scene.names["team_offer"],
    )
    report = await scene.audit()
    assert report.broken == ("I8",)
    assert "which is for new customers" in report.law("I8").problems[0]


async def test_i8_the_right_of_a_new_customer_used_twice(scene: Scene) -> None:
    await scene.run("UPDATE orders SET newcomer = true, buyer_id = 't1' WHERE seat = 'taken'")
    report = await scene.audit()
    assert any("claims of a new customer" in one for one in report.law("I8").problems)


async def test_i9_a_price_that_was_not_in_force(scene: Scene) -> None:
    """The captain's price for somebody who only joined."""
    await scene.run(
        "UPDATE offers SET config = jsonb_set(config, '{team,captain_price}', '[\"p8\", 900]')"
        " WHERE id = :id",
        id=scene.names["team_offer"],
    )
    assert await scene.broken() == {"I9"}


async def test_a_team_with_dead_letters_is_named_by_i10_alone(scene: Scene) -> None:
    """Its captain's seat was never counted in the rows: a letter says why."""
    team_id = scene.names["team_forming"]
    payloads = await scene.value("SELECT array_agg(payload ORDER BY first_seq) FROM event_batches")
    (seq,) = [
        number
        for payload in payloads
        for number, fields in msgspec.msgpack.decode(payload)
        if fields["kind"] == "team.seat_filled" and fields["team_id"] == team_id
    ]
    await scene.run("UPDATE teams SET paid = 0 WHERE id = :id", id=team_id)
    assert await scene.broken() == {"T1"}
    await scene.run(
        "INSERT INTO dead_letters (shard, epoch, seq, claim_id, payload, error, state, note,"
        f" created_at_ms) VALUES (0, 1, {seq}, NULL, '', 'cannot be read', 'open', '', 1)"
    )
    assert await scene.broken() == {"I10"}
