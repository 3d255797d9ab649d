"""What tests let several customers do, one after the other, and what they then see."""

import asyncio
from typing import Any

from tests.system.house import House, Sale
from tests.waiting import eventually


async def patient_claim(house: House, sale: Sale, buyer: str, key: str) -> tuple[int, Any]:
    """A customer who tries again with the same key while told to: status and answer.

    Each API process learns by itself that a shard has reopened, one a moment after the other.
    """
    answer: tuple[int, Any] = (0, None)

    async def is_decided() -> bool:
        nonlocal answer
        answer = await house.buyer(buyer).try_claim(sale.offer_id, sale.price_id, key=key)
        return answer[0] != 503

    await eventually(is_decided, every_s=0.1)
    return answer


async def claims(house: House, sale: Sale, names: str, count: int) -> dict[str, str]:
    """So many customers hold a unit each: buyer → claim id."""
    found = {}
    for number in range(count):
        buyer = f"{names}_{number}"
        status, told = await patient_claim(house, sale, buyer, f"key-{buyer}")
        assert status == 201, told
        found[buyer] = told["claim_id"]
    return found


async def pages(house: House, claim_ids: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Each opens the page to pay on: buyer → page."""
    found = {}
    for buyer, claim_id in claim_ids.items():
        page = await house.buyer(buyer).begin_pay(claim_id)
        assert page is not None
        found[buyer] = page
    return found


async def look(house: House, claim_ids: dict[str, str]) -> dict[str, str]:
    """buyer → state, or the problem's code."""
    found = {}
    for buyer, claim_id in claim_ids.items():
        seen = await house.buyer(buyer).look(claim_id)
        found[buyer] = str(seen.get("code") or seen["state"])
    return found


async def until_all(house: House, claim_ids: dict[str, str], state: str) -> None:
    """Wait until all are in this state."""

    async def all_are() -> bool:
        return set((await look(house, claim_ids)).values()) == {state}

    await eventually(all_are, every_s=0.3)


async def sell_out(house: House, sale: Sale, names: str) -> None:
    """Buy whatever is left, and a little more: never more than there is."""
    left = (await house.stock(sale))["available"]
    await claims(house, sale, names, left)
    status, told = await patient_claim(house, sale, f"{names}_late", "key-too-late")
    assert (status, told["code"]) == (409, "sold_out")
    stock = await house.stock(sale)
    assert stock["held"] + stock["sold"] == stock["total"]


async def end_ordered(house: House, claim_ids: dict[str, str]) -> None:
    """Wait until every one has its order."""

    async def all_are() -> bool:
        seen = await asyncio.gather(
            *(house.buyer(buyer).look(claim_id) for buyer, claim_id in claim_ids.items())
        )
        return all(one.get("ordered") for one in seen)

    await eventually(all_are, every_s=0.2)
