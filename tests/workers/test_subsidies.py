"""What a merchant's seat costs, and which teams may have one."""

import pytest

from campaigns.team.subsidy import seat_fen
from engine.errors import Missing
from tests.engine.hotshard import config
from tests.engine.seats import team_rules
from tests.workers.laws import check, rows
from tests.workers.seats import crowd_of, crowd_offer, joined, opened, team_offer
from tests.workers.stage import Stage
from tests.workers.test_teams import fill, stage, state_of

__all__ = ["stage"]  # a fixture

PRICES = (("p1", 1_000, 0), ("p2", 800, 50), ("p3", 1_200, 90))


@pytest.mark.parametrize(
    ("at_ms", "fen"), [(0, 1_000), (49, 1_000), (50, 800), (89, 800), (90, 1_200)]
)
def test_a_seat_costs_what_holds_now(at_ms: int, fen: int) -> None:
    rules = config(kind="team", team=team_rules(seat_qty=2), prices=PRICES)
    assert seat_fen(rules, at_ms) == 2 * fen


async def test_two_seats_cost_twice(stage: Stage) -> None:
    offer = await team_offer(stage, subsidy_max=2)
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    filled = await fill(stage, team_id, seats=2)
    assert (filled.in_effect, filled.amount_fen) == (True, 2 * 990)
    assert await state_of(stage, team_id) == "formed"
    posted = "SELECT amount_fen FROM postings WHERE source = 'subsidy'"
    assert [row["amount_fen"] for row in await rows(stage, posted)] == [2 * 990]
    await check(stage)


async def test_a_crowd_has_no_such_seats(stage: Stage) -> None:
    offer = await crowd_offer(stage)
    await joined(stage, offer, "b1", "")
    await stage.settle()
    with pytest.raises(Missing):
        await fill(stage, crowd_of(offer))
    assert await stage.scalar("SELECT count(*) FROM team_commands") == 0
