"""A machine of claims and payments: each rule is a command, on the scripts and on the model.

Time is the server's; the machine moves windows, prices and deadlines instead.
"""

import asyncio
from typing import Any, ClassVar

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    initialize,
    multiple,
    precondition,
    rule,
)

from engine import keys
from engine.ids import now_ms
from engine.inventory import OfferConfig, Reply
from engine.replay import decide, decide_payments
from engine.replay.view import shard_of_view
from tests.engine.hotshard import HOUR_MS, config
from tests.engine.parity import EPOCH, Parity

OFFERS = ("ofr_1", "ofr_1", "ofr_2", "ofr_3")
BUYERS = ("mbr_1", "mbr_2", "mbr_3")
offers = st.sampled_from(OFFERS)
LIMITS = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))
LANDINGS = st.sampled_from(("refund", "retake", "retake"))
attempts = st.sampled_from(("att_1", "att_2"))
AUDIENCES = st.sampled_from(("all", "all", "new", "members"))
TRAITS = st.sampled_from(("nmb", "nmb", "n", "m", ""))


class Scripts(Parity):
    """Rules are commands."""

    scan: ClassVar[dict[str, Any]] = {}  # how far a waiting list is looked at, where not as usual
    claims: Bundle[str] = Bundle("claims")
    facts: Bundle[str] = Bundle("facts")

    @initialize(
        target=claims,
        totals=st.tuples(st.integers(1, 6), st.integers(0, 3)),
        hold_ms=st.sampled_from((0, HOUR_MS)),
        limits=LIMITS,
        late=LANDINGS,
        audience=AUDIENCES,
    )
    def begin(
        self,
        totals: tuple[int, int],
        hold_ms: int,
        limits: tuple[int, int, int],
        late: str,
        audience: str,
    ) -> Any:
        """An open shard with two offers of one campaign and two claims; a third is nobody's."""
        self.world.run(self._begin())
        self.offer_open("ofr_1", totals[0], "cmp_a", hold_ms, limits, late, audience)
        self.offer_open("ofr_2", totals[1], "cmp_a", HOUR_MS, limits, "retake", "new")
        for buyer_id in BUYERS[:2]:
            self._claim("ofr_1", buyer_id, 1, "prc_2", "k1")
        return multiple("clm-s0-e1-1-0000000000000000", *self.model.claims)

    @rule(
        offer_id=offers,
        total=st.integers(0, 6),
        campaign_id=st.sampled_from(("cmp_a", "cmp_b")),
        hold_ms=st.sampled_from((0, HOUR_MS)),
        limits=LIMITS,
        late=LANDINGS,
        audience=AUDIENCES,
    )
    def offer_open(
        self,
        offer_id: str,
        total: int,
        campaign_id: str,
        hold_ms: int,
        limits: tuple[int, int, int],
        late: str,
        audience: str,
    ) -> None:
        now = now_ms()
        rules = config(
            campaign_id=campaign_id,
            hold_ms=hold_ms,
            late=late,
            audience=audience,
            per_order_max=limits[0],
            per_buyer_max=limits[1],
            per_campaign_max=limits[2],
            prices=(
                ("prc_1", 1_000, 0),
                ("prc_2", 900, now - HOUR_MS),
                ("prc_3", 800, now + HOUR_MS),
            ),
        )
        self.configs.setdefault(offer_id, rules)
        command_id = self.fresh("cmd")
        self.check(
            lambda: self.bench.inventory.offer_open(
                0, offer_id, command_id=command_id, config=rules, total=total
            ),
            lambda at, _: decide.offer_open(
                self.model, offer_id=offer_id, command_id=command_id, total=total, now_ms=at
            ),
        )

    @rule(offer_id=offers, units=st.integers(1, 3), again=st.booleans())
    def offer_restock(self, offer_id: str, units: int, again: bool) -> None:
        named: dict[str, Any] = {
            "offer_id": offer_id,
            "command_id": "cmd_again" if again else self.fresh("cmd"),
            "units": units,
        }
        self.check(
            lambda: self.bench.inventory.offer_restock(0, **named),
            lambda at, nonce: decide.offer_restock(
                self.model, **named, **self.scan, nonce=nonce, now_ms=at
            ),
        )

    @rule(
        offer_id=offers,
        command_id=st.sampled_from(("cmd_close_1", "cmd_close_2")),
        state=st.sampled_from(("closed", "frozen")),
    )
    def offer_close(self, offer_id: str, command_id: str, state: str) -> None:
        named: dict[str, Any] = {
            "offer_id": offer_id,
            "command_id": f"{command_id}_{offer_id}",
            "state": state,
        }
        self.check(
            lambda: self.bench.inventory.offer_close(0, **named),
            lambda at, _: decide.offer_close(self.model, **named, now_ms=at),
        )

    @precondition(lambda self: self.model.offers)
    @rule(
        offer_id=offers,
        window=st.sampled_from(((-2, -1), (1, 2), (-1, 1), (-1, 1))),
        second_price=st.sampled_from((-1, 1)),
    )
    def time_passes(self, offer_id: str, window: tuple[int, int], second_price: int) -> None:
        """Move an offer's window and its second price around now, on both sides."""
        if offer_id not in self.model.offers:
            return
        now = now_ms()
        rules = msgspec.structs.replace(
            self.configs[offer_id],
            starts_at_ms=now + window[0] * HOUR_MS,
            ends_at_ms=now + window[1] * HOUR_MS,
            prices=tuple(
                sorted(
                    (
                        ("prc_1", 1_000, 0),
                        ("prc_2", 900, now + second_price * HOUR_MS),
                        ("prc_3", 800, now + 2 * HOUR_MS),
                    ),
                    key=lambda price: price[2],
                )
            ),
        )
        self.configs[offer_id] = self.model.offers[offer_id].config = rules
        self.world.run(self._move(offer_id, rules))

    async def _move(self, offer_id: str, rules: OfferConfig) -> None:
        call = self.bench.wire.call
        flat = [part for pair in rules.flat().items() for part in pair]
        await call("HSET", keys.offers(0) + offer_id, *flat)

    # -- claims

    @rule(target=claims, offer_id=offers, buyer_id=st.sampled_from(BUYERS), traits=TRAITS)
    def claim(self, offer_id: str, buyer_id: str, traits: str) -> Any:
        """What a page sends: the price that holds, a fresh key, one unit."""
        rules = self.configs.get(offer_id)
        price_id = decide.price_at(rules, now_ms())[0] if rules else "prc_1"
        return self._claim(offer_id, buyer_id, 1, price_id, self.fresh("key"), traits=traits)

    @rule(
        target=claims,
        offer_id=offers,
        buyer_id=st.sampled_from(BUYERS),
        qty=st.sampled_from((1, 1, 2, 3)),
        price_id=st.sampled_from(("prc_2", "prc_2", "prc_1", "prc_x")),
        key=st.sampled_from(("k1", "k2", "k:3 x")),
        lag_max_ms=st.sampled_from((HOUR_MS, HOUR_MS, -1)),
    )
    def claim_anyhow(
        self, offer_id: str, buyer_id: str, qty: int, price_id: str, key: str, lag_max_ms: int
    ) -> Any:
        return self._claim(offer_id, buyer_id, qty, price_id, key, lag_max_ms)

    def _claim(
        self,
        offer_id: str,
        buyer_id: str,
        qty: int,
        price_id: str,
        key: str,
        lag_max_ms: int = HOUR_MS,
        traits: str = "nmb",
    ) -> Any:
        campaign = self.configs[offer_id].campaign_id if offer_id in self.configs else "cmp_a"
        named: dict[str, Any] = {
            "offer_id": offer_id,
            "campaign_id": campaign,
            "buyer_id": buyer_id,
            "qty": qty,
            "price_id": price_id,
            "key": key,
            "body_hash": f"{qty}{price_id}",
            "touch": "room:rom_1 share:é",
            "traits": traits,
        }
        ask = decide.ClaimRequest(**named)
        reply = self.check(
            lambda: self.world.inventories[lag_max_ms].claim(0, **named),
            lambda at, nonce: decide.claim(
                self.model, ask, nonce=nonce, now_ms=at, lag_max_ms=lag_max_ms
            ),
        )
        if reply.what != "held":
            return multiple()
        # Deadlines in different ms: else the sweeper's order hangs on the clock's luck, and a
        # machine that does not play the same twice is called flaky.
        self.world.run(asyncio.sleep(0.001))
        return reply.details[0]

    @rule(claim_id=claims, attempt_id=attempts)
    def pay_begin(self, claim_id: str, attempt_id: str) -> None:
        self.check(
            lambda: self.bench.inventory.pay_begin(0, claim_id, attempt_id),
            lambda at, _: decide_payments.pay_begin(
                self.model, claim_id=claim_id, attempt_id=attempt_id, now_ms=at
            ),
        )

    @rule(
        target=facts,
        claim_id=claims,
        attempt_id=attempts,
        verdict=st.sampled_from(("ok", "ok", "ok", "wrong_amount", "wrong_currency")),
    )
    def pay_confirm(self, claim_id: str, attempt_id: str, verdict: str) -> str:
        fact_id = self.fresh("fct")
        self._pay_confirm(claim_id, attempt_id, fact_id, verdict)
        return fact_id

    @precondition(lambda self: self.released)
    @rule(target=facts, place=st.integers(0, 9))
    def pay_late(self, place: int) -> str:
        fact_id = self.fresh("fct")
        released = self.released
        self._pay_confirm(released[place % len(released)], "att_1", fact_id, "ok")
        return fact_id

    @property
    def released(self) -> list[str]:
        return [one.claim_id for one in self.model.claims.values() if one.state == "released"]

    @rule(claim_id=claims, attempt_id=attempts, fact_id=facts, verdict=st.sampled_from(("ok", "x")))
    def pay_confirm_again(self, claim_id: str, attempt_id: str, fact_id: str, verdict: str) -> None:
        self._pay_confirm(claim_id, attempt_id, fact_id, verdict)

    def _pay_confirm(self, claim_id: str, attempt_id: str, fact_id: str, verdict: str) -> None:
        named: dict[str, Any] = {"attempt_id": attempt_id, "fact_id": fact_id, "verdict": verdict}
        self.check(
            lambda: self.bench.inventory.pay_confirm(0, claim_id, **named),
            lambda at, nonce: decide_payments.pay_confirm(
                self.model, claim_id=claim_id, **named, **self.scan, nonce=nonce, now_ms=at
            ),
        )

    @rule(
        claim_id=claims,
        attempt_id=attempts,
        why=st.sampled_from(("closed", "void", "rejected", "cancelled", "not_new", "lapsed")),
    )
    def release(self, claim_id: str, attempt_id: str, why: str) -> None:
        self._release(claim_id, attempt_id, why)

    def _release(self, claim_id: str, attempt_id: str, why: str) -> None:
        named: dict[str, Any] = {"attempt_id": attempt_id, "why": why}
        self.check(
            lambda: self.bench.inventory.release(0, claim_id, **named),
            lambda at, nonce: decide.release(
                self.model, claim_id=claim_id, **named, **self.scan, nonce=nonce, now_ms=at
            ),
        )

    @rule(claim_id=claims, units=st.integers(1, 3), again=st.booleans())
    def give_back(self, claim_id: str, units: int, again: bool) -> None:
        named: dict[str, Any] = {
            "claim_id": claim_id,
            "units": units,
            "refund_id": "rfd_again" if again else self.fresh("rfd"),
        }
        self.check(
            lambda: self.bench.inventory.give_back(0, **named),
            lambda at, nonce: decide_payments.give_back(
                self.model, **named, **self.scan, nonce=nonce, now_ms=at
            ),
        )

    @rule(batch=st.integers(1, 4), all_settled=st.booleans())
    def sweep(self, batch: int, all_settled: bool) -> None:
        if all_settled:
            self.settled(0)
        self.check(
            lambda: self.bench.inventory.sweep(0, batch),
            lambda at, nonce: decide.sweep(
                self.model, batch=batch, **self.scan, nonce=nonce, now_ms=at
            ),
        )

    # -- the settler, and a new epoch

    @rule(behind=st.integers(0, 3))
    def settled(self, behind: int) -> None:
        seq = max(self.model.seq - behind, 0)
        reply = self.world.run(self.bench.inventory.settled(0, seq, epoch=EPOCH))
        assert reply == Reply("settled", (str(seq),))
        self.model.settle(seq)

    @rule()
    def snapshot(self) -> None:
        """A model that begins at the hot state goes on as well as the old one."""
        replayed = shard_of_view(0, self.world.run(self.bench.view()))
        replayed.configs, replayed.unsettled = self.configs, self.model.unsettled
        self.model = replayed
