"""Group buys of the evening: teams that form, fail, are rescued and subsidised, and a late payer.

At its end one team is still forming, with a seat held and one that is being paid.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from campaigns.offer.models import Offer
from campaigns.team.subsidy import subsidise
from engine.offers import TeamRules
from engine.tokens import Access
from tests.waiting import eventually
from tests.workers.seats import WIDE, crowd_of, crowd_offer, deadline_passes, team_of
from workers.crowds import CrowdBooks
from workers.teams import TeamWatch

if TYPE_CHECKING:
    from tests.engine.audit.evening import Play

LONG_MS = 3_000_000  # nothing may fall due while the scenes are played, however slowly


async def team_offer(play: "Play", total: int, **changes: Any) -> Offer:
    """An open offer of teams of three; `changes` are fields of its TeamRules."""
    rules = {"size": 3, "seat_qty": 1, "term_ms": LONG_MS, "closing_max_ms": LONG_MS, **changes}
    return await play.world.stage.offer(
        total,
        **{"kind": "team", "late": "new", "hold_ms": LONG_MS, "pay_ms": LONG_MS, **WIDE},
        team=TeamRules(**rules),
    )


async def play_teams(play: "Play") -> None:
    """All of it; names of `play` that begin with `team`, `seat` or `subsidy` are from here."""
    offer = await team_offer(play, 30, captain_price=("p9", 900))
    play.names["team_offer"] = offer.id
    await _formed(play, offer)
    await _failed(play, offer)
    await _rescued(play, offer)
    await _subsidised(play)
    await _late(play, offer)
    await play.world.rest(all_attempts=True)
    await _crowds(play)
    await _forming(play)


async def seat(
    play: "Play", offer: Offer, buyer: str, team_id: str = "", *, paid: bool = True, **more: Any
) -> tuple[str, str]:
    """(claim, team) of a seat as a client asked for it, and paid for."""
    opens = not team_id and offer.config["team"]["captain_price"]
    price_id = str(more.pop("price_id", "p9" if opens else "p1"))
    asked = play.history.invoke(
        "claim", buyer=buyer, offer=offer.id, key=f"k-{buyer}", qty=1, price_id=price_id
    )
    reply = await play.world.stage.seat(offer, buyer, team_id, price_id=price_id, **more)
    assert reply.what == "held", reply
    claim_id, _, fen, expires = reply.details
    play.history.ok(
        asked, claim_id=claim_id, price_fen=int(fen), expires_at_ms=int(expires), replay=False
    )
    await play.world.stage.settle()
    if paid:
        await play.pay(claim_id, buyer)
        await play.world.stage.settle()
    return claim_id, await team_of(play.world.stage, offer, claim_id)


async def decide(play: "Play", offer: Offer, *teams: str) -> None:
    """The deadline of these teams passes, and the worker sees to them."""
    stage = play.world.stage
    for team_id in teams:
        await deadline_passes(stage, offer, team_id)
    settings = msgspec.structs.replace(play.world.parts.settings, team_again_ms=0)
    watch = TeamWatch(replace(play.world.parts, settings=settings))
    while await watch.run_once():
        await stage.settle()
    books = CrowdBooks(play.world.parts)
    while await books.run_once():
        pass
    await play.world.rest()


async def _formed(play: "Play", offer: Offer) -> None:
    captain, team_id = await seat(play, offer, "m1")
    for buyer in ("t2", "t3"):
        await seat(play, offer, buyer, team_id)
    await play.world.rest()
    play.names["team_formed"], play.names["seat_formed"] = team_id, captain


async def _failed(play: "Play", offer: Offer) -> None:
    claim_id, team_id = await seat(play, offer, "t4")
    await seat(play, offer, "t5", team_id, paid=False)
    await decide(play, offer, team_id)
    play.names["team_failed"], play.names["seat_failed"] = team_id, claim_id


async def _rescued(play: "Play", offer: Offer) -> None:
    alone, first = await seat(play, offer, "t6", consent=True)
    _, second = await seat(play, offer, "t7")
    await seat(play, offer, "t8", second)
    await decide(play, offer, first, second)
    play.names["team_rescued"], play.names["seat_moved"] = second, alone


async def _subsidised(play: "Play") -> None:
    stage = play.world.stage
    offer = await team_offer(play, 9, size=2, subsidy_max=1)
    _, team_id = await seat(play, offer, "t9")
    who = Access("hq", "hq", "", "", 0)
    filled = await subsidise(
        stage.db, stage.teams, who, team_id, key="k", seats=1, reason="a friend did not come"
    )
    assert filled.in_effect
    await play.world.rest()
    play.names["team_subsidised"], play.names["subsidy"] = team_id, filled.command_id


async def _late(play: "Play", offer: Offer) -> None:
    """Paid after its close receipt: the seat is still free, and its team forms with it."""
    world = play.world
    _, team_id = await seat(play, offer, "t10")
    late, _ = await seat(play, offer, "t11", team_id, paid=False)
    page = await world.begin(late, "t11")
    await world.expire()
    await world.rest(all_attempts=True)
    await seat(play, offer, "t12", team_id)
    taken = play.door.taken
    await world.pay(page, "paid_after_close")
    await eventually(lambda: play.door.taken > taken)
    await world.rest()
    play.names["team_late"], play.names["seat_late"] = team_id, late


async def _crowds(play: "Play") -> None:
    """One reaches two steps of its ladder and pays the difference back, one fails."""
    stage = play.world.stage
    for name, buyers in (("crowd_formed", 5), ("crowd_failed", 1)):
        offer = await crowd_offer(stage)
        for n in range(buyers):  # the last one pays the price of the second step
            await seat(play, offer, f"{name}{n}", price_id="p3" if n == 4 else "p1")
        play.names[name] = crowd_of(offer)
        await decide(play, offer, crowd_of(offer))


async def _forming(play: "Play") -> None:
    stage = play.world.stage
    offer = await team_offer(play, 9)
    _, team_id = await seat(play, offer, "t13")
    play.names["seat_held"], _ = await seat(play, offer, "t14", team_id, paid=False)
    play.names["seat_paying"], _ = await seat(play, offer, "t15", team_id, paid=False)
    await play.world.begin(play.names["seat_paying"], "t15")
    play.names["full"] = await _refused(play, offer, "t16", team_id)
    play.names["team_forming"] = team_id
    await stage.settle()


async def _refused(play: "Play", offer: Offer, buyer: str, team_id: str) -> str:
    """Somebody asks for a seat too many; the request's id."""
    asked = play.history.invoke(
        "claim",
        buyer=buyer,
        offer=offer.id,
        key=f"k-{buyer}",
        qty=1,
        price_id="p1",
        team_id=team_id,
    )
    reply = await play.world.stage.seat(offer, buyer, team_id)
    assert reply.what == "team_full", reply
    play.history.fail(asked, 409, reply.what)
    return asked
