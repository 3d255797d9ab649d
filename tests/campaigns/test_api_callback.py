"""The provider is told "success" only once the fact and its posting are committed."""

import asyncio

import httpx
from sqlalchemy import func, select, text

from campaigns.payment.models import PaymentFact
from campaigns.payment.sandbox_client import PROVIDER_SERIAL
from campaigns.payment.signature import derive_key, sign
from engine.ids import new_id, now_ms
from tests.campaigns.server import World, api_settings

_SIGNED_WITH = derive_key(api_settings("", "").sandbox_secret, PROVIDER_SERIAL)
_HELD_UP = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
_SAME_REFERENCE = text(
    "INSERT INTO ledger_transactions (reference, kind, at_ms) VALUES ('payment:' || :t, 'x', 1)"
)


async def _tell(world: World, transaction_id: str) -> httpx.Response:
    body = (
        f'{{"attempt_id":"att_of_nobody","transaction_id":"{transaction_id}","amount_fen":1000,'
        f'"currency":"CNY","paid_at_ms":{now_ms()}}}'
    ).encode()
    headers = sign(PROVIDER_SERIAL, _SIGNED_WITH, body, now_ms=now_ms())
    return await world.http.post("/v1/payments/callback", content=body, headers=headers)


async def _known(world: World, transaction_id: str) -> list[int]:
    """How often as a fact, and as a ledger transaction."""
    facts = select(func.count()).where(PaymentFact.id == transaction_id)
    entries = text("SELECT count(*) FROM ledger_transactions WHERE reference = 'payment:' || :t")
    async with world.db.begin() as session:
        return [
            int(await session.scalar(facts) or 0),
            int(await session.scalar(entries, {"t": transaction_id}) or 0),
        ]


async def test_success_is_answered_after_the_commit(api: World) -> None:
    transaction_id = new_id("txn")
    async with api.db.begin() as session:  # the callback's posting waits for what becomes of ours
        await session.execute(_SAME_REFERENCE, {"t": transaction_id})
        telling = asyncio.create_task(_tell(api, transaction_id))
        while not telling.done() and not await session.scalar(_HELD_UP):
            await asyncio.sleep(0.01)
        assert not telling.done()
        await session.rollback()
    answer = await telling
    assert answer.status_code == 200, answer.text
    assert await _known(api, transaction_id) == [1, 1]
    assert (await _tell(api, transaction_id)).content == answer.content
    assert await _known(api, transaction_id) == [1, 1]
