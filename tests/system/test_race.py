"""10,000 customers race for 100 units: three client processes, 256 connections, two API processes.

Exactly 100 orders; every answer in the clients' own history has its counterpart; units that
lapsed come back and are bought; units added while it is sold out are sold.
"""

import asyncio

import pytest

from cli.tokens import sample_tokens
from engine.ids import now_ms
from tests.system.crowds import crowds, plans
from tests.system.house import House, Sale
from tests.waiting import eventually
from workers.settle.batch import unpack

pytestmark = pytest.mark.slow

CUSTOMERS, MEMBERS, UNITS, ADDED = 10_000, 1_000, 100, 25
LAWS = tuple(f"I{number}" for number in range(1, 11))
MONEY_LAWS = ("T8", "S1", "M1", "M2", "M3", "M4", "M5", "M9")


async def given_out(house: House, sale: Sale) -> tuple[int, int]:
    """As the archived events tell: the most units that were ever out (held, paying or paid), and
    how many had been given out when the first came back."""
    batches = "SELECT payload FROM event_batches WHERE shard = $1 ORDER BY epoch, first_seq"
    out = most = before = 0
    came_back = False
    for row in await house.rows(batches, sale.shard):
        for _, event in unpack(row["payload"]):
            if event["offer_id"] != sale.offer_id:
                continue
            if event["kind"] == "claim.held":
                out += 1
                before += not came_back
            elif event["kind"] in ("claim.released", "claim.returned"):
                out -= 1
                came_back = True
            most = max(most, out)
    return most, before


async def buyers_of(house: House) -> list[str]:
    """Members of the chain, with guide and store, among many whom it does not know yet."""
    known = [one.buyer for one in await sample_tokens(house.settings, MEMBERS)]
    strangers = [f"mbr_stranger_{number:05}" for number in range(CUSTOMERS - MEMBERS)]
    rest = iter(strangers)
    mixed = []
    for one in known:
        mixed += [one, *(next(rest) for _ in range(CUSTOMERS // MEMBERS - 1))]
    return mixed


async def test_ten_thousand_race_for_a_hundred(house: House) -> None:
    sale = await house.sale(UNITS, hold_ms=15_000)  # enough to pay in, on a busy machine too
    buyers = await buyers_of(house)
    habits = {"pay": 6, "lapse": 4}
    given = plans(house, sale, buyers, habits, name="race", repeats=0.05, twins=0.05)
    async with crowds(given) as race:
        seen = await race.go()
    assert not seen.errors, seen.errors[:10]
    assert sum(count for word, count in seen.answers.items() if ":" not in word) == CUSTOMERS
    assert {word.removeprefix("twin: ") for word in seen.answers} == {
        *("held", "sold_out", "limit_reached")
    }
    await house.settled()
    assert await given_out(house, sale) == (UNITS, UNITS)
    assert min((await house.served()).values()) > CUSTOMERS / 100
    lapsed = seen.ends.get("lapse → released", 0)
    assert lapsed > 0
    assert seen.ends.get("pay → paid", 0) > 0
    assert sum(seen.ends.values()) == len(seen.held)
    await what_came_back_and_what_was_added_is_sold(house, sale)
    await house.lawful(*LAWS, *MONEY_LAWS)


async def what_came_back_and_what_was_added_is_sold(house: House, sale: Sale) -> None:
    """As many customers as units are free or will be; HQ adds stock when those are gone."""
    free = (await house.stock(sale))["available"]
    assert free > 0
    buyers = [f"mbr_patient_{number:03}" for number in range(free + ADDED)]
    given = plans(
        *(house, sale, buyers, {"pay": 1}),
        name="later",
        until_ms=now_ms() + 120_000,
    )
    async with crowds(given) as later:
        going = asyncio.create_task(later.go())

        async def is_sold_out() -> bool:
            return (await house.stock(sale))["available"] == 0

        await eventually(is_sold_out)
        await house.fresh.hq.restock(sale.offer_id, ADDED)
        seen = await going
    assert not seen.errors, seen.errors[:10]
    assert seen.ends == {"pay → paid": free + ADDED}
    assert await house.stock(sale) == {
        "total": UNITS + ADDED,
        "available": 0,
        "held": 0,
        "sold": UNITS + ADDED,
    }
    paid = "SELECT count(*) FROM orders WHERE offer_id = $1 AND state = 'paid'"
    assert await house.scalar(paid, sale.offer_id) == UNITS + ADDED
