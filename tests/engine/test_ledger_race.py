"""Many connections post to the same accounts at once: no deadlock, no gap, no lost fen."""

import asyncio
import random

import pytest

from engine.db import Database
from engine.errors import KaituanError
from engine.ledger import chart
from engine.ledger.entries import Entry, Line, order_split, payment_received
from engine.ledger.post import balances, post
from engine.ledger.splits import Credit, SplitPlan
from tests.engine.ledger_checks import counts, put, unsound

PLAN = SplitPlan(promoter_bps=800, upline_bps=200, store_bps=1500, level_two=True, cap_bps=3000)
GUIDES = [f"g{number}" for number in range(6)]
POSTERS, BATCHES, ORDERS = 6, 8, 10


def sale(order_id: str, chance: random.Random) -> list[Entry]:
    promoter, upline = chance.sample(GUIDES, 2)
    credit = Credit(promoter, upline, chance.choice(["s1", "s2"]))
    return [
        payment_received(f"pay-{order_id}", "sandbox", 10_000, order_id, 1),
        order_split(order_id, 10_000, PLAN, credit, 2),
    ]


async def test_posters_of_different_orders_share_accounts(db: Database) -> None:
    chance = random.Random(7)

    async def poster(name: int) -> int:
        done = 0
        for batch in range(BATCHES):
            orders = [sale(f"o{name}-{batch}-{n}", chance) for n in range(ORDERS)]
            done += await put(db, *(entry for order in orders for entry in order))
        return done

    total = POSTERS * BATCHES * ORDERS
    assert sum(await asyncio.gather(*map(poster, range(POSTERS)))) == 2 * total
    async with db.begin() as session:
        promoters, stores = await balances(session, "promoter:"), await balances(session, "store:")
    assert sum(promoters.values()) == total * 1_000
    assert sum(stores.values()) == total * 1_500
    assert await unsound(db) == []


async def test_two_settlers_of_the_same_orders_post_each_once(db: Database) -> None:
    chance = random.Random(11)
    entries = [entry for n in range(60) for entry in sale(f"o{n}", chance)]

    async def poster(seed: int) -> int:
        mine, done = entries.copy(), 0
        random.Random(seed).shuffle(mine)  # also in another order, and cut otherwise
        while mine:
            size = 5 + seed * 7
            done += await put(db, *mine[:size])
            del mine[:size]
        return done

    assert sum(await asyncio.gather(*map(poster, range(POSTERS)))) == len(entries)
    assert (await counts(db))[0] == len(entries)
    assert await unsound(db) == []


async def test_of_two_meanings_of_one_reference_exactly_one_is_posted(db: Database) -> None:
    async def poster(fen: int) -> int:
        line = Line(chart.ESCROW, chart.promoter_pending("g1"), fen)
        return await put(db, Entry("same", "test", None, 1, (line,)))

    results = await asyncio.gather(*map(poster, range(1, 7)), return_exceptions=True)
    assert [r for r in results if not isinstance(r, KaituanError)] == [1]
    assert {r.code for r in results if isinstance(r, KaituanError)} == {"reference_reused"}
    assert (await counts(db))[:2] == (1, 1)
    assert await unsound(db) == []


async def test_a_poster_that_dies_leaves_nothing_and_holds_up_nobody(db: Database) -> None:
    one, two = sale("o1", random.Random(3))

    async def killed() -> None:
        async with db.begin() as session:
            assert await post(session, [one, two]) == 2
            raise RuntimeError("killed before the commit")

    with pytest.raises(RuntimeError, match="killed"):
        await killed()
    assert await counts(db) == (0, 0, 0)
    assert await put(db, one, two) == 2
