"""An offer's command has its effect once, however often its event is there."""

import pytest

from engine.ids import now_ms
from tests.workers.acts import add_command, restock
from tests.workers.laws import check_counters, rows
from tests.workers.stage import Stage
from tests.workers.test_settle_poison import plant

_COMMAND = "SELECT id FROM offer_commands WHERE kind = 'restock'"


@pytest.mark.parametrize("one_batch", [True, False])
async def test_a_restock_said_twice_adds_once(stage: Stage, one_batch: bool) -> None:
    """As a dead letter's retry after a rebuild would: the command has been repeated meanwhile."""
    offer = await stage.offer(5)
    assert (await restock(stage, offer, 3)).what == "restocked"
    if not one_batch:
        await stage.settle()
    again = {
        "kind": "offer.restocked",
        "at_ms": str(now_ms()),
        "offer_id": offer.id,
        "command_id": str(await stage.scalar(_COMMAND)),
        "units": "3",
        "total": "8",
    }
    await plant(stage, offer, **again)
    await stage.settle()
    assert await rows(stage, "SELECT total FROM offers") == [{"total": 8}]
    (letter,) = await rows(stage, "SELECT seq, error FROM dead_letters")
    assert letter["seq"] == 3
    assert "was applied" in letter["error"]
    await check_counters(stage)


async def test_another_restock_of_as_many_units_adds_again(stage: Stage) -> None:
    offer = await stage.offer(5)
    for _ in range(2):
        command_id = await add_command(stage, offer, "restock", 3)
        await stage.inventory.offer_restock(offer.shard, offer.id, command_id=command_id, units=3)
    await stage.settle()
    assert await rows(stage, "SELECT total FROM offers") == [{"total": 11}]
