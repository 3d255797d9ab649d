"""A rebuild at any time changes nothing of teams and crowds: random acts, flushed in between."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.offer.models import Offer
from engine.offers import TeamRules
from tests.workers.seats import (
    HOUR_MS,
    WIDE,
    cancelled,
    crowd_of,
    deadline_passes,
    subsidised,
    team_of,
)
from tests.workers.stage import Stage
from tests.workers.test_rebuild_property import Evening, World, world
from workers.cancelled import honour

__all__ = ["world"]

BUYERS = ("v", "w", "x", "y", "z")
CROWD_STEPS = ((2, "p1", 990), (4, "p2", 990))
which = st.integers(0, 9)
buyers = st.sampled_from(BUYERS)
OPEN = st.tuples(st.just("opens"), buyers, st.booleans())
JOIN = st.tuples(st.just("joins"), buyers, which, st.booleans())
IN_CROWD = st.tuples(st.just("in_crowd"), buyers)
PAY = st.tuples(st.just("pays"), which)
ACTS = st.one_of(
    *(OPEN, OPEN, JOIN, JOIN, JOIN, IN_CROWD, IN_CROWD, PAY, PAY, PAY),
    st.tuples(st.just("begin"), which),
    st.tuples(st.just("confirm"), which, st.sampled_from(("ok", "ok", "wrong_amount"))),
    st.tuples(st.just("close_attempt"), which),
    st.tuples(st.just("lapse"), which),
    st.tuples(st.just("cancel"), which),
    st.tuples(st.just("give_back"), which, st.just(1)),
    st.tuples(st.just("give_back"), which, st.just(1)),
    st.tuples(st.just("ends"), which, st.booleans()),
    st.tuples(st.just("moves"), which, which),
    st.tuples(st.just("fills"), which),
    st.tuples(st.just("kills"), which),
    st.tuples(st.just("closes_early")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("rebuild")),
)
OPENING = ("opens", "v", True), ("pays", 0), ("joins", "w", 0, False), ("in_crowd", "x")


_OWN = ("opens", "joins", "in_crowd", "ends", "fills", "kills", "closes_early")


class TeamEvening(Evening):
    """An offer of teams, a crowd, and what was done with them."""

    def __init__(self, stage: Stage, offers: list[Offer]) -> None:
        super().__init__(stage, offers)
        self.teams: list[str] = []
        self.seats = 0

    async def do(self, name: str, *given: Any) -> None:
        if name in _OWN:
            await getattr(self, name)(*given)
        else:
            await super().do(name, *given)

    async def _seat(self, offer: Offer, buyer: str, team_id: str, **more: Any) -> None:
        self.seats += 1
        named = {"key": f"k{self.seats}", **more}
        reply = await self.stage.seat(offer, buyer, team_id, **named)
        if reply.what == "price_changed":
            named = {**named, "price_id": reply.details[0]}
            reply = await self.stage.seat(offer, buyer, team_id, **named)
        if reply.what == "held":
            self.claims.append((offer, reply.details[0], 1))
            found = await team_of(self.stage, offer, reply.details[0])
            if offer is self.offers[0] and found not in self.teams:
                self.teams.append(found)

    def _team(self, number: int) -> str:
        return self.teams[number % len(self.teams)] if self.teams else "tem_nobody"

    async def opens(self, buyer: str, consent: bool) -> None:
        await self._seat(self.offers[0], buyer, "", consent=consent)

    async def joins(self, buyer: str, team: int, newcomer: bool) -> None:
        await self._seat(
            self.offers[0], buyer, self._team(team), traits="n" * newcomer, consent=True
        )

    async def in_crowd(self, buyer: str) -> None:
        await self._seat(self.offers[1], buyer, "")

    async def pays(self, offer: Offer, claim_id: str, qty: int) -> None:
        await self.begin(offer, claim_id, qty)
        await self.confirm(offer, claim_id, qty, "ok")

    async def confirm(self, offer: Offer, claim_id: str, qty: int, verdict: str) -> None:
        await super().confirm(offer, claim_id, qty, verdict)
        claim = await self.stage.inventory.claim_state(offer.shard, claim_id)
        if "payment_id" in claim:  # it may have landed elsewhere
            self.facts[claim_id] = claim["payment_id"]
        team_id = claim.get("team_id", "")
        if offer is self.offers[0] and team_id and team_id not in self.teams:
            self.teams.append(team_id)

    async def give_back(self, offer: Offer, claim_id: str, qty: int, units: int) -> None:
        claim = await self.stage.inventory.claim_state(offer.shard, claim_id)
        if claim["state"] == "paid":
            await self.settle()  # nobody refunds what is not yet written
            await super().give_back(offer, claim_id, qty, units)

    async def ends(self, team: int, is_over: bool) -> None:
        """A deadline passes; with `is_over` the closing does too, and it is decided."""
        everything = [*self.teams, crowd_of(self.offers[1])]
        team_id, shard = everything[team % len(everything)], self.offers[0].shard
        offer = self.offers[team_id == crowd_of(self.offers[1])]
        await deadline_passes(self.stage, offer, team_id)
        await self.stage.teams.close(shard, 99, again_ms=HOUR_MS)
        if is_over:
            paying = list((await self.stage.teams.seats(shard, team_id)).values())
            await self.stage.teams.decide(shard, team_id, paying)
            await self.stage.teams.decide(shard, team_id)

    async def kills(self, which: int) -> None:
        """One of the two offers is cancelled, once."""
        offer = self.offers[which % 2]
        if not await self.stage.scalar(
            "SELECT count(*) FROM offer_commands WHERE id = :c", c=f"cancel-{offer.id}"
        ):
            await cancelled(self.stage, offer)

    async def closes_early(self) -> None:
        """Teams that are cancelled begin to close; one that was honoured is filled."""
        await self.settle()
        shard, everything = self.offers[0].shard, [*self.teams, crowd_of(self.offers[1])]
        await self.stage.teams.close(shard, 99, again_ms=HOUR_MS, early=everything)
        for team_id in everything:
            if (await self.stage.teams.decide(shard, team_id)).what == "honours":
                await honour(self.stage.db, self.stage.teams, shard, team_id)

    async def moves(self, offer: Offer, claim_id: str, qty: int, team: int) -> None:
        await self.stage.teams.move(offer.shard, claim_id, self._team(team))

    async def fills(self, team: int) -> None:
        await self.settle()
        if self.teams:
            await subsidised(self.stage, self.offers[0], self._team(team))


async def evening(
    stage: Stage, acts: list[Any], late: str, size: int, only: bool, on_cancel: str
) -> None:
    """One example: an offer of teams and a crowd of one campaign."""
    teams = TeamRules(
        size=size,
        seat_qty=1,
        term_ms=HOUR_MS // 2,
        closing_max_ms=0,
        newcomers_only=only,
        subsidy_max=2,
    )
    first = await stage.offer(9, kind="team", late=late, team=teams, on_cancel=on_cancel, **WIDE)
    crowd = await stage.offer_beside(
        first,
        6,
        kind="crowd",
        late="seat",
        team=TeamRules(
            size=0,
            seat_qty=0,
            term_ms=0,
            closing_max_ms=0,
            crowd_id=f"tem-c-{first.id}",
            steps=CROWD_STEPS,
            charging="low",
        ),
    )
    one = TeamEvening(stage, [first, crowd])
    for act in (*OPENING, *acts):
        await one.do(*act)
    await one.rebuild()


def test_a_rebuild_at_any_time_changes_nothing_of_teams(world: World) -> None:
    assert settings.default is not None

    @settings(max_examples=settings.default.max_examples // 4)
    @given(
        acts=st.lists(ACTS, min_size=8, max_size=25),
        late=st.sampled_from(("refund", "seat", "other", "new")),
        size=st.sampled_from((2, 3)),
        only=st.booleans(),
        on_cancel=st.sampled_from(("finish", "refund", "honour")),
    )
    def examples(acts: list[Any], late: str, size: int, only: bool, on_cancel: str) -> None:
        world.run(evening(world.stage, acts, late, size, only, on_cancel))

    examples()
    world.run(world.end())
