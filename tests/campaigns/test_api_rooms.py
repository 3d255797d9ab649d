"""Rooms over HTTP: a host runs an evening, every step in the log, the audit log and the answer."""

import asyncio
from typing import Any

import httpx
import msgspec
from sqlalchemy import select, text

from campaigns.room.models import RoomCommand
from engine import keys
from engine.audit.room_facts import personal
from engine.ids import now_ms
from engine.models import AuditRow
from engine.room_events import me_topic, room_topic
from engine.room_tokens import RoomTokens
from engine.rooms import RoomLogs
from tests.campaigns.server import World
from tests.campaigns.test_api_strict import problem


async def schedule(api: World, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    """The answer to scheduling a room of gd_wang."""
    room = {"title": "晚八点", "store_id": "store_a", "starts_at_ms": now_ms(), **changes}
    answer = await api.http.post("/v1/rooms", json=room, headers=headers or api.guide("gd_wang"))
    assert answer.status_code == 201, answer.text
    return answer.json()


async def act(
    api: World, room_id: str, step: str, body: Any = None, *, by: dict[str, str] | None = None
) -> httpx.Response:
    """One step of the host (or of `by`)."""
    method = "PUT" if step in ("shelf", "pin") else "POST"
    return await api.http.request(
        method, f"/v1/rooms/{room_id}/{step}", json=body, headers=by or api.guide("gd_wang")
    )


async def parts_of(api: World, room_id: str) -> dict[str, Any]:
    """The room's state as its log has it."""
    logs = RoomLogs(api.wire, settings=api.settings)
    snapshot = await logs.snapshot(room_topic(room_id))
    assert snapshot is not None
    return {part: msgspec.json.decode(text) for part, text in snapshot.parts.items()}


async def audited(api: World, subject: str) -> list[str]:
    """What was done to it, in order."""
    async with api.db.begin() as session:
        rows = await session.scalars(
            select(AuditRow.action).where(AuditRow.subject == subject).order_by(AuditRow.id)
        )
        return list(rows)


async def test_an_evening_from_its_schedule_to_its_end(api: World) -> None:
    offer = (await api.campaign())["offers"][0]["offer_id"]
    room = await schedule(api)
    room_id = room["room_id"]
    assert (room["state"], room["host"]) == (
        "scheduled",
        {"guide_id": "gd_wang", "name": "王芳"},
    )
    assert (await parts_of(api, room_id))["room"]["state"] == "scheduled"
    assert (await act(api, room_id, "shelf", {"offers": [offer]})).json()["shelf"] == [offer]
    live = (await act(api, room_id, "live")).json()
    assert (live["state"], live["went_live_at_ms"] > 0) == ("live", True)
    assert (await act(api, room_id, "pin", {"offer_id": offer})).json()["pin"] == offer
    parts = await parts_of(api, room_id)
    assert (parts["room"]["state"], parts["pin"]["offer_id"]) == ("live", offer)
    assert parts["shelf"]["offers"] == [offer]
    assert parts[f"offer:{offer}"]["name"] == "龙井 100g"
    await act(api, room_id, "pause")
    again = (await act(api, room_id, "live")).json()
    assert again["went_live_at_ms"] == live["went_live_at_ms"]
    ended = (await act(api, room_id, "end")).json()
    assert (ended["state"], ended["ended_at_ms"] > 0) == ("ended", True)
    assert (await parts_of(api, room_id))["room"]["state"] == "ended"
    steps = ["create", "shelf", "live", "pin", "pause", "live", "end"]
    assert await audited(api, room_id) == [f"room.{one}" for one in steps]
    async with api.db.begin() as session:
        commands = (
            await session.scalars(
                select(RoomCommand).where(RoomCommand.room_id == room_id).order_by(RoomCommand.id)
            )
        ).all()
    kinds = ["create", "shelf", "shelf", "live", "pin", "pause", "live", "end"]
    assert [one.kind for one in commands] == kinds  # the shelf, and the card of what is new on it
    assert all(one.published_at_ms for one in commands)
    assert {one.actor for one in commands} == {"stf_gd_wang"}


async def test_a_repeat_changes_nothing(api: World) -> None:
    offer = (await api.campaign())["offers"][0]["offer_id"]
    room_id = (await schedule(api, offers=[offer]))["room_id"]
    for step, body in (
        ("shelf", {"offers": [offer]}),
        ("live", None),
        ("pin", {"offer_id": offer}),
        ("pause", None),
        ("end", None),
    ):
        first = await act(api, room_id, step, body)
        if step == "shelf":
            assert await audited(api, room_id) == ["room.create"]  # it was so already
        if step == "end":
            before = await api.dump()
            second = await act(api, room_id, step, body)
            assert await api.dump() == before
        else:
            second = await act(api, room_id, step, body)
        assert (first.status_code, second.status_code) == (200, 200), second.text
        assert {**second.json(), "server_time_ms": 0} == {**first.json(), "server_time_ms": 0}
    assert await audited(api, room_id) == [
        f"room.{one}" for one in ("create", "live", "pin", "pause", "end")
    ]


async def test_steps_that_its_state_forbids(api: World) -> None:
    offer = (await api.campaign())["offers"][0]["offer_id"]
    room_id = (await schedule(api, offers=[offer]))["room_id"]
    paused = problem(await act(api, room_id, "pause"), 409, "room_state")
    assert paused["possible"] == ["end", "live", "pin", "shelf"]
    launch = {"offer_id": offer, "countdown_ms": 0}
    problem(await act(api, room_id, "launch", launch), 409, "room_state")
    await act(api, room_id, "end")
    before = await api.dump()
    for step, body in (
        ("live", None),
        ("pause", None),
        ("shelf", {"offers": []}),
        ("pin", {"offer_id": None}),
        ("launch", launch),
    ):
        found = problem(await act(api, room_id, step, body), 409, "room_state")
        assert found["possible"] == ["end"]
    assert await api.dump() == before


async def test_what_is_pinned_leaves_with_the_shelf(api: World) -> None:
    one = (await api.campaign())["offers"][0]["offer_id"]
    two = (await api.campaign())["offers"][0]["offer_id"]
    room_id = (await schedule(api, offers=[one, two]))["room_id"]
    await act(api, room_id, "pin", {"offer_id": one})
    assert (await act(api, room_id, "shelf", {"offers": [two]})).json()["pin"] is None
    parts = await parts_of(api, room_id)
    assert (parts["pin"]["offer_id"], parts["shelf"]["offers"]) == (None, [two])
    found = await act(api, room_id, "pin", {"offer_id": one})
    problem(found, 422, "not_on_shelf")


async def test_rooms_that_cannot_be(api: World) -> None:
    offer = (await api.campaign())["offers"][0]["offer_id"]
    hq = api.auth("stf_hq", "hq")
    before = await api.dump()
    good = {"title": "晚八点", "store_id": "store_a", "starts_at_ms": now_ms()}
    for headers, changes, field in (
        (hq, {}, "host_guide_id"),
        (hq, {"host_guide_id": "gd_none"}, "host_guide_id"),
        (hq, {"host_guide_id": "gd_li", "store_id": "none"}, "store_id"),
        (hq, {"host_guide_id": "gd_li", "store_id": None}, "store_id"),
        (hq, {"host_guide_id": "gd_li", "offers": ["ofr_none"]}, "offers[0]"),
        (hq, {"host_guide_id": "gd_li", "offers": [offer, offer]}, "offers[1]"),
        (api.guide("gd_wang"), {"store_id": "store_b"}, "store_id"),
        (api.guide("gd_wang"), {"host_guide_id": "gd_li"}, "host_guide_id"),
        (api.guide(""), {}, "host_guide_id"),
    ):
        answer = await api.http.post("/v1/rooms", json={**good, **changes}, headers=headers)
        found = problem(answer, 422, "room_invalid")
        assert found["errors"][0]["field"] == field
    for wrong in ({"title": ""}, {"starts_at_ms": "1"}, {"extra": 1}, {"offers": ["x"] * 101}):
        answer = await api.http.post("/v1/rooms", json={**good, **wrong}, headers=hq)
        problem(answer, 400, "invalid_body")
    assert await api.dump() == before


async def test_a_guide_need_not_name_the_own_store(api: World) -> None:
    room = await schedule(api, store_id=None)
    assert room["store"]["store_id"] == "store_a"


async def test_a_guides_room_is_in_the_store_they_work_in(api: World) -> None:
    room = {"title": "晚八点", "starts_at_ms": now_ms()}
    made = await api.http.post("/v1/rooms", json=room, headers=api.guide("gd_li"))
    assert made.json()["store"]["store_id"] == "store_b"
    hq = api.auth("stf_hq", "hq")
    asked = await api.http.post("/v1/rooms", json={**room, "host_guide_id": "gd_li"}, headers=hq)
    assert problem(asked, 422, "room_invalid")["errors"][0]["field"] == "store_id"


async def test_hq_runs_any_room_and_everybody_sees_them(api: World) -> None:
    hq = api.auth("stf_hq", "hq")
    mine = await schedule(api, hq, host_guide_id="gd_li", store_id="store_b")
    await act(api, mine["room_id"], "live", by=hq)
    seen = await api.http.get(f"/v1/rooms/{mine['room_id']}")
    assert (seen.status_code, seen.json()["state"]) == (200, "live")
    listed = (await api.http.get("/v1/rooms")).json()["rooms"]
    order = [("live", "paused", "scheduled", "ended").index(one["state"]) for one in listed]
    assert order == sorted(order)
    of_li = (await api.http.get("/v1/rooms?host_guide_id=gd_li")).json()["rooms"]
    assert {one["host"]["guide_id"] for one in of_li} == {"gd_li"}
    assert mine["room_id"] in [one["room_id"] for one in of_li]
    problem(await api.http.get("/v1/rooms/rm_none"), 404, "room_not_found")


async def test_a_room_token_names_what_its_holder_may_see(api: World) -> None:
    room_id = (await schedule(api))["room_id"]
    url = f"/v1/rooms/{room_id}/token"
    checks = RoomTokens.from_setting(api.settings.token_secret)
    for headers, subject, role, nickname in (
        ({}, "", "viewer", ""),
        (api.auth("bot", "load"), "", "viewer", ""),
        (api.auth("mbr_seeded"), "mbr_seeded", "customer", "小林"),
        (api.guide("gd_wang"), "stf_gd_wang", "guide", "王芳"),
        (api.auth("stf_hq", "hq"), "stf_hq", "hq", "总部"),
    ):
        answer = await api.http.post(url, headers=headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        passed = checks.verify(body["token"], now_ms())
        topics = (room_topic(room_id), *([me_topic(subject)] if subject else []))
        assert (passed.subject, passed.role, passed.nickname) == (subject, role, nickname)
        assert passed.topics == topics == tuple(body["topics"])
        assert now_ms() < passed.expires_at_ms <= now_ms() + 300_000
        assert body["gateway_url"] == "ws://127.0.0.1:8081/v1/live"
    forged = {"Authorization": "Bearer forged"}
    problem(await api.http.post(url, headers=forged), 401, "bad_token")
    problem(await api.http.post(url, headers=api.auth("mbr_none")), 401, "bad_token")
    problem(await api.http.post("/v1/rooms/rm_none/token"), 404, "room_not_found")
    short = {"Authorization": f"Bearer {api.token('mbr_seeded', for_ms=20_000)}"}
    limited = (await api.http.post(url, headers=short)).json()
    assert limited["expires_at_ms"] <= now_ms() + 20_000


async def test_another_guides_room_is_not_there(api: World) -> None:
    room_id = (await schedule(api))["room_id"]
    await act(api, room_id, "live")
    other = api.guide("gd_li")
    for step, body in (
        *(("live", None), ("pause", None), ("end", None), ("shelf", {"offers": []})),
        *(("pin", {"offer_id": None}), ("launch", {"offer_id": "ofr_x", "countdown_ms": 0})),
    ):
        problem(await act(api, room_id, step, body, by=other), 404, "room_not_found")


async def test_no_screen_shows_a_number_out_of_a_name(api: World) -> None:
    offer = (await api.campaign())["offers"][0]["offer_id"]
    async with api.db.begin() as session:
        for table, column in (("stores", "name"), ("guides", "name"), ("skus", "name")):
            named = text(f"UPDATE {table} SET {column} = {column} || ' 13812345678'")
            await session.execute(named)
    try:
        room_id = (await schedule(api, title="加 138 1234 5678", offers=[offer]))["room_id"]
        for _ in range(2):
            await act(api, room_id, "live")
            parts = await parts_of(api, room_id)
            assert {f"offer:{offer}", "room"} <= parts.keys()
            assert personal(msgspec.json.encode(parts).decode()) is None
            assert parts["room"]["title"] == "加 138****5678"
            await api.redis.delete(keys.log_meta(room_topic(room_id)))
            await api.http.post(f"/v1/rooms/{room_id}/token")
    finally:
        async with api.db.begin() as session:
            for table in ("stores", "guides", "skus"):
                await session.execute(
                    text(f"UPDATE {table} SET name = replace(name, ' 13812345678', '')")
                )


async def test_a_lost_log_is_begun_anew_for_whoever_comes(api: World) -> None:
    room_id = (await schedule(api))["room_id"]
    await act(api, room_id, "live")
    await api.redis.delete(keys.log_meta(room_topic(room_id)), keys.log(room_topic(room_id)))
    assert (await api.http.post(f"/v1/rooms/{room_id}/token")).status_code == 200
    assert (await parts_of(api, room_id))["room"]["state"] == "live"
    await api.redis.delete(keys.log_meta(room_topic(room_id)), keys.log(room_topic(room_id)))
    await act(api, room_id, "pause")
    assert (await parts_of(api, room_id))["room"]["state"] == "paused"


async def test_changes_at_once_leave_log_and_row_agreeing(api: World) -> None:
    offers = [(await api.campaign())["offers"][0]["offer_id"] for _ in range(3)]
    room_id = (await schedule(api, offers=offers))["room_id"]
    await asyncio.gather(
        *(act(api, room_id, "pin", {"offer_id": one}) for one in offers * 4),
        *(act(api, room_id, step) for step in ("live", "pause", "live", "pause")),
    )
    seen = (await api.http.get(f"/v1/rooms/{room_id}")).json()
    parts = await parts_of(api, room_id)
    assert parts["pin"]["offer_id"] == seen["pin"]
    assert parts["room"]["state"] == seen["state"]
