"""One key, a thousand requests at once through both API processes: one effect, the same answer."""

import pytest

from tests.system.crowds import crowds, plans
from tests.system.house import House

pytestmark = pytest.mark.slow

REQUESTS = 1_000


async def test_a_thousand_requests_of_one_key_have_one_effect(house: House) -> None:
    sale = await house.sale(50, per_buyer_max=5)
    before = await house.scalar("SELECT count(*) FROM orders")
    given = plans(
        *(house, sale, ["mbr_keen"] * REQUESTS, {"none": 1}),
        name="keen",
        lanes=REQUESTS,
        processes=4,
        one_key="key-of-the-keen",
    )
    async with crowds(given) as race:
        seen = await race.go()
    assert not seen.errors, seen.errors[:10]
    assert seen.answers == {"held": REQUESTS}
    told = {(one.claim_id, one.price_fen, one.expires_at_ms) for one in seen.held}
    assert len(told) == 1
    assert seen.replayed == REQUESTS - 1
    assert await house.stock(sale) == {"total": 50, "available": 49, "held": 1, "sold": 0}
    await house.settled()
    assert await house.scalar("SELECT count(*) FROM orders") == before + 1
    assert min((await house.served()).values()) >= REQUESTS / 20
    report = await house.lawful("I4", "I6", "I8")
    assert report.law("I7").checked >= REQUESTS
