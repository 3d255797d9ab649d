"""A late payment where the offer says `retake`: everything that stands against it, one by one.

The units came free before the payment arrived. They are taken again only if the buyer could
claim them now at all; else the payment is late, says why, and moves no unit and no limit.
"""

from collections.abc import Awaitable, Callable

import pytest

from engine import keys
from engine.events import PaymentLate
from engine.ids import now_ms
from engine.inventory import Reply
from tests.engine.hotshard import Bench

Change = Callable[[Bench], Awaitable[object]]


async def _hset(shard: Bench, field: str, value: int) -> None:
    await shard.wire.call("HSET", keys.offers(0) + "ofr_1", field, value)


async def _close(shard: Bench) -> None:
    await shard.inventory.offer_close(0, "ofr_1", command_id="cmd_close")


async def _buy_another(shard: Bench, offer_id: str) -> None:
    bought = await shard.claim(offer_id, "mbr_1", key="another")
    assert bought.what == "held"


AGAINST: dict[str, tuple[str, dict[str, int], Change]] = {
    "closed": ("closed", {}, _close),
    "ended": ("closed", {}, lambda shard: _hset(shard, "ends_at_ms", now_ms() - 1)),
    "limit of the offer": (
        "limit_reached",
        {"per_buyer_max": 2},
        lambda shard: _buy_another(shard, "ofr_1"),
    ),
    "limit of the campaign": (
        "limit_reached",
        {"per_campaign_max": 2},
        lambda shard: _buy_another(shard, "ofr_2"),
    ),
    "sold out": (
        "sold_out",
        {},
        lambda shard: shard.claim("ofr_1", "mbr_2", 2),
    ),
}


@pytest.mark.parametrize("what", AGAINST)
async def test_a_retake_needs_all_that_a_claim_needs(shard: Bench, what: str) -> None:
    why, rules, change = AGAINST[what]
    await shard.offer("ofr_1", 3, late="retake", **rules)
    await shard.offer("ofr_2", 1, late="retake", **rules)
    claim_id = await _released(shard, 2)
    await change(shard)
    before = await shard.view()
    assert await shard.confirm(claim_id, "att_1", "fct_1") == Reply("late", (why,))
    after = await shard.view()
    assert (after.offers, after.limits, after.claims) == (
        before.offers,
        before.limits,
        before.claims,
    )
    last = (await shard.events())[-1]
    assert isinstance(last, PaymentLate)
    assert (last.fact_id, last.why) == ("fct_1", why)


async def test_a_retake_at_the_very_limit_counts_its_units_again(shard: Bench) -> None:
    """Two of two left, and two of two allowed: it fits, and nothing more does."""
    await shard.offer("ofr_1", 2, late="retake", per_buyer_max=2, per_campaign_max=2)
    claim_id = await _released(shard, 2)
    assert await shard.confirm(claim_id, "att_1", "fct_1") == Reply("retaken")
    again = await shard.claim("ofr_1", "mbr_1", key="again")
    assert again == Reply("limit_reached", ("offer", "2"))
    assert (await shard.claim("ofr_1", "mbr_2")).what == "sold_out"
    ttl = await shard.wire.call("PTTL", keys.claims(0) + claim_id)
    assert ttl == -1  # a paid claim is kept, as one that was never released


async def _released(shard: Bench, units: int) -> str:
    """mbr_1's claim of the first offer, closed unpaid."""
    claim_id = (await shard.claim("ofr_1", "mbr_1", units)).details[0]
    await shard.inventory.pay_begin(0, claim_id, "att_1")
    await shard.inventory.release(0, claim_id, attempt_id="att_1", why="closed")
    return claim_id
