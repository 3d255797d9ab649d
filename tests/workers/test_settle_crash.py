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
        names = [f"{name}{self.round}" for name in "abcdef"]
        await restock(stage, offer, 12)
        _, b, c, d, e, f = [await held(stage, offer, name, qty=2) for name in names]
        await begin_paying(stage, offer, b, qty=2)
        await pay(stage, offer, c, qty=2)
        fact_id = await pay(stage, offer, d, qty=2)
        await give_back(stage, offer, d, fact_id, units=1)
        attempt_id = await begin_paying(stage, offer, e, qty=2)
        await stage.inventory.release(offer.shard, e, attempt_id=attempt_id, why="closed")
        assert (await confirm(stage, offer, e, attempt_id, qty=2))[1].what == "late"
        attempt_id = await begin_paying(stage, offer, f, qty=2)
        refused = await confirm(stage, offer, f, attempt_id, fen=1, verdict="wrong_amount")
        assert refused[1].what == "refused"
        second = await add_fact(stage, offer, c, "pay_second", fen=1_980)
        assert (
            await stage.inventory.pay_confirm(
                offer.shard, c, attempt_id="pay_second", fact_id=second, verdict="ok"
            )
        ).details == ("second_payment",)
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
            await check(stage)
            if not steps.where:
                break
    assert {"before commit", "after commit", "before settled"} <= set(where)
    assert any("COPY orders" in step for step in where), where
