"""A flash that its host launches: unsellable before, on sale within its window after, once."""

import asyncio
from typing import Any

from sqlalchemy import select

from campaigns.offer.models import Offer, OfferCommand
from engine.audit.run import run_audit
from engine.ids import now_ms
from engine.models import AuditRow
from tests.campaigns.server import HOUR_MS, World, draft
from tests.campaigns.test_api_rooms import act, parts_of, schedule
from tests.campaigns.test_api_strict import problem
from tests.waiting import eventually

FLASH = {"launch": "host", "duration_ms": 600_000}


async def live_room(api: World, **changes: Any) -> tuple[dict[str, Any], str]:
    """A flash that waits for its host, and the live room with it on the shelf."""
    offer = (await api.campaign(offer=FLASH, **changes))["offers"][0]
    room_id = (await schedule(api, offers=[offer["offer_id"]]))["room_id"]
    await act(api, room_id, "live")
    return offer, room_id


def ask(offer: dict[str, Any], countdown_ms: int = 0) -> dict[str, Any]:
    """The body of a launch."""
    return {"offer_id": offer["offer_id"], "countdown_ms": countdown_ms}


async def test_nobody_can_buy_before_the_launch(api: World) -> None:
    offer = (await api.campaign(offer=FLASH))["offers"][0]
    view = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()
    assert (view["phase"], view["launch_ms"]) == ("waiting", 600_000)
    early = problem(await api.claim(offer, "mbr_early"), 409, "not_open")
    assert "starts_at_ms" not in early
    async with api.db.begin() as session:
        commands = select(OfferCommand).where(OfferCommand.offer_id == offer["offer_id"])
        assert (await session.scalars(commands)).all() == []
    hq = api.auth("stf_hq", "hq", key="key-too-early")
    path = f"/v1/offers/{offer['offer_id']}"
    restock = await api.http.post(f"{path}/restock", json={"units": 1}, headers=hq)
    problem(restock, 409, "not_launched")
    close = await api.http.post(f"{path}/close", json={"reason": "x"}, headers=hq)
    problem(close, 409, "not_launched")


async def test_a_launch_opens_it_for_its_duration(api: World) -> None:
    offer, room_id = await live_room(api, total=7)
    before_ms = now_ms()
    launched = await act(api, room_id, "launch", ask(offer, 1_000))
    assert launched.status_code == 200, launched.text
    body = launched.json()
    assert before_ms + 1_000 <= body["starts_at_ms"] <= now_ms() + 1_000
    assert body["ends_at_ms"] == body["starts_at_ms"] + 600_000
    assert body["in_effect"] is True
    # The process that launched it knows at once; its room, too.
    view = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()
    assert (view["starts_at_ms"], view["ends_at_ms"]) == (
        body["starts_at_ms"],
        body["ends_at_ms"],
    )
    assert view["phase"] in ("upcoming", "open")
    assert view["availability"]["total"] == 7
    card = (await parts_of(api, room_id))[f"offer:{offer['offer_id']}"]
    assert (card["starts_at_ms"], card["state"]) == (body["starts_at_ms"], "open")
    early = await api.claim(offer, "mbr_a", key="key-of-launch")
    assert early.status_code in (201, 409), early.text

    async def held() -> bool:
        return (await api.claim(offer, "mbr_a", key="key-of-launch")).status_code == 201

    await eventually(held)
    assert now_ms() >= body["starts_at_ms"]
    async with api.db.begin() as session:
        rows = (
            await session.scalars(select(AuditRow).where(AuditRow.subject == offer["offer_id"]))
        ).all()
    assert [(one.action, one.actor, one.detail["room_id"]) for one in rows] == [
        ("offer.launch", "stf_gd_wang", room_id)
    ]


async def test_it_is_launched_once(api: World) -> None:
    offer, room_id = await live_room(api)
    answers = await asyncio.gather(
        *(act(api, room_id, "launch", ask(offer, 1_000 * number)) for number in range(5))
    )
    bodies = [answer.json() for answer in answers]
    assert [answer.status_code for answer in answers] == [200] * 5, bodies
    assert len({(one["command_id"], one["starts_at_ms"]) for one in bodies}) == 1
    async with api.db.begin() as session:
        commands = select(OfferCommand).where(OfferCommand.offer_id == offer["offer_id"])
        assert len((await session.scalars(commands)).all()) == 1
    other = (await schedule(api, offers=[offer["offer_id"]]))["room_id"]
    await act(api, other, "live")
    problem(await act(api, other, "launch", ask(offer)), 409, "already_launched")


