"""The kill switch over HTTP: who may, once, what is shown then, and what nobody can do any more."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from campaigns.offer.models import Offer, OfferCommand
from campaigns.order.models import Order
from campaigns.team.models import Team
from engine.ids import now_ms
from engine.models import AuditRow
from tests.campaigns.orders import write_paid_order
from tests.campaigns.server import HOUR_MS, World, crowd_offer, draft, team_offer
from tests.campaigns.test_api_launch import ask, live_room
from tests.campaigns.test_api_rooms import act
from tests.campaigns.test_api_seats import opened
from tests.campaigns.test_api_strict import problem


async def cancel(api: World, campaign_id: str, note: str = "recalled") -> httpx.Response:
    """HQ pulls the switch."""
    return await api.http.post(
        f"/v1/campaigns/{campaign_id}/cancel",
        json={"note": note},
        headers=api.auth("stf_hq", "hq"),
    )


async def cancelled(api: World, campaign: dict[str, Any]) -> dict[str, Any]:
    """The campaign as HQ sees it once it is cancelled."""
    answer = await cancel(api, campaign["id"])
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def team(api: World, team_id: str) -> dict[str, Any]:
    """A team's page."""
    answer = await api.http.get(f"/v1/teams/{team_id}", headers=api.auth("mbr_looks"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def phase(api: World, offer: dict[str, Any]) -> str:
    """The offer's phase as buyers see it."""
    return str((await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()["phase"])


async def test_two_cancel_at_once_and_it_is_done_once(api: World) -> None:
    campaign = await api.campaign()
    (offer,) = campaign["offers"]
    answers = await asyncio.gather(*(cancel(api, campaign["id"], f"n{n}") for n in range(6)))
    assert {one.status_code for one in answers} == {200}
    assert {one.json()["state"] for one in answers} == {"cancelled"}
    assert len({one.json()["cancelled"]["note"] for one in answers}) == 1
    async with api.db.begin() as session:
        audited = select(AuditRow).where(AuditRow.subject == campaign["id"])
        rows = [one for one in await session.scalars(audited) if one.action == "campaign.cancel"]
        commands = (
            await session.scalars(
                select(OfferCommand).where(
                    OfferCommand.offer_id == offer["offer_id"], OfferCommand.kind == "cancel"
                )
            )
        ).all()
    (row,) = rows
    assert (row.actor, row.detail["on_cancel"]) == ("stf_hq", "finish")
    assert [one.reason for one in commands] == [row.detail["note"]]
    assert await api.inventory.offer_state(commands[0].shard, commands[0].offer_id) != {}
    problem(await api.claim(offer, "mbr_late"), 409, "closed")
    assert await phase(api, offer) == "closed"


async def test_a_cancelled_campaign_stays_so(api: World) -> None:
    campaign = await api.campaign()
    seen = await cancelled(api, campaign)
    assert seen["cancelled"]["by"] == "stf_hq"
    assert abs(seen["cancelled"]["at_ms"] - now_ms()) < 60_000
    at, hq = f"/v1/campaigns/{campaign['id']}", api.auth("stf_hq", "hq")
    assert (await api.http.get(at, headers=hq)).json()["state"] == "cancelled"
    edited = problem(await api.http.put(at, json=draft(), headers=hq), 409, "campaign_state")
    assert (edited["state"], edited["possible"]) == ("cancelled", [])
    for step in ("submit", "publish"):
        problem(await api.http.post(f"{at}/{step}", headers=hq), 409, "campaign_state")
    listed = await api.http.get("/v1/campaigns?state=cancelled", headers=hq)
    assert campaign["id"] in [one["id"] for one in listed.json()["campaigns"]]


async def test_only_what_is_published_and_not_over_is_cancelled(api: World) -> None:
    hq = api.auth("stf_hq", "hq")
    made = (await api.http.post("/v1/campaigns", json=draft(), headers=hq)).json()
    refused = problem(await cancel(api, made["id"]), 409, "campaign_state")
    assert refused["state"] == "draft"
    ended = await api.campaign(ends_at_ms=now_ms() + 1_500)
    await asyncio.sleep(max(0, ended["draft"]["ends_at_ms"] - now_ms()) / 1_000 + 0.05)
    refused = problem(await cancel(api, ended["id"]), 409, "campaign_state")
    assert refused["state"] == "ended"
    problem(await cancel(api, "cmp_none"), 404, "campaign_not_found")
    problem(await cancel(api, ended["id"], note=""), 400, "invalid_body")


@pytest.mark.parametrize(
    ("effect", "for_hq", "for_team"),
    [
        ("finish", "may still fill up", "may still fill up until its deadline"),
        ("refund", "refunded in full", "everybody in it is refunded in full"),
        ("honour", "fills the missing seats", "the merchant fills its missing seats"),
    ],
)
async def test_the_effect_is_declared_and_shown(
    api: World, effect: str, for_hq: str, for_team: str
) -> None:
    campaign = await api.campaign(offer=team_offer(), on_cancel=effect)
    (offer,) = campaign["offers"]
    assert campaign["draft"]["on_cancel"] == effect
    assert campaign["on_cancel_says"].startswith("Should this campaign be cancelled, ")
    assert for_hq in campaign["on_cancel_says"]
    team_id = await opened(api, offer, "mbr_cap")
    page = await team(api, team_id)
    assert (page["cancelled"], page["state"], page["why"]) == (False, "forming", "")
    assert for_team in page["cancel_says"]
    after = await cancelled(api, campaign)
    assert after["on_cancel_says"].startswith("This campaign was cancelled: ")
    page = await team(api, team_id)
    assert page["cancelled"]
    assert page["state"] == ("forming" if effect == "finish" else "closing")
    assert page["cancel_says"].startswith("This campaign was cancelled: ")
    problem(await api.seat(offer, "mbr_opens"), 409, "closed")
    joined = await api.seat(offer, "mbr_joins", team_id)
    assert joined.status_code == (201 if effect == "finish" else 409), joined.text
    path = f"/v1/offers/{offer['offer_id']}/teams"
    listed = (await api.http.get(path, headers=api.auth("mbr_looks"))).json()
    assert listed["teams"] == []  # full by now, or over


@pytest.mark.parametrize("effect", ["finish", "refund"])
async def test_a_crowd_that_may_finish_is_still_on_sale(api: World, effect: str) -> None:
    campaign = await api.campaign(offer=crowd_offer(), on_cancel=effect)
    (offer,) = campaign["offers"]
    await cancelled(api, campaign)
    assert await phase(api, offer) == ("open" if effect == "finish" else "closed")
    seat = await api.seat(offer, "mbr_c", offer["crowd_id"])
    assert seat.status_code == (201 if effect == "finish" else 409), seat.text
    page = await team(api, offer["crowd_id"])
    assert ("goes on to its deadline" in page["cancel_says"]) == (effect == "finish")


async def test_before_the_start_nothing_of_it_ever_begins(api: World) -> None:
    starts_at_ms = now_ms() + HOUR_MS // 2
    campaign = await api.campaign(
        offer={**team_offer(), "prices": [{"price_fen": 1_000}]}, starts_at_ms=starts_at_ms
    )
    assert campaign["state"] == "scheduled"
    (offer,) = campaign["offers"]
    assert (await cancelled(api, campaign))["state"] == "cancelled"
    problem(await api.seat(offer, "mbr_a"), 409, "closed")
    assert await phase(api, offer) == "closed"


async def test_a_host_launches_nothing_of_it(api: World) -> None:
    offer, room_id = await live_room(api)
    async with api.db.begin() as session:
        row = await session.get_one(Offer, offer["offer_id"])
    await cancelled(api, {"id": row.campaign_id})
    problem(await act(api, room_id, "launch", ask(offer)), 409, "campaign_cancelled")
    assert await phase(api, offer) == "closed"
    async with api.db.begin() as session:
        commands = select(OfferCommand).where(OfferCommand.offer_id == row.id)
        assert (await session.scalars(commands)).all() == []


async def test_its_prices_bind_nobody_any_more(api: World) -> None:
    """But those at which teams may still fill up."""
    prices = [{"price_fen": 1_200}]
    regular = {"kind": "regular", "prices": prices}
    refunds, finishes = [
        await api.campaign(offer=team_offer(prices=prices), on_cancel=effect, stores=[store])
        for effect, store in (("refund", "store_a"), ("finish", "store_b"))
    ]
    hq = api.auth("stf_hq", "hq")

    async def submit(store: str) -> httpx.Response:
        wanted = draft(offer=regular, stores=[store])
        made = (await api.http.post("/v1/campaigns", json=wanted, headers=hq)).json()
        return await api.http.post(f"/v1/campaigns/{made['id']}/submit", headers=hq)

    for store in ("store_a", "store_b"):
        problem(await submit(store), 422, "campaign_invalid")
    for campaign in (refunds, finishes):
        await cancelled(api, campaign)
    assert (await submit("store_a")).status_code == 200
    problem(await submit("store_b"), 422, "campaign_invalid")


async def test_an_order_says_that_its_team_was_cancelled(api: World) -> None:
    (offer,) = (await api.campaign(offer=team_offer()))["offers"]
    row = {"state": "refunding", "seat": "taken", "offer_id": offer["offer_id"]}
    order_id = await write_paid_order(api, "mbr_told", now_ms() % 1_000_000, **row)
    team_id = f"tem-s0-e1-1-{order_id[-16:]}"
    async with api.db.begin() as session:
        order = await session.get_one(Order, order_id)
        order.team_id = team_id
        session.add(
            Team(
                **{"id": team_id, "shard": 0, "offer_id": order.offer_id, "version": 1},
                **{"campaign_id": order.campaign_id, "kind": "team", "opener_id": "mbr_told"},
                **{"captain_id": "mbr_told", "size": 2, "state": "failed", "why": "cancelled"},
                **{"paid": 1, "subsidy": 0, "step": 0, "opened_at_ms": 0, "deadline_ms": 1},
                **{"decided_at_ms": 1, "booked_at_ms": 1},
            )
        )
    mine = api.auth("mbr_told")
    seen = (await api.http.get(f"/v1/orders/{order_id}", headers=mine)).json()
    assert (seen["state"], seen["team_failed"]) == ("refunding", "cancelled")
    (one,) = (await api.http.get("/v1/me/teams", headers=mine)).json()["teams"]
    assert (one["state"], one["why"]) == ("failed", "cancelled")
