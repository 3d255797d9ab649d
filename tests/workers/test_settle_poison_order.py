"""Poison takes along what follows it, never what was before it: wherever a batch begins or ends."""

import pytest

from engine.ids import now_ms
from tests.workers.acts import begin_paying, held
from tests.workers.laws import check_counters, rows
from tests.workers.stage import Stage
from tests.workers.test_settle_poison import plant

UNREADABLE = {"kind": "claim.paying", "attempt_id": "att_x", "pay_expires_at_ms": "soon"}
REFUSED = {"kind": "claim.paying", "attempt_id": "att_nobody", "pay_expires_at_ms": "5"}


@pytest.mark.parametrize("one_batch", [True, False])
@pytest.mark.parametrize("poison", [UNREADABLE, REFUSED], ids=["unreadable", "refused"])
async def test_what_came_before_the_poison_of_its_claim_is_settled(
    stage: Stage, poison: dict[str, str], one_batch: bool
) -> None:
    offer = await stage.offer(5)
    claim_id = await held(stage, offer, "b1")
    if not one_batch:
        await stage.settle()
    bad = {"at_ms": str(now_ms()), "claim_id": claim_id, "offer_id": offer.id, **poison}
    await plant(stage, offer, **bad)
    await begin_paying(stage, offer, claim_id)
    await held(stage, offer, "b2")
    await stage.settle()
    orders = await rows(stage, "SELECT buyer_id, claim_state FROM orders ORDER BY buyer_id")
    assert orders == [
        {"buyer_id": "b1", "claim_state": "held"},
        {"buyer_id": "b2", "claim_state": "held"},
    ]
    letters = await rows(stage, "SELECT seq FROM dead_letters ORDER BY seq")
    assert [letter["seq"] for letter in letters] == [3, 4]
    await check_counters(stage)
