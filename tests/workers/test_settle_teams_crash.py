"""A settler that dies at any step of a batch with teams: the next one settles it once."""

from campaigns.offer.models import Offer
from tests.workers.acts import begin_paying, confirm
from tests.workers.conftest import RivalMaker
from tests.workers.gates import Crash, Steps
from tests.workers.laws import check, rows
from tests.workers.seats import (
    crowd_offer,
    deadline_passes,
    joined,
    opened,
    pays,
    sits,
    subsidised,
    team_offer,
)
from tests.workers.stage import Stage

STEPS_MAX = 100


class Night:
    """Batches of all that teams can go through, with seats of earlier batches."""

    def __init__(self, stage: Stage, offer: Offer, crowd: Offer) -> None:
        self.stage, self.offer, self.crowd, self.round = stage, offer, crowd, 0

    async def batch(self) -> None:
        """Settled before it: two teams. Unsettled: one fails with a refund, one is helped to
        form; one forms alone, one is dissolved, a late payment lands anew, a crowd goes on."""
        stage, offer = self.stage, self.offer
        self.round += 1
        name = f"r{self.round}"
        failing, _ = await opened(stage, offer, f"{name}-failing")
        helped, _ = await opened(stage, offer, f"{name}-helped")
        await deadline_passes(stage, offer, failing)
        await stage.teams.close(offer.shard, 9, again_ms=0)
        assert (await stage.teams.decide(offer.shard, failing)).what == "failed"
        assert (await subsidised(stage, offer, helped)).details == ("formed",)
        full, _ = await opened(stage, offer, f"{name}-full")
        await joined(stage, offer, f"{name}-second", full)
        alone = await sits(stage, offer, f"{name}-alone")
        await stage.inventory.release(offer.shard, alone, attempt_id="", why="cancelled")
        late = await sits(stage, offer, f"{name}-late")
        attempt_id = await begin_paying(stage, offer, late)
        await stage.inventory.release(offer.shard, late, attempt_id=attempt_id, why="closed")
        assert (await confirm(stage, offer, late, attempt_id))[1].details[0] == "new"
        await pays(stage, self.crowd, await sits(stage, self.crowd, name))


async def test_a_crash_at_any_step_of_a_batch_repeats_harmlessly(
    stage: Stage, rival: RivalMaker
) -> None:
    offer = await team_offer(stage, 999, size=2, subsidy_max=99)
    night, where = Night(stage, offer, await crowd_offer(stage, 99, steps=((99, "p1", 990),))), []
    steps = Steps()
    async with rival(steps) as other:
        for at in range(1, STEPS_MAX):
            await night.batch()
            steps.count, steps.at, steps.where = 0, at, ""
            try:
                await other.settler().round()
            except Crash:
                where.append(steps.where)
            steps.at = 0
            await stage.settle()
            await check(stage, thorough=at % 8 == 0)
            if not steps.where:
                break
    await check(stage)
    assert {"before commit", "after commit", "before settled"} <= set(where)
    assert any("INSERT INTO teams" in step for step in where), where
    assert any("UPDATE teams" in step for step in where), where
    refunds = await rows(stage, "SELECT order_id FROM refunds WHERE cause = 'team_failed'")
    assert len(refunds) == night.round
    assert await stage.scalar("SELECT count(*) FROM dead_letters") == 0
    assert (
        await stage.scalar("SELECT count(*) FROM teams WHERE state = 'formed'") == 2 * night.round
    )