async def test_of_two_rooms_at_once_one_launches_it(api: World) -> None:
    offer, one = await live_room(api)
    guide = api.guide("gd_li")
    other = await schedule(api, guide, store_id="store_b", offers=[offer["offer_id"]])
    await act(api, other["room_id"], "live", by=guide)
    answers = await asyncio.gather(
        *(act(api, one, "launch", ask(offer, 1_000)) for _ in range(6)),
        *(act(api, other["room_id"], "launch", ask(offer, 2_000), by=guide) for _ in range(6)),
    )
    said = [(answer.status_code, answer.json().get("code")) for answer in answers]
    assert set(said) == {(200, None), (409, "already_launched")}
    assert said[0] != said[-1]
    assert len({answer.json().get("starts_at_ms") for answer in answers} - {None}) == 1


async def test_its_window_stays_within_the_campaign(api: World) -> None:
    now = now_ms()
    offer, room_id = await live_room(api, ends_at_ms=now + 300_000)
    late = await act(api, room_id, "launch", ask(offer, 310_000))
    problem(late, 409, "outside_campaign")
    cut = (await act(api, room_id, "launch", ask(offer, 1_000))).json()
    assert cut["ends_at_ms"] == now + 300_000
    to_come, room_id = await live_room(api, starts_at_ms=now + HOUR_MS // 2)
    problem(await act(api, room_id, "launch", ask(to_come)), 409, "outside_campaign")


async def test_what_cannot_be_launched(api: World) -> None:
    scheduled = (await api.campaign())["offers"][0]
    waiting = (await api.campaign(offer=FLASH))["offers"][0]
    room_id = (await schedule(api, offers=[scheduled["offer_id"]]))["room_id"]
    await act(api, room_id, "live")
    before = await api.dump()
    problem(await act(api, room_id, "launch", ask(scheduled)), 409, "not_launchable")
    problem(await act(api, room_id, "launch", ask(waiting)), 422, "not_on_shelf")
    problem(await act(api, room_id, "launch", ask(scheduled, 600_001)), 400, "invalid_body")
    problem(await act(api, room_id, "launch", ask(scheduled, -1)), 400, "invalid_body")
    assert await api.dump() == before


async def test_a_draft_says_how_long(api: World) -> None:
    hq = api.auth("stf_hq", "hq")
    step = [{"price_fen": 900}, {"price_fen": 950, "from_ms": now_ms()}]
    for offer, field in (
        ({"launch": "host"}, "duration_ms"),
        ({"duration_ms": 1_000}, "duration_ms"),
        ({"launch": "host", "duration_ms": 3 * HOUR_MS}, "duration_ms"),
        ({**FLASH, "prices": step}, "prices"),
    ):
        made = (await api.http.post("/v1/campaigns", json=draft(offer=offer), headers=hq)).json()
        answer = await api.http.post(f"/v1/campaigns/{made['id']}/submit", headers=hq)
        found = problem(answer, 422, "campaign_invalid")
        assert [one["field"] for one in found["errors"]] == [f"offers[0].{field}"]


async def test_the_laws_hold_beside_waiting_and_launched_offers(api: World) -> None:
    await api.campaign(offer=FLASH)
    offer, room_id = await live_room(api)
    await act(api, room_id, "launch", ask(offer))
    assert (await api.claim(offer, "mbr_laws")).status_code == 201
    report = await run_audit(api.db, api.wire)
    held = {one.law: one for one in report.laws if one.law in ("I1", "I2", "I4", "I5")}
    assert [one.law for one in held.values() if one.ok is not True] == [], held
    async with api.db.begin() as session:
        row = await session.get_one(Offer, offer["offer_id"])
    hot = await api.inventory.offer_state(row.shard, row.id)
    window = (row.config["starts_at_ms"], row.config["ends_at_ms"])
    assert (int(hot["starts_at_ms"]), int(hot["ends_at_ms"])) == window
