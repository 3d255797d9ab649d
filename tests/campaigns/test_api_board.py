"""HQ's board over HTTP: its figures are those of the rows, its stock that of the hot store."""

import csv
import io
from typing import Any

from sqlalchemy.dialects.postgresql import insert

from campaigns.refund.models import Refund
from campaigns.room.models import LawCheck
from engine import keys
from engine.ids import new_id, now_ms
from engine.room_events import room_topic
from tests.campaigns.orders import write_order, write_paid_order
from tests.campaigns.server import World
from tests.campaigns.test_api_rooms import act, schedule
from tests.waiting import eventually


async def board(api: World) -> Any:
    """The board now."""
    answer = await api.http.get("/v1/board", headers=api.auth("stf_hq", "hq"))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_an_evening_on_the_board(api: World) -> None:
    offer = (await api.campaign(total=9))["offers"][0]
    claim = (await api.claim(offer, "mbr_board", qty=2)).json()
    await write_order(api, claim["claim_id"])
    await write_paid_order(api, "mbr_board", 4_001, paid_fen=2_000)
    day_ago = now_ms() - 25 * 3_600_000
    await write_paid_order(api, "mbr_old", 4_002, claimed_at_ms=day_ago, paid_at_ms=day_ago)
    async with api.db.begin() as session:
        for number, done_at_ms in enumerate((now_ms(), day_ago)):
            session.add(
                Refund(
                    id=new_id("rfd"),
                    payment_id=f"pay_board_{number}",
                    cause="late",
                    amount_fen=700,
                    state="done",
                    requested_by="system",
                    created_at_ms=done_at_ms,
                    next_at_ms=done_at_ms,
                    done_at_ms=done_at_ms,
                )
            )
    room_id = (await schedule(api, offers=[offer["offer_id"]]))["room_id"]
    await act(api, room_id, "live")
    await act(api, room_id, "pin", {"offer_id": offer["offer_id"]})
    presence = keys.presence(room_topic(room_id))
    for gateway, said in (("1", f"40:{now_ms()}"), ("2", f"2:{now_ms()}"), ("gone", "900:1")):
        await api.wire.call("HSET", presence, gateway, said)

    async def shows() -> bool:
        return bool((await board(api))["tiles"]["viewers"] == 42)

    await eventually(shows)
    seen = await board(api)
    assert seen["tiles"] == {
        "gmv_fen": 2_000,
        "orders": 2,
        "paid": 1,
        "refunds_fen": 700,
        "viewers": 42,
    }
    assert {"room_id": room_id, "viewers": 42} in seen["rooms"]
    assert {"room_id": room_id, "viewers": 42} in seen["rooms"]
    assert len(seen["series"]) == 600
    assert [one["at_ms"] - seen["series"][0]["at_ms"] for one in seen["series"][:3]] == [
        0,
        1_000,
        2_000,
    ]

    async def counted() -> bool:  # the second under way is not shown yet
        found = (await board(api))["series"]
        sums = [sum(one[name] for one in found) for name in ("claims", "paid")]
        return sums == [2, 1]

    await eventually(counted)
    stock = next(one for one in seen["offers"] if one["offer_id"] == offer["offer_id"])
    assert stock == {
        "offer_id": offer["offer_id"],
        "name": "龙井 100g",
        "available": 7,
        "held": 2,
        "sold": 0,
        "total": 9,
        "live": True,
    }
    marks = [(one["kind"], one["what"]) for one in seen["marks"]]
    assert marks == [("live", "晚八点"), ("pin", "龙井 100g")]
    assert seen["zone"]


async def test_lights_are_the_last_checks(api: World) -> None:
    rows = [
        {"law": "I1", "ok": True, "checked": 12, "detail": "", "at_ms": now_ms() - 2_000},
        {"law": "I4", "ok": False, "checked": 3, "detail": "offer x", "at_ms": now_ms()},
    ]
    async with api.db.begin() as session:
        await session.execute(insert(LawCheck).values(rows))

    async def lit() -> bool:
        return len((await board(api))["laws"]) == 2

    await eventually(lit)
    seen = await board(api)
    assert [(one["law"], one["ok"], one["checked"]) for one in seen["laws"]] == [
        ("I1", True, 12),
        ("I4", False, 3),
    ]
    assert seen["laws"][0]["age_ms"] >= 2_000
    assert seen["laws"][1]["detail"] == "offer x"
    assert {"I6", "M1"} <= set(seen["not_checked"])


async def test_every_figure_leads_to_its_rows(api: World) -> None:
    hq = api.auth("stf_hq", "hq")
    offer = (await api.campaign())["offers"][0]
    order_id = await write_paid_order(api, "mbr_csv", 4_010)
    orders = await api.http.get("/v1/board/orders.csv", headers=hq)
    assert orders.headers["content-type"] == "text/csv; charset=utf-8"
    listed = list(csv.DictReader(io.StringIO(orders.text.removeprefix("\ufeff"))))
    assert order_id in [one["order_id"] for one in listed]
    mine: dict[str, str] = {}

    async def listed_too() -> bool:  # once the catalog has read it
        answer = await api.http.get("/v1/board/offers.csv", headers=hq)
        for one in csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))):
            if one["offer_id"] == offer["offer_id"]:
                mine.update(one)
        return bool(mine)

    await eventually(listed_too)
    assert (mine["total"], mine["available"], mine["price_fen"]) == ("100", "100", "1000")
    assert mine["name"] == "龙井 100g"
