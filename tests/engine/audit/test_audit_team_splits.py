"""Planted faults of teams' money: a split that is missing, too early, or of the wrong fen."""

from tests.engine.audit.evening import Scene


async def test_m3_a_member_of_a_formed_team_without_a_split(scene: Scene) -> None:
    sql = "UPDATE orders SET split_fen = NULL WHERE claim_id = :c"
    await scene.run(sql, c=scene.names["seat_formed"])
    report = await scene.audit()
    assert {"M3", "M4"} <= set(report.broken)
    problems = report.law("M3").problems
    assert any("split of none" in one for one in problems), problems


async def test_m3_a_split_before_the_team_is_decided(scene: Scene) -> None:
    sql = "UPDATE orders SET split_fen = paid_fen WHERE team_id = :t AND claim_state = 'paid'"
    await scene.run(sql, t=scene.names["team_forming"])
    report = await scene.audit()
    assert {"M3", "M4"} <= set(report.broken)
    assert any("forming team" in one for one in report.law("M3").problems)


async def test_m3_a_split_of_other_fen_than_were_posted(scene: Scene) -> None:
    sql = "UPDATE orders SET split_fen = split_fen - 1 WHERE claim_id = :c"
    await scene.run(sql, c=scene.names["seat_formed"])
    assert await scene.broken() == {"M3"}


async def test_m3_a_subsidy_of_other_fen_than_were_posted(scene: Scene) -> None:
    await scene.run("UPDATE team_commands SET amount_fen = amount_fen + 1")
    assert "M3" in await scene.broken()


async def test_m3_a_failed_team_whose_subsidy_stayed(scene: Scene) -> None:
    """The merchant's seats of a team that failed are reversed, once."""
    await scene.run(
        "UPDATE teams SET state = 'failed' WHERE id = :id", id=scene.names["team_subsidised"]
    )
    problems = (await scene.audit()).law("M3").problems
    name = f"subsidy_back:{scene.names['subsidy']}"
    assert any(f"{name} is posted 0 times" in one for one in problems)
