"""A payment whose claim no shard knows is refunded, but only in the epoch that said so."""

from typing import Any

from campaigns.payment.facts import apply_fact
from engine import keys
from engine.inventory import Inventory, Reply
from tests.workers.acts import add_fact, begin_paying, held
from tests.workers.laws import check
from tests.workers.stage import Stage

_OUTCOME = "SELECT coalesce(outcome, '-') FROM payment_facts"
_REFUNDS = "SELECT count(*) FROM refunds"


class RebuiltBehind(Inventory):
    """The shard is rebuilt just after it gave its answer."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.wire, stage.epochs)
        self._stage = stage

    async def pay_confirm(self, *given: Any, **more: Any) -> Reply:
        reply = await super().pay_confirm(*given, **more)
        await self._stage.wire.call("FLUSHALL")
        await self._stage.settle()
        return reply


async def test_an_answer_of_an_epoch_that_has_ended_decides_nothing(stage: Stage) -> None:
    offer = await stage.offer(5)
    claim_id = await held(stage, offer, "b1")
    attempt_id = await begin_paying(stage, offer, claim_id)
    await stage.settle()
    fact_id = await add_fact(stage, offer, claim_id, attempt_id, fen=990)
    await stage.wire.call("DEL", keys.claims(offer.shard) + claim_id)
    assert await apply_fact(stage.db, RebuiltBehind(stage), fact_id) == "unknown"
    assert (await stage.scalar(_OUTCOME), await stage.scalar(_REFUNDS)) == ("-", 0)
    assert await apply_fact(stage.db, stage.inventory, fact_id) == "paid"
    await stage.settle()
    assert (await stage.scalar(_OUTCOME), await stage.scalar(_REFUNDS)) == ("paid", 0)
    await check(stage)
