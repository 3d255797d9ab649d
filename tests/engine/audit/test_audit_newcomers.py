"""Planted faults of audiences and of new customers across campaigns: I8 names them."""

from tests.engine.audit.evening import Scene


async def test_a_claim_without_the_right_of_an_offer_for_new_customers(scene: Scene) -> None:
    await scene.run(
        "UPDATE offers SET config = jsonb_set(config, '{audience}', '\"new\"') WHERE id = :id",
        id=scene.names["team_offer"],
    )
    problems = (await scene.audit()).law("I8").problems
    assert any("is of an offer for new customers only" in one for one in problems)


async def test_a_second_order_that_stands_as_a_new_customers(scene: Scene) -> None:
    """As if the settler had not looked at what the buyer paid before."""
    ids = "SELECT id FROM orders WHERE claim_state = 'paid' AND state = 'paid'"
    await scene.run(
        "UPDATE orders SET newcomer = true, buyer_id = 'one' WHERE id ="
        f" ({ids} ORDER BY paid_at_ms DESC, id DESC LIMIT 1)"
    )
    problems = (await scene.audit()).law("I8").problems
    assert not any("stands as a new customer's" in one for one in problems)
    await scene.run(
        f"UPDATE orders SET buyer_id = 'one' WHERE id = ({ids} ORDER BY paid_at_ms, id LIMIT 1)"
    )
    problems = (await scene.audit()).law("I8").problems
    assert any("stands as a new customer's" in one for one in problems)
    await scene.run("UPDATE orders SET state = 'refunding' WHERE buyer_id = 'one' AND newcomer")
    problems = (await scene.audit()).law("I8").problems
    assert not any("stands as a new customer's" in one for one in problems)
