"""An evening of group buys by a seed: who opens, joins, leaves, pays late or never, over two wires.

Deadlines come to teams while others still join them; what is left is rescued, subsidised, decided
and refunded as the workers do. `Evening.end` brings everything to rest.
"""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from engine import keys
from engine.inventory import OfferConfig, Reply
from tests.engine.seats import CROWD_ID, Hall

FATES = {
    **{"pays": 50, "pays slowly": 12, "is closed, then paid": 10, "leaves": 6, "never pays": 8},
    **{"pays too little": 4, "pays twice": 4, "gets it back": 6},
}
SEATED = {"held"}
REFUSED = {
    *("team_full", "team_over", "in_team", "team_open", "sold_out", "price_changed"),
    *("limit_reached", "newcomers_only"),
}


class Evening:
    """`buyers` on about `teams` teams of two offers, and on a crowd."""

    def __init__(self, halls: tuple[Hall, Hall], seed: int, buyers: int, teams: int) -> None:
        self.rng = random.Random(seed)
        self.halls, self.hall = halls, halls[0]
        self.buyers, self.wanted = buyers, teams
        self.configs: dict[str, OfferConfig] = {}
        self.teams: dict[str, str] = {}  # id → offer
        self.moved: dict[str, int] = {}  # team → the deadline it was given
        self.payments: set[str] = set()
        self.later: list[Coroutine[Any, Any, object]] = []
        self.serial = 0
        self.ends = False

    async def play(self) -> None:
        """Open the offers, let everybody come, and bring it to rest."""
        rng, half = self.rng, self.buyers // 2
        late = rng.choice(("refund", "seat", "other", "new"))
        rules: dict[str, Any] = {"closing_max_ms": 0, "subsidy_max": 9, "late": late}
        self.configs = {
            "ofr_3": await self.hall.team_offer("ofr_3", rng.randint(half, self.buyers), **rules),
            "ofr_2": await self.hall.team_offer("ofr_2", half, size=2, **rules),
            "ofr_c": await self.hall.crowd_offer(total=half // 4),
        }
        await self.hall.bench.wire.call("HSET", keys.offers(0) + "ofr_c", "closing_max_ms", 0)
        people = [f"mbr_{place}" for place in range(self.buyers)]
        captains, others = people[: self.wanted], people[self.wanted :]
        await self._in_turns([self._open(one) for one in captains])
        await self._in_turns([self._join(one) for one in others])
        await self.end()

    async def _in_turns(self, jobs: list[Coroutine[Any, Any, object]]) -> None:
        """Eighty at once; between them, time passes."""
        self.rng.shuffle(jobs)
        while jobs:
            now, jobs = jobs[:80], jobs[80:]
            if self.later and self.rng.random() < 0.5:
                now, self.later = [*now, *self.later], []
            await asyncio.gather(*now)
            await self._time_passes()

    def _somewhere(self) -> Hall:
        return self.rng.choice(self.halls)

    def _fresh(self, prefix: str) -> str:
        self.serial += 1
        return f"{prefix}_{self.serial}"

    # -- buyers

    async def _open(self, buyer_id: str) -> None:
        offer_id = self.rng.choice(("ofr_3", "ofr_3", "ofr_2"))
        reply = await self._sit(buyer_id, offer_id, "")
        if reply.what == "held":
            self.teams[await self.hall.team_of(reply.details[0])] = offer_id
            await self._live(reply.details[0])

    async def _join(self, buyer_id: str) -> None:
        for _ in range(3):
            if self.rng.random() < 0.15:
                offer_id, team_id = "ofr_c", ""
            else:
                team_id, offer_id = self.rng.choice(list(self.teams.items()))
            reply = await self._sit(buyer_id, offer_id, team_id)
            if reply.what == "held":
                await self._live(reply.details[0])
                return

    async def _sit(self, buyer_id: str, offer_id: str, team_id: str) -> Reply:
        price_id = "prc_1" if offer_id != "ofr_c" else self.rng.choice(("prc_low", "prc_lower"))
        reply = await self._somewhere().seat(
            buyer_id,
            team_id,
            offer_id=offer_id,
            price_id=price_id,
            key=self._fresh("key"),
            consent=self.rng.random() < 0.7,
        )
        assert reply.what in SEATED | REFUSED, reply
        return reply

    async def _live(self, claim_id: str) -> None:
        (fate,) = self.rng.choices(list(FATES), list(FATES.values()))
        stock, attempt_id = self._somewhere().bench.inventory, f"att-{claim_id}"
        if fate == "leaves":
            await stock.release(0, claim_id, attempt_id="", why="cancelled")
        elif fate == "never pays" and self.rng.random() < 0.5:
            await self._lapse(claim_id)
        if fate in ("leaves", "never pays"):
            if self.rng.random() < 0.3:
                self.later.append(self._pay(claim_id))
            return
        if self.rng.random() < 0.9:
            await stock.pay_begin(0, claim_id, attempt_id)
        if fate == "pays slowly":
            self.later.append(self._pay(claim_id))
        elif fate == "is closed, then paid":
            await stock.release(0, claim_id, attempt_id=attempt_id, why="closed")
            self.later.append(self._pay(claim_id))
        else:
            await self._pay(claim_id, "wrong_amount" if fate == "pays too little" else "ok")
        if fate == "pays twice":
            await self._pay(claim_id)
        elif fate == "gets it back":
            await stock.give_back(0, claim_id, units=1, refund_id=f"rfd-{claim_id}")

    async def _pay(self, claim_id: str, verdict: str = "ok") -> None:
        """The callback comes once or twice, over any wire."""
        fact_id = self._fresh("fct")
        self.payments.add(fact_id)
        calls = [
            self._somewhere().bench.confirm(claim_id, f"att-{claim_id}", fact_id, verdict)
            for _ in range(self.rng.choice((1, 1, 2)))
        ]
        replies = await asyncio.gather(*calls)
        assert sum(reply.what != "done" for reply in replies) == 1, replies

    async def _lapse(self, claim_id: str) -> None:
        await self.hall.bench.wire.call("ZADD", keys.deadlines(0), "XX", 1, claim_id)

    # -- time and workers

    async def _time_passes(self) -> None:
        open_ones = [team_id for team_id in self.teams if team_id not in self.moved]
        due = self.rng.sample(open_ones, min(len(open_ones), self.rng.randrange(12)))
        for team_id in due:
            await self._deadline(team_id)
        if self.rng.random() < 0.3 and open_ones:
            await self.hall.teams.subsidise(
                0, self.rng.choice(open_ones), command_id=self._fresh("cmd"), seats=1
            )
        await self._sweep()
        await self._close()

    async def _deadline(self, team_id: str) -> None:
        await self.hall.deadline_passes(team_id)
        state = await self.hall.teams.state(0, team_id)
        self.moved[team_id] = int(state["deadline_ms"])

    async def _sweep(self) -> None:
        meta = await self.hall.bench.inventory.hash_of(keys.meta(0))
        await self.hall.bench.inventory.settled(0, int(meta["seq"]), epoch=1)
        await self.hall.bench.inventory.sweep(0, 1_000)

    async def _close(self) -> None:
        reply = await self.hall.teams.close(0, 1_000, again_ms=0)
        for team_id in reply.details[1:]:
            await self._decide(team_id)

    async def _decide(self, team_id: str) -> None:
        """As the worker does: the unpaid leave, a rescue is tried, and then it is decided."""
        seats = await self.hall.teams.seats(0, team_id)
        if self.rng.random() < 0.6 and not self.ends:
            return  # the next look is soon enough
        if int((await self.hall.teams.state(0, team_id))["paying"]):
            await self.hall.teams.decide(0, team_id, list(seats.values()))
        for claim_id in (await self.hall.teams.seats(0, team_id)).values():
            near = await self.hall.teams.joinable(0, self.teams.get(team_id, "ofr_c"), 0, 50)
            if near and self.rng.random() < 0.7:
                await self.hall.teams.move(0, claim_id, self.rng.choice(near))
        await self.hall.teams.decide(0, team_id, [])

    async def end(self) -> None:
        """Every deadline passes, every payment comes or is closed, every loser is refunded."""
        self.ends = True
        landed: dict[str, str] = {}
        for _ in range(3):  # a late payment may open a team of its own
            jobs, self.later = self.later, []
            await asyncio.gather(*jobs)
            view = await self.hall.bench.view()
            landed = {one: team.offer_id for one, team in view.teams.items()}
            self.teams = landed
            for team_id in view.undecided:
                await self._deadline(team_id)
            for claim in view.claims.values():
                if claim.state == "held":
                    await self._lapse(claim.claim_id)
            await self._sweep()
            for _ in range(3):
                await self._close()
        view = await self.hall.bench.view()
        for claim in view.claims.values():
            if claim.state == "paying":
                await self.hall.bench.inventory.release(
                    0, claim.claim_id, attempt_id=claim.attempt_id, why="closed"
                )
            team = view.teams[claim.team_id]
            if claim.state == "paid" and team.state == "failed":
                reply = await self.hall.bench.inventory.give_back(
                    0, claim.claim_id, units=claim.units, refund_id=f"rfd-failed-{claim.claim_id}"
                )
                assert reply.details == ("0",)
        assert CROWD_ID in view.teams
