"""What customers do on the evening: race, pay, let it lapse, pay too late, underpay, give back.

`HABITS` says in which shares. Each journey ends by itself at the latest soon after the sale.
"""

import asyncio
import random
import secrets
from collections.abc import Sequence
from typing import Any

from cli.demo.phone import Phone
from cli.demo.plan import Buyer, CrowdPlan, Tally
from engine.audit.history import HistoryWriter
from engine.ids import now_ms

HABITS = {"prompt": 62, "lapser": 18, "closer": 16, "underpayer": 4}
# What the provider's callback suffers; most arrive in order, once, at once.
CALLBACKS: tuple[tuple[str, ...], ...] = (
    *((),) * 10,
    ("delayed",),
    ("lost",),
    ("doubled",),
    ("forged",),
    ("out_of_order",),
)
AFTER_SALE_S = 30.0


def cast(phones: Sequence[str], seed: int) -> list[Buyer]:
    """Give each phone number a habit."""
    rng = random.Random(seed)
    names, weights = list(HABITS), list(HABITS.values())
    return [Buyer(number, rng.choices(names, weights)[0]) for number in phones]


class Journey:
    """One customer's evening."""

    def __init__(self, plan: CrowdPlan, buyer: Buyer, tally: Tally, history: HistoryWriter) -> None:
        self.plan, self.buyer, self.tally = plan, buyer, tally
        self.rng = random.Random(f"{plan.seed}-{buyer.phone}")
        self.phone = Phone(plan.base_url, buyer.phone, tally, history, self.rng)

    async def run(self, gate: asyncio.Event, ready: asyncio.Semaphore) -> None:
        """Sign in, wait for the start, race for the hero offer, console oneself with the other."""
        try:
            async with ready:
                await self.phone.sign_in()
            await gate.wait()
            await asyncio.sleep(max(0, self.plan.starts_at_ms - now_ms()) / 1000)
            await asyncio.sleep(self.rng.expovariate(1.2))
            if not await self._buy(self.plan.hero_offer) and self.rng.random() < 0.5:
                await self._buy(self.plan.side_offer)
        except Exception as error:
            self.tally.errors = [*self.tally.errors, f"{self.buyer.phone}: {error!r}"][:10]
        finally:
            self.tally.finished += 1
            await self.phone.close()

    async def _buy(self, offer_id: str) -> bool:
        """Try for a unit until the sale ends; True when one was held."""
        page = await self.phone.offer(offer_id)
        while now_ms() < self.plan.ends_at_ms:
            qty = 2 if self.rng.random() < 0.15 else 1
            status, answer = await self.phone.claim(offer_id, qty, page["price_id"])
            if status == 201:
                self.tally.held += 1
                await self._after(offer_id, qty, page["price_id"], answer)
                return True
            if answer["code"] == "price_changed":
                page["price_id"] = answer["price_id"]
                continue
            if answer["code"] == "sold_out":
                self.tally.sold_out += 1
            elif answer["code"] == "limit_reached":
                self.tally.limited += 1
                return False
            elif answer["code"] == "closed":
                return False
            await asyncio.sleep(self.rng.uniform(1.0, 3.0))
        return False

    async def _after(self, offer_id: str, qty: int, price_id: str, held: dict[str, Any]) -> None:
        claim_id = held["claim_id"]
        if self.rng.random() < 0.3:
            await self._repeat_keys(offer_id, qty, price_id)
        seen = await self.phone.watch(claim_id, ("ordered", "released"), within_s=20)
        match self.buyer.habit:
            case "lapser":
                seen = await self.phone.watch(claim_id, ("released",), within_s=AFTER_SALE_S)
                self.tally.lapsed += seen.get("state") == "released"
            case "closer":
                await self.pay_after_close(claim_id)
            case "underpayer":
                await self.pay(claim_id, ("wrong_amount",), ("released",))
            case _:
                if await self.pay(claim_id, self.rng.choice(CALLBACKS), ("paid",)):
                    self.tally.paid += 1
                    if self.rng.random() < 0.15:
                        await self.give_back(claim_id, qty)

    async def _repeat_keys(self, offer_id: str, qty: int, price_id: str) -> None:
        """The same key with the same body, then with another: one effect, and a clear no."""
        key = f"twice-{secrets.token_hex(8)}"
        # A second claim of this buyer: it may be held, or refused by the limit; both repeat.
        for units in (1, 1, 2):
            status, answer = await self.phone.claim(offer_id, units, price_id, key=key)
            self.tally.key_reused += answer.get("code") == "key_reused"
            if status != 201 and answer.get("code") != "key_reused":
                return

    async def pay(self, claim_id: str, trouble: tuple[str, ...], until: tuple[str, ...]) -> bool:
        await asyncio.sleep(self.rng.uniform(0.2, 1.5))
        page = await self.phone.begin_pay(claim_id)
        if page is None or not await self.phone.pay(page, claim_id, trouble):
            return False
        seen = await self.phone.watch(claim_id, (*until, "released"), within_s=AFTER_SALE_S)
        return seen.get("state") in until

    async def pay_after_close(self, claim_id: str, *, surely: bool = False) -> bool:
        """Open the payment page, dither until it is closed, and then the money goes out anyway."""
        page = await self.phone.begin_pay(claim_id)
        if page is None:
            return False
        seen = await self.phone.watch(claim_id, ("released",), within_s=AFTER_SALE_S)
        if seen.get("state") != "released" or not (surely or self.rng.random() < 0.7):
            return False
        sent = await self.phone.pay(page, claim_id, ("paid_after_close",))
        self.tally.late += sent
        return sent

    async def give_back(self, claim_id: str, qty: int) -> None:
        seen = await self.phone.watch(claim_id, ("paid",), within_s=5)
        units = 1 if qty == 1 else self.rng.randint(1, qty)
        if seen.get("order_id"):
            self.tally.refunds += await self.phone.refund(seen["order_id"], units)
