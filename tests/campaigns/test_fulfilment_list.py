"""The stocking list counts what stands, by store; ready makes exactly that ready."""

import asyncio
import csv
import io
from typing import Any

import httpx
from sqlalchemy import text

from engine.ids import now_ms
from tests.campaigns.server import HOUR_MS, World, crowd_offer, team_offer
from tests.campaigns.standing import regular, write_refund, write_standing, write_team

DAY_MS = 86_400_000


async def stocking(api: World, headers: dict[str, str], **asked: Any) -> list[dict[str, Any]]:
    answer = await api.http.get("/v1/stocking-list", headers=headers, params=asked)
    assert answer.status_code == 200, answer.text
    lines: list[dict[str, Any]] = answer.json()["lines"]
    return lines


async def ready(
    api: World, offer: dict[str, Any], store_id: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    return await api.http.post(
        "/v1/stocking-list/ready",
        json={"offer_id": offer["offer_id"], "store_id": store_id},
        headers=headers or api.auth("stf_hq", "hq"),
    )


async def state_of(api: World, order_id: str) -> Any:
    async with api.db.begin() as session:
        query = text("SELECT state FROM orders WHERE id = :id")
        return await session.scalar(query, {"id": order_id})


async def test_the_list_counts_what_stands_by_store(api: World) -> None:
    hq, offer = api.auth("stf_hq", "hq"), await regular(api)
    paid_at_ms = now_ms() - DAY_MS
    await write_standing(api, offer, "mbr_1", "store_a", paid_at_ms=paid_at_ms)
    partly = await write_standing(api, offer, "mbr_2", "store_a")
    await write_refund(api, partly, units=1)
    whole = await write_standing(api, offer, "mbr_3", "store_a")
    await write_refund(api, whole, units=2, amount_fen=100)
    await write_standing(api, offer, "mbr_4", "store_b")
    await write_standing(api, offer, "mbr_5", None)
    await write_standing(api, offer, "mbr_6", "store_a", split_fen=None)
    await write_standing(api, offer, "mbr_7", "store_a", state="refunding")
    await write_standing(api, offer, "mbr_8", "store_a", state="released", claim_state="released")
    lines = await stocking(api, hq, offer_id=offer["offer_id"])
    assert [(one["store_id"], one["orders"], one["to_stock"]) for one in lines] == [
        ("", 1, 2),
        ("store_a", 2, 3),
        ("store_b", 1, 2),
    ]
    assert lines[1] == {
        "store_id": "store_a",
        "store_name": "王芳的店",
        "offer_id": offer["offer_id"],
        "kind": "regular",
        "campaign_name": "晚八点秒杀",
        "sku_id": "sku_tea",
        "sku_name": "龙井 100g",
        "ready_after_days": 2,
        "orders": 2,
        "to_stock": 3,
        "ready": 0,
        "fulfilled": 0,
        "expected_from_ms": paid_at_ms + 2 * DAY_MS,
    }
    assert (await ready(api, offer, "store_a")).json()["units"] == 3
    line = (await stocking(api, hq, offer_id=offer["offer_id"], store_id="store_a"))[0]
    assert (line["to_stock"], line["ready"], line["expected_from_ms"]) == (0, 3, None)


async def test_a_guide_sees_only_their_store_whatever_is_asked(api: World) -> None:
    offer = await regular(api)
    for store_id in ("store_a", "store_b", None):
        await write_standing(api, offer, "mbr_1", store_id)
    asked = {"offer_id": offer["offer_id"], "store_id": "store_b"}
    lines = await stocking(api, api.guide("gd_wang"), **asked)
    assert [one["store_id"] for one in lines] == ["store_a"]
    assert await stocking(api, api.guide("gd_nobody"), **asked) == []
    assert await stocking(api, api.guide(""), **asked) == []


async def test_pages_and_the_csv_have_the_same_lines(api: World) -> None:
    hq = api.auth("stf_hq", "hq")
    for _ in range(2):
        offer = await regular(api)
        for store_id in ("store_a", "store_b", None):
            await write_standing(api, offer, "mbr_1", store_id)
    everything = await stocking(api, hq)
    paged: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        answer = await api.http.get("/v1/stocking-list", headers=hq, params={"limit": 2, **after})
        paged += answer.json()["lines"]
        if answer.json()["next"] is None:
            break
        after = {"after": answer.json()["next"]}
    assert paged == everything
    assert len(paged) >= 6
    bad = await api.http.get("/v1/stocking-list", headers=hq, params={"after": "nonsense"})
    assert (bad.status_code, bad.json()["code"]) == (400, "bad_cursor")
    for path, more in (("stocking-list.csv", {}), ("stocking-list", {"Accept": "text/csv"})):
        file = await api.http.get(f"/v1/{path}", headers=hq | more)
        assert file.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(file.text.removeprefix("\ufeff"))))
        assert [(row["store_id"], row["offer_id"], row["to_stock"]) for row in rows] == [
            (one["store_id"], one["offer_id"], str(one["to_stock"])) for one in everything
        ]


async def test_an_offer_leaves_the_list_long_after_its_end(api: World) -> None:
    hq, offer = api.auth("stf_hq", "hq"), await regular(api)
    await write_standing(api, offer, "mbr_1", "store_a")
    async with api.db.begin() as session:
        await session.execute(
            text(
                "UPDATE offers SET config = jsonb_set(config, '{ends_at_ms}', '1') WHERE id = :id"
            ),
            {"id": offer["offer_id"]},
        )
    listed = {one["offer_id"] for one in await stocking(api, hq)}
    assert offer["offer_id"] not in listed
    assert len(await stocking(api, hq, offer_id=offer["offer_id"])) == 1


