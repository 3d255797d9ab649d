"""The hot store loses everything, or the tail of its file: what is said, and what stays.

An ordered claim is never lost and nothing is oversold; a claim that went down with the store
answers 410, and its key may be used again.
"""

import os
from pathlib import Path

import pytest

from tests.system.acts import claims, look, pages, sell_out, until_all
from tests.system.house import House

pytestmark = pytest.mark.slow


async def test_everything_is_flushed_in_mid_sale(house: House) -> None:
    sale = await house.sale(30, pay_ms=40_000)
    held = await claims(house, sale, "held", 4)
    to_pay = await claims(house, sale, "paying", 4)
    bought = await claims(house, sale, "bought", 4)
    await house.settled()
    paying = await pages(house, to_pay)
    for buyer, page in (await pages(house, bought)).items():
        assert await house.buyer(buyer).pay(page, bought[buyer])
    await until_all(house, bought, "paid")
    epoch = await house.epoch(sale.shard)
    with house.frozen("settle"):
        unsettled = await claims(house, sale, "unsettled", 4)
        newly = await pages(house, {"held_0": held["held_0"]})  # claim.paying is not settled
        assert await house.buyer("paying_0").pay(paying["paying_0"], to_pay["paying_0"])
        await until_all(
            house, {"paying_0": to_pay["paying_0"]}, "paid"
        )  # claim.paid is not settled
        await house.ask("FLUSHALL")
        status, told = await house.buyer("held_0").try_claim(
            sale.offer_id, sale.price_id, key="key-meanwhile"
        )
        assert (status, told["code"]) == (503, "reopening")
        assert (await house.ready()).status == 503
        # While it is away: pages and orders go on, and money is taken.
        assert set((await look(house, bought)).values()) == {"paid"}
        assert await house.buyer("held_0").pay(newly["held_0"], held["held_0"])
    await house.until_ready()
    assert await house.epoch(sale.shard) > epoch
    assert set((await look(house, unsettled)).values()) == {"claim_lost"}
    assert set((await look(house, bought)).values()) == {"paid"}
    for buyer in ("paying_1", "paying_2"):
        assert await house.buyer(buyer).pay(paying[buyer], to_pay[buyer])
    await until_all(
        house, {one: to_pay[one] for one in ("paying_0", "paying_1", "paying_2")}, "paid"
    )
    await until_all(house, {"held_0": held["held_0"]}, "paid")
    assert set((await look(house, {"held_1": held["held_1"]})).values()) == {"held"}
    again = await claims(house, sale, "unsettled", 4)  # the same keys
    assert not set(again.values()) & set(unsettled.values())
    await sell_out(house, sale, "rest")
    assert await house.buyer("paying_3").pay(paying["paying_3"], to_pay["paying_3"])
    await until_all(house, to_pay, "paid")
    report = await house.lawful("I1", "I2", "I4", "I6", "I7", "I10", "T8")
    lost = "SELECT count(*) FROM incidents WHERE kind = 'claim_lost'"
    assert await house.scalar(lost) > 0, report.lines()


def tail_of_the_file(house: House) -> Path:
    """The append-only file that is being written."""
    folder = house.fresh.supervisor.place.folder / "valkey" / "appendonlydir"
    return max(folder.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)


async def cut(house: House, size: int) -> None:
    """Power loss: the server dies, and its file ends after `size` bytes, within a command."""
    file = tail_of_the_file(house)
    old = house.kill("valkey")  # no await until the file is cut: nobody starts it before
    assert file.stat().st_size > size + 40
    os.truncate(file, size + 40)
    await house.until_back("valkey", old)


@pytest.mark.parametrize("what", ["unsettled", "settled"])
async def test_the_tail_of_the_file_is_cut(house: House, what: str) -> None:
    """What was acknowledged and not settled is lost, and said to be; what was settled stays."""
    sale = await house.sale(20)
    first = await claims(house, sale, f"first_{what}", 4)
    await house.settled()
    if what == "settled":
        size = tail_of_the_file(house).stat().st_size
    second = await claims(house, sale, f"second_{what}", 4)
    if what == "settled":
        await house.settled()
        page = await pages(house, {f"second_{what}_0": second[f"second_{what}_0"]})
        assert page
        await house.settled()
    with house.frozen("settle"):
        if what == "unsettled":
            size = tail_of_the_file(house).stat().st_size
        third = await claims(house, sale, f"third_{what}", 4)
        await cut(house, size)
        status, told = await house.buyer(f"third_{what}_0").try_claim(
            sale.offer_id, sale.price_id, key="key-meanwhile"
        )
        assert (status, told.get("code")) in ((503, "reopening"), (503, "busy"), (0, None))
    await house.until_ready()
    assert set((await look(house, first)).values()) == {"held"}
    states = await look(house, second)
    assert set(states.values()) <= {"held", "paying"}, states
    assert set((await look(house, third)).values()) == {"claim_lost"}
    await house.settled()
    ordered = "SELECT count(*) FROM orders WHERE offer_id = $1"
    assert await house.scalar(ordered, sale.offer_id) == 8
    assert (await house.stock(sale))["held"] == 8
    await sell_out(house, sale, f"rest_{what}")
    await house.lawful("I1", "I2", "I4", "I6", "I10")
