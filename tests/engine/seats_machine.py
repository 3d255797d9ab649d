"""The first half of a machine of teams: its offers, the seat command, and what moves time.

Offers: a pair with a price for its captain and a budget (`ofr_2`), three new customers (`ofr_3`)
and a crowd with a ladder (`ofr_c`). Time is the server's; the machine moves deadlines instead.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from engine import keys
from engine.ids import now_ms
from engine.inventory import OfferConfig, Reply
from engine.replay import decide, decide_payments, decide_seats
from engine.replay.shard import Claim, Team
from tests.engine.hotshard import HOUR_MS, config
from tests.engine.parity import Parity
from tests.engine.seats import CROWD_ID, crowd_rules, team_rules

T = TypeVar("T")

BUYERS = tuple(f"mbr_{n}" for n in range(1, 6))
OFFERS = ("ofr_2", "ofr_2", "ofr_3", "ofr_c")
LANDINGS = ("new", "new", "new", "other", "seat", "refund")
STEPS = ((2, "prc_low", 800), (3, "prc_lower", 700))
DEADLINES = "{s0}:team:deadlines"

offers = st.sampled_from(OFFERS)
places = st.integers(0, 30)
attempts = st.sampled_from(("att_1", "att_1", "att_2"))


def rules_of(
    offer_id: str, late: str, closing_max_ms: int, charging: str, on_cancel: str = "finish"
) -> OfferConfig:
    """The three offers' rules: one campaign, wide windows, tight limits."""
    limits: dict[str, Any] = {"per_order_max": 2, "per_buyer_max": 2, "per_campaign_max": 4}
    limits["on_cancel"] = on_cancel
    if offer_id == "ofr_c":
        prices = STEPS[0][1:] if charging == "low" else ("prc_1", 1_000)
        crowd = crowd_rules(steps=STEPS, charging=charging, closing_max_ms=closing_max_ms)
        late = "refund" if late == "refund" else "seat"
        return config(kind="crowd", late=late, team=crowd, prices=((*prices, 0),), **limits)
    team = team_rules(
        size=int(offer_id[-1]),
        closing_max_ms=closing_max_ms,
        newcomers_only=offer_id == "ofr_3",
        captain_price=("prc_captain", 500) if offer_id == "ofr_2" else None,
        subsidy_max=1 if offer_id == "ofr_2" else 2,
    )
    return config(kind="team", late=late, team=team, **limits)


