"""An attempt that was taken back may not be sent again, whoever still has its old row in hand."""

from campaigns.payment import attempts
from campaigns.payment.attempts import repeat_begin, take_back
from engine.ids import now_ms
from tests.workers.acts import add_attempt, held
from tests.workers.laws import rows
from tests.workers.stage import Stage


async def test_neither_lease_nor_page_nor_script_after_it(stage: Stage) -> None:
    offer = await stage.offer(5)
    claim_id = await held(stage, offer, "b1")
    attempt_id = await add_attempt(stage, offer, claim_id)
    until = now_ms() + 60_000
    assert await attempts.lease_sending(stage.db, attempt_id, send_until_ms=until) is not None
    await take_back(stage.db, attempt_id)
    after = await rows(stage, "SELECT * FROM payment_attempts")
    assert await attempts.lease_sending(stage.db, attempt_id, send_until_ms=until + 1) is None
    assert await attempts.keep_pay_url(stage.db, attempt_id, "http://pay/here") is None
    assert await repeat_begin(stage.db, stage.inventory, attempt_id) == "done"
    assert await rows(stage, "SELECT * FROM payment_attempts") == after
    assert (await stage.inventory.claim_state(offer.shard, claim_id))["state"] == "held"
