"""Whatever the real scripts say of teams, in any order of commands, breaks no law of teams."""

from collections.abc import AsyncIterator
from random import Random

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.audit.team_walk import TeamWalk
from tests.engine.hotshard import bench
from tests.engine.seats import CROWD_ID, Hall

STEPS = 60
SEEDS = 8


@pytest_asyncio.fixture
async def hall(hot: Redis, valkey_url: str) -> AsyncIterator[Hall]:
    async with bench(valkey_url) as opened:
        await opened.open()
        yield Hall(opened)


class Crowd:
    """Buyers who do anything at any time."""

    def __init__(self, hall: Hall, rng: Random) -> None:
        self.hall, self.rng = hall, rng
        self.claims: list[str] = []
        self.teams: list[str] = []
        self._count = 0

    async def step(self) -> None:
        """One command, whatever it is answered."""
        acts = (self.seat, self.seat, self.crowd, self.begin, self.pay, self.pay, self.leave)
        await self.rng.choice((*acts, self.refund, self.end, self.rescue, self.subsidise))()

    async def seat(self) -> None:
        team_id = self.rng.choice(["", *self.teams])
        self._count += 1
        reply = await self.hall.seat(
            f"b{self.rng.randrange(9)}",
            team_id,
            key=f"key-{self._count}",
            consent=self.rng.random() < 0.6,
        )
        if reply.what == "held":
            self.claims.append(reply.details[0])
            if not team_id:
                self.teams.append(await self.hall.team_of(reply.details[0]))

    async def crowd(self) -> None:
        self._count += 1
        price_id = self.rng.choice(("prc_low", "prc_lower"))
        reply = await self.hall.seat(
            f"b{self.rng.randrange(9)}",
            offer_id="ofr_c",
            price_id=price_id,
            key=f"key-{self._count}",
        )
        if reply.what == "held":
            self.claims.append(reply.details[0])

    async def begin(self) -> None:
        if self.claims:
            claim_id = self.rng.choice(self.claims)
            await self.hall.bench.inventory.pay_begin(0, claim_id, f"att-{claim_id}")

    async def pay(self) -> None:
        if self.claims:
            await self.hall.pay(self.rng.choice(self.claims))

    async def leave(self) -> None:
        if self.claims:
            claim_id, why = self.rng.choice(self.claims), self.rng.choice(("cancelled", "closed"))
            attempt = "" if why == "cancelled" else f"att-{claim_id}"
            await self.hall.bench.inventory.release(0, claim_id, attempt_id=attempt, why=why)

    async def refund(self) -> None:
        if self.claims:
            claim_id = self.rng.choice(self.claims)
            await self.hall.bench.inventory.give_back(
                0, claim_id, units=1, refund_id=f"rfd-{claim_id}"
            )

    async def end(self) -> None:
        """A deadline passes; closing and decision come when they come."""
        team_id = self.rng.choice([CROWD_ID, *self.teams])
        if self.rng.random() < 0.3 and await self.hall.teams.state(0, team_id):
            await self.hall.deadline_passes(team_id)
        await self.hall.bench.inventory.sweep(0, 100)
        closing = (await self.hall.teams.close(0, 100, again_ms=0)).details[1:]
        for one in closing:
            if self.rng.random() < 0.5:
                await self.hall.teams.decide(0, one, self.claims)

    async def rescue(self) -> None:
        if self.claims and self.teams:
            await self.hall.teams.move(0, self.rng.choice(self.claims), self.rng.choice(self.teams))

    async def subsidise(self) -> None:
        if self.teams:
            self._count += 1
            await self.hall.teams.subsidise(
                0, self.rng.choice(self.teams), command_id=f"tcm-{self._count}", seats=1
            )


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_no_law_is_broken_by_what_the_scripts_say(hall: Hall, seed: int) -> None:
    rng = Random(seed)
    configs = {
        "ofr_t": await hall.team_offer(
            total=rng.choice((9, 40)),
            size=rng.choice((2, 3)),
            subsidy_max=5,
            closing_max_ms=0,
            late=rng.choice(("refund", "seat", "other", "new")),
        ),
        "ofr_c": await hall.crowd_offer(),
    }
    crowd = Crowd(hall, rng)
    for _ in range(STEPS):
        await crowd.step()
    walk = TeamWalk(configs)
    for event in await hall.bench.events():
        walk.read(event, 0, 1)
    walk.end()
    assert {law: problems for law, problems in walk.problems.items() if problems} == {}
    assert min(walk.facts[law] for law in ("T1", "T2", "T3", "T4", "T6", "T7", "I9")) > 0
