"""Seats on a bench: open, join and pay as buyers do, with the standard offers of group buys."""

from typing import Any

from engine import keys
from engine.inventory import Reply
from engine.offers import OfferConfig, TeamRules
from engine.teams import Teams
from tests.engine.hotshard import HOUR_MS, Bench

CROWD_ID = "tem_crowd"
LADDER = ((2, "prc_low", 800), (4, "prc_lower", 700))


def team_rules(**changes: Any) -> TeamRules:
    """Three seats of one unit for an hour; `changes` are fields."""
    fields: dict[str, Any] = {
        "size": 3,
        "seat_qty": 1,
        "term_ms": HOUR_MS // 2,
        "closing_max_ms": HOUR_MS,
    }
    return TeamRules(**{**fields, **changes})


def crowd_rules(**changes: Any) -> TeamRules:
    """A crowd with a ladder of two steps."""
    fields: dict[str, Any] = {
        **{"size": 0, "seat_qty": 0, "term_ms": 0, "crowd_id": CROWD_ID},
        **{"steps": LADDER, "charging": "low"},
    }
    return team_rules(**{**fields, **changes})


class Hall:
    """A bench with seats."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.teams = Teams(bench.wire, bench.inventory.epochs, bench.scripts)

    async def team_offer(
        self, offer_id: str = "ofr_t", total: int = 9, *, late: str = "new", **changes: Any
    ) -> OfferConfig:
        """An offer for teams; `changes` as in `team_rules`."""
        rules = team_rules(**changes)
        return await self.bench.offer(offer_id, total, kind="team", late=late, team=rules)

    async def crowd_offer(self, offer_id: str = "ofr_c", total: int = 9) -> OfferConfig:
        """A crowd's offer: the first step's price is what is paid from the start."""
        return await self.bench.offer(
            offer_id,
            total,
            kind="crowd",
            late="seat",
            team=crowd_rules(),
            prices=(("prc_low", 800, 0),),
        )

    async def seat(self, buyer_id: str, team_id: str = "", **changes: Any) -> Reply:
        """Open a team, or sit down in one; `changes` as in `Teams.seat`."""
        fields: dict[str, Any] = {
            **{"offer_id": "ofr_t", "campaign_id": "cmp_a", "price_id": "prc_1", "qty": 1},
            **{"key": f"key-{buyer_id}", "body_hash": "1", **changes},
        }
        return await self.teams.seat(0, buyer_id=buyer_id, team_id=team_id, **fields)

    async def team_of(self, claim_id: str) -> str:
        """The team that a claim names."""
        return (await self.bench.inventory.claim_state(0, claim_id))["team_id"]

    async def opened(self, buyer_id: str, *, paid: bool = True, **changes: Any) -> tuple[str, str]:
        """(team_id, claim_id) of a team that `buyer_id` opened, and paid for."""
        reply = await self.seat(buyer_id, **changes)
        assert reply.what == "held", reply
        if paid:
            assert (await self.pay(reply.details[0])).what == "paid"
        return await self.team_of(reply.details[0]), reply.details[0]

    async def joined(
        self, buyer_id: str, team_id: str, *, paid: bool = True, **changes: Any
    ) -> str:
        """The claim of a seat that `buyer_id` took, and paid for."""
        reply = await self.seat(buyer_id, team_id, **changes)
        assert reply.what == "held", reply
        if paid:
            assert (await self.pay(reply.details[0])).what == "paid"
        return reply.details[0]

    async def pay(self, claim_id: str) -> Reply:
        """Begin to pay, and be paid."""
        await self.bench.inventory.pay_begin(0, claim_id, f"att-{claim_id}")
        return await self.bench.confirm(claim_id, f"att-{claim_id}", f"fct-{claim_id}")

    async def deadline_passes(self, team_id: str) -> None:
        """The team's deadline is a moment ago, for its seats' holds too."""
        call, now = self.bench.wire.call, await self.now_ms()
        key = keys.groups(0) + team_id
        await call("HSET", key, "deadline_ms", now - 1)
        await call("ZADD", keys.groups(0) + "deadlines", "XX", now - 1, team_id)
        for claim_id in (await self.teams.seats(0, team_id)).values():
            await call("ZADD", keys.deadlines(0), "XX", now - 1, claim_id)

    async def now_ms(self) -> int:
        """The hot store's clock."""
        seconds, micros = await self.bench.wire.call("TIME")
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def kinds(self) -> list[str]:
        """The kinds of all events so far."""
        return [str(event.__struct_config__.tag) for event in await self.bench.events()]
