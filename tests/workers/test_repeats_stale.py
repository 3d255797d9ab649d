"""A row read before a rebuild is not repeated after it: units and stock would come twice.

The script ran and its event was lost from sight; while the repeat is under way the event is
settled, the hot store is emptied with its markers, and the shard is rebuilt from the rows.
"""

from typing import Any, cast

from campaigns.payment.provider import PaymentProvider
from campaigns.refund.done import give_units_back
from engine.inventory import Inventory, Reply
from tests.workers.acts import add_command, add_refund, held, pay
from tests.workers.laws import check
from tests.workers.stage import Stage
from workers.loop import Parts
from workers.repeats import Repeats


class RebuiltBefore(Inventory):
    """The shard is rebuilt just before the script runs."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.wire, stage.epochs)
        self._stage = stage
        self.said: list[str] = []

    async def _rebuild(self) -> None:
        await self._stage.settle()
        await self._stage.wire.call("FLUSHALL")
        await self._stage.settle()

    async def give_back(self, *given: Any, **more: Any) -> Reply:
        await self._rebuild()
        return self._note(await super().give_back(*given, **more))

    async def offer_restock(self, *given: Any, **more: Any) -> Reply:
        await self._rebuild()
        return self._note(await super().offer_restock(*given, **more))

    def _note(self, reply: Reply) -> Reply:
        self.said.append(reply.what)
        return reply


async def test_units_are_not_given_back_twice(stage: Stage) -> None:
    offer = await stage.offer(5)
    claim_id = await held(stage, offer, "b1", qty=2)
    fact_id = await pay(stage, offer, claim_id, qty=2)
    await stage.settle()
    refund_id = await add_refund(stage, offer, claim_id, fact_id, units=1)
    await stage.inventory.give_back(offer.shard, claim_id, units=1, refund_id=refund_id)
    assert await give_units_back(stage.db, RebuiltBefore(stage), refund_id) == "reopening"
    await stage.settle()
    hot = await stage.inventory.offer_state(offer.shard, offer.id)
    assert (hot["sold"], hot["available"]) == ("1", "4")
    await check(stage)


async def test_stock_is_not_added_twice(stage: Stage) -> None:
    offer = await stage.offer(5)
    command_id = await add_command(stage, offer, "restock", 3)
    await stage.inventory.offer_restock(offer.shard, offer.id, command_id=command_id, units=3)
    await stage.run("UPDATE offer_commands SET created_at_ms = 1 WHERE id = :c", c=command_id)
    stale = RebuiltBefore(stage)
    nobody = cast(PaymentProvider, None)
    await Repeats(Parts(stage.db, stale, nobody, "sandbox", stage.settings)).run_once()
    assert stale.said == ["reopening"]
    await stage.settle()
    assert (await stage.inventory.offer_state(offer.shard, offer.id))["total"] == "8"
    await check(stage)