async def test_only_orders_of_formed_teams_become_ready(api: World) -> None:
    offer = (await api.campaign(offer=team_offer(ready_after_days=3), price_fen=950))["offers"][0]
    formed = await write_team(api, offer, "formed", decided_at_ms=1_000_000)
    forming = await write_team(api, offer, "forming")
    seat = {"seat": "taken"}
    waiting = await write_standing(
        api, offer, "mbr_3", "store_a", team_id=forming, split_fen=None, **seat
    )
    refused = await ready(api, offer, "store_a")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_formed")
    assert refused.json()["undecided"] == 1
    orders = [
        await write_standing(api, offer, f"mbr_{n}", "store_a", team_id=formed, **seat)
        for n in range(2)
    ]
    lines = await stocking(api, api.guide("gd_wang"), offer_id=offer["offer_id"])
    assert lines[0]["expected_from_ms"] == 1_000_000 + 3 * DAY_MS
    done = await ready(api, offer, "store_a", api.guide("gd_wang"))
    assert done.json() == {
        "offer_id": offer["offer_id"],
        "store_id": "store_a",
        "orders": 2,
        "units": 4,
        "undecided": 1,
    }
    assert [await state_of(api, one) for one in (*orders, waiting)] == ["ready", "ready", "paid"]
    again = await ready(api, offer, "store_a")
    assert (again.status_code, again.json()["orders"]) == (200, 0)
    async with api.db.begin() as session:
        rows = (
            await session.execute(
                text(
                    "SELECT actor, detail FROM audit_log WHERE action = 'fulfilment.ready'"
                    " AND subject = :offer"
                ),
                {"offer": f"offer:{offer['offer_id']}"},
            )
        ).all()
    assert [(row[0], row[1]["orders"], row[1]["units"]) for row in rows] == [("stf_gd_wang", 2, 4)]


async def test_a_crowd_is_ready_when_it_is_formed_and_booked(api: World) -> None:
    offer = (await api.campaign(offer=crowd_offer()))["offers"][0]
    crowd_id = await write_team(api, offer, "reached")
    order_id = await write_standing(api, offer, "mbr_1", "store_a", team_id=crowd_id, seat="taken")

    async def then(change: str) -> tuple[int, str]:
        async with api.db.begin() as session:
            await session.execute(
                text(f"UPDATE teams SET {change} WHERE id = :id"), {"id": crowd_id}
            )
        answer = await ready(api, offer, "store_a")
        return answer.status_code, answer.json().get("code", "")

    assert await then("paid = 2") == (409, "not_formed")
    assert await then("state = 'formed', decided_at_ms = 1") == (409, "still_booking")
    assert await state_of(api, order_id) == "paid"
    assert await then("booked_at_ms = 2") == (200, "")
    assert await state_of(api, order_id) == "ready"


async def test_what_cannot_be_ready_is_refused_and_changes_nothing(api: World) -> None:
    offer, flash = await regular(api), (await api.campaign())["offers"][0]
    await write_standing(api, offer, "mbr_1", "store_b")
    before = await api.dump()
    for given, store_id, headers, expected in (
        (offer, "store_a", None, (409, "nothing_to_stock")),
        (offer, "store_x", None, (404, "store_not_found")),
        (offer, "store_b", api.guide("gd_wang"), (404, "store_not_found")),
        (offer, "store_x", api.guide("gd_wang"), (404, "store_not_found")),
        (offer, "store_b", api.guide(""), (404, "store_not_found")),
        (flash, "store_a", None, (409, "not_stocked")),
        ({"offer_id": "ofr_none"}, "store_a", None, (404, "offer_not_found")),
    ):
        answer = await ready(api, given, store_id, headers)
        assert (answer.status_code, answer.json()["code"]) == expected
    assert await api.dump() == before


async def test_many_at_once_in_batches_and_twice_at_the_same_time(api: World) -> None:
    """More than a transaction takes, asked for by two at once: each order once."""
    offer = await regular(api)
    first = await write_standing(api, offer, "mbr_0", "store_a")
    async with api.db.begin() as session:
        await session.execute(
            text(
                "INSERT INTO orders SELECT (jsonb_populate_record(o, jsonb_build_object("
                " 'id', o.id || '-' || n, 'claim_id', o.claim_id || '-' || n,"
                " 'payment_id', o.payment_id || '-' || n))).*"
                " FROM orders o, generate_series(1, 1200) n WHERE o.id = :id"
            ),
            {"id": first},
        )
    answers = await asyncio.gather(*[ready(api, offer, "store_a") for _ in range(2)])
    assert {one.status_code for one in answers} == {200}, [one.text for one in answers]
    assert sum(one.json()["orders"] for one in answers) == 1_201
    async with api.db.begin() as session:
        query = text(
            "SELECT count(*), count(DISTINCT p.serial) FROM orders o JOIN pick_ups p"
            " ON p.order_id = o.id WHERE o.offer_id = :id AND o.state = 'ready'"
        )
        assert tuple((await session.execute(query, {"id": offer["offer_id"]})).one()) == (
            1_201,
            1_201,
        )


async def test_orders_say_when_group_goods_are_there(api: World) -> None:
    offer = await regular(api, ends_at_ms=now_ms() + HOUR_MS)
    order_id = await write_standing(api, offer, "mbr_days", "store_a")
    mine = api.auth("mbr_days")
    one = (await api.http.get(f"/v1/orders/{order_id}", headers=mine)).json()
    listed = (await api.http.get("/v1/orders", headers=mine)).json()["orders"][0]
    assert (one["ready_after_days"], listed["ready_after_days"]) == (2, 2)
    shown = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()
    assert shown["ready_after_days"] == 2
