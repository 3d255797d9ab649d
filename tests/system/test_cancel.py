"""A campaign is cancelled in the middle of an evening: over the whole stack, each declared effect.

One member has their payment page open and pays after it, one holds a seat, one had let theirs go
and pays all the same. Two at headquarters pull the switch at once, and processes die with it.
"""

import asyncio
from typing import Any, NamedTuple

import pytest

from tests.system.house import House, Sale
from tests.system.teams import (
    Paying,
    Seat,
    each,
    lawful,
    opened,
    page_of,
    paid_up,
    pay,
    seated,
    tale,
    team,
    team_sale,
    until_claims,
    until_closed,
    until_money,
    until_team,
)
from tests.waiting import eventually

pytestmark = pytest.mark.slow


class Scene(NamedTuple):
    """Before the switch: a captain who has paid, a page that is open, a seat that is held, and a
    page of another team that the provider has closed."""

    sale: Sale
    captain: Seat
    paying: Paying
    held: Seat
    closed: Paying
    other: Seat


async def cancel(house: House, sale: Sale) -> None:
    """Two pull the switch at once; both are told the same."""
    path = f"/v1/campaigns/{sale.campaign_id}/cancel"
    answers: list[Any] = await asyncio.gather(
        *(house.fresh.hq.ask("POST", path, {"note": "召回"}) for _ in range(2))
    )
    assert [one["state"] for one in answers] == ["cancelled"] * 2
    audited = "SELECT count(*) FROM audit_log WHERE subject = $1 AND action = 'campaign.cancel'"
    assert await house.scalar(audited, sale.campaign_id) == 1


async def scene(house: House, on_cancel: str, name: str) -> Scene:
    """Teams of three with long terms, and short ones to pay."""
    who = f"{name}_{on_cancel}"
    sale = await team_sale(
        house, 30, on_cancel=on_cancel, pay_ms=4_000, offer={"late": "new", "closing_max_ms": 9_000}
    )
    other = await opened(house, sale, f"other_{who}")
    closed = await page_of(house, await seated(house, sale, f"late_{who}", other.team_id))
    await until_closed(house, [closed])
    captain = await opened(house, sale, f"captain_{who}")
    held = await seated(house, sale, f"held_{who}", captain.team_id)
    paying = await page_of(house, await seated(house, sale, f"payer_{who}", captain.team_id))
    return Scene(sale, captain, paying, held, closed, other)


async def until_offer(house: House, sale: Sale, state: str) -> None:
    """Wait until the settled offer is so."""

    async def is_so() -> bool:
        found = await house.scalar("SELECT state FROM offers WHERE id = $1", sale.offer_id)
        return bool(found == state)

    await eventually(is_so, every_s=0.1, within_s=60)


async def ends(house: House, one: Scene, on_cancel: str) -> None:
    """What becomes of everybody."""
    team_id = one.captain.team_id
    if on_cancel == "finish":
        await until_offer(house, one.sale, "finishing")
        await pay(house, one.paying)
        await pay(house, one.closed, "paid_after_close")  # their seat is still free
        await paid_up(house, one.held)
        await until_team(house, one.sale, team_id, "formed")
        await until_claims(house, [one.closed.seat], "paid")
        assert (await team(house, one.sale, one.other.team_id))["state"] == "forming"
        assert dict((await tale(house, one.sale)).landed) == {"seat": 1}
        return
    await until_offer(house, one.sale, "cancelled")
    await pay(house, one.paying)
    await until_claims(house, [one.held], "released")
    await pay(house, one.closed, "paid_after_close")
    await until_money(house, one.closed.seat, "released", one.other.team_id, "late")
    members = [(one.captain, team_id), (one.paying.seat, team_id), (one.other, one.other.team_id)]
    state = "formed" if on_cancel == "honour" else "failed"
    for where in (team_id, one.other.team_id):
        await until_team(house, one.sale, where, state)
    for seat, where in members:
        if on_cancel == "honour":
            await until_money(house, seat, "paid", where)
        else:
            await until_money(house, seat, "refunded", where, "team_failed")
            order = await house.buyer(seat.name).look(seat.claim_id)
            assert order["order_id"], order
    told = await tale(house, one.sale)
    end = "team.formed full" if on_cancel == "honour" else "team.failed cancelled"
    assert (dict(told.ends), dict(told.landed)) == ({end: 2}, {"refused: cancelled": 1})
    filled = "SELECT coalesce(sum(subsidy), 0) FROM teams WHERE offer_id = $1"
    missing = {"honour": 3, "refund": 0}[on_cancel]
    assert await house.scalar(filled, one.sale.offer_id) == missing


async def story(house: House, on_cancel: str, name: str = "calm") -> None:
    one = await scene(house, on_cancel, name)
    await cancel(house, one.sale)
    await ends(house, one, on_cancel)


async def test_each_effect_ends_as_it_was_declared(house: House) -> None:
    await each(*(story(house, effect) for effect in ("finish", "refund", "honour")))
    await lawful(house, "I6", "T5")


async def test_processes_die_with_the_switch(house: House) -> None:
    """The store right behind the rows, the settler before their events are rows, the worker
    before anything has ended: each is told again."""
    scenes = await each(*(scene(house, effect, "dying") for effect in ("refund", "honour")))
    for one, name in zip(scenes, ("valkey", "worker"), strict=True):
        with house.frozen("settle"):
            await cancel(house, one.sale)
            old = house.kill(name)
        await house.until_back(name, old)
        await house.until_ready()
    pid = house.kill("settle")
    await house.until_back("settle", pid)
    await each(
        *(
            ends(house, one, effect)
            for one, effect in zip(scenes, ("refund", "honour"), strict=True)
        )
    )
    await lawful(house, "I6", "T5")