class Seats(Parity):
    """The offers, the seat command, and what moves time."""

    @initialize(
        totals=st.tuples(st.integers(2, 7), st.integers(3, 7), st.integers(2, 5)),
        late=st.sampled_from(LANDINGS),
        closing_max_ms=st.sampled_from((0, 0, HOUR_MS)),
        charging=st.sampled_from(("low", "low", "regular")),
        on_cancel=st.sampled_from(("finish", "refund", "honour")),
    )
    def begin(
        self,
        totals: tuple[int, int, int],
        late: str,
        closing_max_ms: int,
        charging: str,
        on_cancel: str,
    ) -> None:
        self.world.run(self._begin())
        self.looked: set[str] = set()
        self.began_ms = now_ms()
        self.facts: list[str] = []
        for offer_id, total in zip(("ofr_2", "ofr_3", "ofr_c"), totals, strict=True):
            rules = self.configs[offer_id] = rules_of(
                offer_id, late, closing_max_ms, charging, on_cancel
            )
            self._offer_open(offer_id, rules, total)
        # Something to go on with: two captains who agreed to be moved, one of new customers.
        for offer_id, buyer_id in (("ofr_2", "mbr_1"), ("ofr_2", "mbr_2"), ("ofr_3", "mbr_3")):
            price_id = "prc_captain" if offer_id == "ofr_2" else "prc_1"
            reply = self._seat(offer_id, buyer_id, "", price_id, consent=True)
            if reply.what == "held":
                self._confirm(reply.details[0], self.fresh("fct"), "ok")

    def _confirm(self, claim_id: str, fact_id: str, verdict: str) -> None:
        named: dict[str, Any] = {"attempt_id": "att_1", "fact_id": fact_id, "verdict": verdict}
        self.facts.append(fact_id)
        self.check(
            lambda: self.bench.inventory.pay_confirm(0, claim_id, **named),
            lambda at, nonce: decide_payments.pay_confirm(
                self.model, claim_id=claim_id, **named, nonce=nonce, now_ms=at
            ),
        )
        self.tick()

    def _offer_open(self, offer_id: str, rules: OfferConfig, total: int) -> None:
        opening: dict[str, Any] = {"command_id": f"cmd_{offer_id}", "total": total}
        self.check(
            lambda: self.bench.inventory.offer_open(0, offer_id, config=rules, **opening),
            lambda at, _: decide.offer_open(self.model, offer_id=offer_id, **opening, now_ms=at),
        )

    # -- what there is to choose from

    def pick(self, among: Sequence[T], place: int) -> T | None:
        """One of these, or none of none."""
        return among[place % len(among)] if among else None

    def claims(self, fits: Callable[[Claim], bool]) -> list[str]:
        """By birth: a snapshot's model has its claims in any order."""
        born = sorted(self.model.claims.values(), key=lambda one: one.seq)
        return [one.claim_id for one in born if fits(one)]

    def open(self) -> list[Team]:
        return [team for team in self.undecided() if team.state in ("forming", "reached")]

    def undecided(self, offer_id: str = "") -> list[Team]:
        return [
            team
            for _, team in sorted(self.model.teams.items())
            if team.is_undecided and offer_id in ("", team.offer_id)
        ]

    # -- seats

    @rule(
        offer_id=offers,
        buyer_id=st.sampled_from(BUYERS),
        consent=st.booleans(),
        newcomer=st.sampled_from((True, True, True, False)),
    )
    def open_a_team(self, offer_id: str, buyer_id: str, consent: bool, newcomer: bool) -> None:
        price_id = "prc_captain"
        if offer_id != "ofr_2":
            price_id = decide.price_now(self.model, offer_id, now_ms())[0]
        self._seat(offer_id, buyer_id, "", price_id, consent=consent, newcomer=newcomer)

    @precondition(lambda self: self.open())
    @rule(
        place=places,
        buyer=places,
        consent=st.booleans(),
        newcomer=st.sampled_from((True, True, True, False)),
        pays=st.booleans(),
    )
    def join(self, place: int, buyer: int, consent: bool, newcomer: bool, pays: bool) -> None:
        """Somebody who does not sit there yet; and perhaps pays at once."""
        team = self.pick(self.open(), place)
        assert team is not None
        strangers = [one for one in BUYERS if (team.team_id, one) not in self.model.seats]
        price_id = decide.price_now(self.model, team.offer_id, now_ms())[0]
        reply = self._seat(
            team.offer_id,
            self.pick(strangers, buyer) or BUYERS[0],
            team.team_id,
            price_id,
            consent=consent,
            newcomer=newcomer,
        )
        if pays and reply.what == "held":
            self._confirm(reply.details[0], self.fresh("fct"), "ok")

    @rule(
        offer_id=st.sampled_from((*OFFERS, "ofr_x")),
        buyer_id=st.sampled_from(BUYERS),
        team=st.one_of(st.just("tem_x"), st.just(""), st.just(CROWD_ID), places),
        price_id=st.sampled_from(("prc_1", "prc_1", "prc_low", "prc_captain")),
        qty=st.sampled_from((1, 1, 2, 3)),
        key=st.sampled_from(("k1", "k2")),
        lag_max_ms=st.sampled_from((HOUR_MS, HOUR_MS, HOUR_MS, -1)),
    )
    def seat_anyhow(
        self,
        offer_id: str,
        buyer_id: str,
        team: str | int,
        price_id: str,
        qty: int,
        key: str,
        lag_max_ms: int,
    ) -> None:
        team_id = team if isinstance(team, str) else self.pick(sorted(self.model.teams), team) or ""
        self._seat(offer_id, buyer_id, team_id, price_id, qty=qty, key=key, lag_max_ms=lag_max_ms)

    def _seat(
        self,
        offer_id: str,
        buyer_id: str,
        team_id: str,
        price_id: str,
        *,
        consent: bool = False,
        newcomer: bool = False,
        traits: str = "",
        qty: int = 1,
        key: str = "",
        lag_max_ms: int = HOUR_MS,
    ) -> Reply:
        ask: dict[str, Any] = {
            **{"offer_id": offer_id, "campaign_id": "cmp_a", "buyer_id": buyer_id, "qty": qty},
            **{"price_id": price_id, "key": key or self.fresh("key"), "touch": "share:é"},
            **{"body_hash": f"{qty}{price_id}{team_id}", "team_id": team_id},
            **{"consent": consent, "traits": ("n" if newcomer else "") + traits},
        }
        request = decide_seats.SeatRequest(**ask)
        reply = self.check(
            lambda: self.world.seatings[lag_max_ms].seat(0, **ask),
            lambda at, nonce: decide_seats.seat(
                self.model, request, nonce=nonce, now_ms=at, lag_max_ms=lag_max_ms
            ),
        )
        self.tick()
        return reply

    @precondition(lambda self: self.model.seq % 5 == 0)
    @rule(offer_id=offers, buyer_id=st.sampled_from(BUYERS))
    def claim(self, offer_id: str, buyer_id: str) -> None:
        """A group buy is not bought without a seat."""
        ask: dict[str, Any] = {
            **{"offer_id": offer_id, "campaign_id": "cmp_a", "buyer_id": buyer_id, "qty": 1},
            **{"price_id": "prc_1", "key": self.fresh("key"), "body_hash": "1", "touch": ""},
        }
        self.check(
            lambda: self.bench.inventory.claim(0, **ask),
            lambda at, nonce: decide.claim(
                self.model,
                decide.ClaimRequest(**ask),
                nonce=nonce,
                now_ms=at,
                lag_max_ms=HOUR_MS,
            ),
        )

    def ago(self, back_ms: int) -> int:
        """A time so far back (or ahead), later with each call: what is due first must not hang
        on how fast this machine ran."""
        self.serial += 1
        return self.began_ms - back_ms + self.serial

    def tick(self) -> None:
        """Times in different ms: who is earliest must not hang on the clock's luck."""
        self.world.run(asyncio.sleep(0.001))

    # -- time

    @precondition(lambda self: self.undecided())
    @rule(
        place=places,
        back_ms=st.sampled_from((HOUR_MS // 2, HOUR_MS // 2, 2 * HOUR_MS, -HOUR_MS // 4)),
    )
    def deadline_moves(self, place: int, back_ms: int) -> None:
        """To the past, or back into the future; holds and times to pay go with it."""
        team = self.pick(self.undecided(), place)
        assert team is not None
        self._deadline(team, back_ms)

    def _deadline(self, team: Team, back_ms: int) -> None:
        team.deadline_ms = self.ago(back_ms)
        self.looked.discard(team.team_id)
        self.world.run(self._moved(team))
        for claim in self.model.claims.values():
            if claim.team_id == team.team_id and claim.state == "held" and back_ms > 0:
                self._lapse(claim)

    async def _moved(self, team: Team) -> None:
        call, prefix = self.bench.wire.call, keys.groups(0)
        await call("HSET", prefix + team.team_id, "deadline_ms", team.deadline_ms)
        await call("ZADD", prefix + "deadlines", "XX", team.deadline_ms, team.team_id)
        joinable = f"{prefix}joinable:{team.offer_id}"
        await call("ZADD", joinable, "XX", team.deadline_ms, team.team_id)

    @precondition(lambda self: self.claims(lambda one: one.state == "held"))
    @rule(place=places)
    def hold_lapses(self, place: int) -> None:
        claim_id = self.pick(self.claims(lambda one: one.state == "held"), place)
        if claim_id is not None:
            self._lapse(self.model.claims[claim_id])

    def _lapse(self, claim: Claim) -> None:
        self.tick()
        claim.expires_at_ms = self.ago(HOUR_MS // 4)
        self.world.run(self._lapsed(claim.claim_id, claim.expires_at_ms))

    async def _lapsed(self, claim_id: str, at_ms: int) -> None:
        call = self.bench.wire.call
        await call("HSET", keys.claims(0) + claim_id, "expires_at_ms", at_ms)
        await call("ZADD", keys.deadlines(0), "XX", at_ms, claim_id)

    # Late, or most runs would be about nothing but a closed offer.
    @precondition(lambda self: self.model.seq >= 25)
    @rule(
        offer_id=offers,
        state=st.sampled_from(("cancelled", "cancelled", "cancelled", "closed", "frozen")),
    )
    def offer_closes(self, offer_id: str, state: str) -> None:
        named: dict[str, Any] = {"command_id": f"cmd_{state}_{offer_id}", "state": state}
        self.check(
            lambda: self.bench.inventory.offer_close(0, offer_id, **named),
            lambda at, _: decide.offer_close(self.model, offer_id=offer_id, **named, now_ms=at),
        )

    @invariant()
    def teams_are_looked_at_when_due(self) -> None:
        """A team that nobody looked at yet stands in the list by its deadline."""
        for team_id, score in self.scores().items():
            if team_id not in self.looked:
                assert score == self.model.teams[team_id].deadline_ms

    def scores(self) -> dict[str, int]:
        """Each undecided team: when it is looked at next."""
        return self.world.run(self._scores())

    async def _scores(self) -> dict[str, int]:
        flat = await self.bench.wire.call("ZRANGE", DEADLINES, 0, -1, "WITHSCORES")
        texts = [part.decode() for part in flat]
        return dict(zip(texts[::2], map(int, texts[1::2]), strict=True))
