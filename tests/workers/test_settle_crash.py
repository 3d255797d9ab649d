"""A settler that dies at any step of a batch: the next one settles it as if it had run once."""

from campaigns.offer.models import Offer
from tests.workers.acts import (
    add_fact,
    begin_paying,
    confirm,
    give_back,
    held,
    pay,
    restock,
)
from tests.workers.conftest import RivalMaker
from tests.workers.gates import Crash, Steps
from tests.workers.laws import check, rows
from tests.workers.stage import Stage

STEPS_MAX = 100


class Night:
    """Batches of everything that can happen, each with old and new claims."""

    def __init__(self, stage: Stage, offer: Offer) -> None:
        self.stage, self.offer, self.round = stage, offer, 0

    async def batch(self) -> None:
        """Unsettled: a restock, claims in all states, a late payment and a refused one."""
        stage, offer = self.stage, self.offer
        self.round += 1
        await restock(stage, offer, 10)
        names = [f"{name}{self.round}" for name in "abcd"]
        a, b, c, _ = [await held(stage, offer, name, qty=2) for name in names]
        fact_id = await pay(stage, offer, a, qty=2)
        await give_back(stage, offer, a, fact_id, units=1)
        second = await add_fact(stage, offer, a, "pay_second", fen=1_980)
        assert (
            await stage.inventory.pay_confirm(
                offer.shard, a, attempt_id="pay_second", fact_id=second, verdict="ok"
            )
        ).details == ("second_payment",)
        attempt_id = await begin_paying(stage, offer, b, qty=2)
        await stage.inventory.release(offer.shard, b, attempt_id=attempt_id, why="closed")
        assert (await confirm(stage, offer, b, attempt_id, qty=2))[1].what == "late"
        attempt_id = await begin_paying(stage, offer, c, qty=2)
        refused = await confirm(stage, offer, c, attempt_id, fen=1, verdict="wrong_amount")
        assert refused[1].what == "refused"
        if self.round > 1:
            older = await rows(
                stage, "SELECT claim_id FROM orders WHERE claim_state = 'held' ORDER BY id LIMIT 1"
            )
            await pay(stage, offer, older[0]["claim_id"], qty=2)


async def test_a_crash_at_any_step_of_a_batch_repeats_harmlessly(
    stage: Stage, rival: RivalMaker
) -> None:
    offer = await stage.offer(0)
    night, where = Night(stage, offer), []
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
            await check(stage, thorough=at % 6 == 0)
            if not steps.where:
                break
    await check(stage)
    assert {"before commit", "after commit", "before settled"} <= set(where)
    assert any("COPY orders" in step for step in where), where
