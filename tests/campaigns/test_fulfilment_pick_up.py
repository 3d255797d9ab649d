"""Handing over: by a right code, in the right store, once, and only what was not given back."""

import asyncio
from typing import Any

import httpx
from sqlalchemy import text

from campaigns.fulfilment.codes import PickUpCodes
from engine import keys
from engine.ids import new_id, now_ms
from tests.campaigns.server import World
from tests.campaigns.standing import regular, write_refund, write_standing


async def pick_up_of(api: World, order_id: str, buyer_id: str = "mbr_p") -> dict[str, Any]:
    answer = await api.http.get(f"/v1/orders/{order_id}/pick-up", headers=api.auth(buyer_id))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def choose(
    api: World, order_id: str, store_id: str, headers: dict[str, str] | None = None
) -> httpx.Response:
    return await api.http.put(
        f"/v1/orders/{order_id}/pick-up-store",
        json={"store_id": store_id},
        headers=headers or api.auth("mbr_p"),
    )


async def hand_over(api: World, code: str, guide: str = "gd_wang") -> httpx.Response:
    return await api.http.post("/v1/pick-ups", json={"code": code}, headers=api.guide(guide))


async def make_ready(api: World, offer: dict[str, Any], store_id: str = "store_a") -> None:
    body = {"offer_id": offer["offer_id"], "store_id": store_id}
    headers = api.auth("stf_hq", "hq")
    answer = await api.http.post("/v1/stocking-list/ready", json=body, headers=headers)
    assert answer.status_code == 200, answer.text


async def ready_order(api: World, **changes: Any) -> tuple[str, str]:
    """The id and the code of an order of two units that waits in store_a."""
    offer = await regular(api)
    order_id = await write_standing(api, offer, "mbr_p", "store_a", **changes)
    await make_ready(api, offer)
    return order_id, (await pick_up_of(api, order_id))["code"]


async def column(api: World, sql: str, order_id: str) -> Any:
    async with api.db.begin() as session:
        return await session.scalar(text(sql), {"id": order_id})


async def test_from_paid_to_handed_over(api: World) -> None:
    offer = await regular(api)
    paid_at_ms = now_ms()
    order_id = await write_standing(api, offer, "mbr_p", "store_a", paid_at_ms=paid_at_ms)
    seen = await pick_up_of(api, order_id)
    assert (seen["state"], seen["stands"], seen["units"], seen["code"]) == ("paid", True, 2, None)
    assert seen["expected_from_ms"] == paid_at_ms + 2 * 86_400_000
    assert seen["store"] == {"store_id": "store_a", "name": "王芳的店", "city": "", "address": ""}
    assert "2 days" in seen["says"]
    await make_ready(api, offer)
    seen = await pick_up_of(api, order_id)
    assert (seen["state"], seen["ready_at_ms"] is not None) == ("ready", True)
    assert seen["code_expires_at_ms"] > now_ms()
    for_hq = await api.http.get(f"/v1/orders/{order_id}/pick-up", headers=api.auth("stf_hq", "hq"))
    assert (for_hq.json()["state"], for_hq.json()["code"]) == ("ready", None)
    done = await hand_over(api, seen["code"].lower().replace("-", " "))
    assert done.status_code == 200, done.text
    assert done.json() == {
        "order_id": order_id,
        "offer_id": offer["offer_id"],
        "sku_id": "sku_tea",
        "sku_name": "龙井 100g",
        "units": 2,
        "fulfilled_at_ms": done.json()["fulfilled_at_ms"],
    }
    again = await hand_over(api, seen["code"])
    assert (again.status_code, again.json()["code"]) == (409, "already_handed_over")
    assert again.json()["fulfilled_at_ms"] == done.json()["fulfilled_at_ms"]
    assert again.json()["fulfilled_by"] == "stf_gd_wang"
    seen = await pick_up_of(api, order_id)
    assert (seen["state"], seen["code"], seen["says"]) == ("fulfilled", None, "It was handed over.")
    assert seen["fulfilled_at_ms"] == done.json()["fulfilled_at_ms"]
    count = "SELECT count(*) FROM audit_log WHERE action = 'fulfilment.hand_over' AND subject = :id"
    assert await column(api, count, f"order:{order_id}") == 1


async def test_two_scans_at_once_hand_over_once(api: World) -> None:
    _, code = await ready_order(api)
    answers = await asyncio.gather(*[hand_over(api, code) for _ in range(8)])
    said = sorted(one.json().get("code", "done") for one in answers)
    assert said == ["already_handed_over"] * 7 + ["done"]


async def test_only_in_the_store_where_it_waits(api: World) -> None:
    order_id, code = await ready_order(api)
    elsewhere = await hand_over(api, code, "gd_li")
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "other_store")
    assert elsewhere.json()["store_id"] == "store_a"
    nowhere = await hand_over(api, code, "gd_nobody")
    assert (nowhere.status_code, nowhere.json()["code"]) == (409, "no_store")
    assert await column(api, "SELECT state FROM orders WHERE id = :id", order_id) == "ready"


async def test_wrong_codes_are_counted_and_change_nothing(api: World) -> None:
    order_id, code = await ready_order(api)
    await api.redis.delete(keys.pick_up_tries("store_a"))
    before = await api.dump()
    last = "2" if code[-1] != "2" else "3"
    for wrong in (code[:-1] + last, "0000-0000-0000", "nonsense", "一二三四", code[:-1], "-"):
        answer = await hand_over(api, wrong)
        assert (answer.status_code, answer.json()["code"]) == (422, "wrong_code"), wrong
    assert (await api.dump())["rows"] == before["rows"]
    assert int(await api.redis.get(keys.pick_up_tries("store_a")) or 0) == 6
    most = api.settings.pick_up_tries_max
    answers = await asyncio.gather(*[hand_over(api, code[:-1] + last) for _ in range(most)])
    assert sorted(one.status_code for one in answers) == [422] * (most - 6) + [429] * 6
    refused = await hand_over(api, code)  # also the right one: else guessing would go on
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_tries")
    assert int(refused.headers["retry-after"]) >= 1
    await api.redis.delete(keys.pick_up_tries("store_a"))
    assert (await hand_over(api, code)).status_code == 200
    assert int(await api.redis.get(keys.pick_up_tries("store_a")) or 0) == 0
    assert await column(api, "SELECT state FROM orders WHERE id = :id", order_id) == "fulfilled"


async def test_an_old_code_says_so_and_the_order_shows_a_fresh_one(api: World) -> None:
    order_id, code = await ready_order(api)
    serial = await column(api, "SELECT serial FROM pick_ups WHERE order_id = :id", order_id)
    ago = now_ms() - 3 * api.settings.pick_up_code_ms
    old = PickUpCodes(api.redis, api.settings).show(serial, order_id, "store_a", ago).code
    answer = await hand_over(api, old)
    assert (answer.status_code, answer.json()["code"]) == (410, "code_expired")
    assert (await hand_over(api, code)).status_code == 200


async def test_units_that_were_given_back_are_not_handed_over(api: World) -> None:
    order_id, code = await ready_order(api)
    await write_refund(api, order_id, units=1)
    assert (await pick_up_of(api, order_id))["units"] == 1
    assert (await hand_over(api, code)).json()["units"] == 1
    assert (await pick_up_of(api, order_id))["units"] == 1

    back_id, code = await ready_order(api)
    asked = await api.http.post(
        f"/v1/orders/{back_id}/refunds",
        json={"units": 2},
        headers=api.auth("mbr_p", key=new_id("key")),
    )
    assert asked.status_code == 201, asked.text
    refused = await hand_over(api, code)
    assert (refused.status_code, refused.json()["code"]) == (409, "order_state")
    assert (await pick_up_of(api, back_id))["code"] is None

    cheap_id, code = await ready_order(api)  # HQ gave both back for less than was paid
    await write_refund(api, cheap_id, units=2, amount_fen=100)
    refused = await hand_over(api, code)
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_left")


async def test_a_refund_and_a_scan_at_once_never_give_both(api: World) -> None:
    """Either the units go back on sale or over the counter."""
    for _ in range(6):
        order_id, code = await ready_order(api)
        refund, scan = await asyncio.gather(
            api.http.post(
                f"/v1/orders/{order_id}/refunds",
                json={"units": 1},
                headers=api.auth("mbr_p", key=new_id("key")),
            ),
            hand_over(api, code),
        )
        assert scan.status_code == 200, scan.text
        back = 1 if refund.status_code == 201 else 0
        assert back or refund.json()["code"] == "handed_over"
        assert scan.json()["units"] == 2 - back


async def test_after_handing_over_only_money_goes_back(api: World) -> None:
    order_id, code = await ready_order(api)
    await hand_over(api, code)
    hq = api.auth("stf_hq", "hq")

    async def refund(body: dict[str, Any], who: dict[str, str]) -> tuple[int, Any]:
        answer = await api.http.post(
            f"/v1/orders/{order_id}/refunds",
            json=body,
            headers=who | {"Idempotency-Key": new_id("key")},
        )
        return answer.status_code, answer.json()

    for body, who in (
        ({"units": 1}, api.auth("mbr_p")),
        ({"units": 1}, hq),
        ({"units": 1, "amount_fen": 100}, hq),
    ):
        status, said = await refund(body, who)
        assert (status, said["code"]) == (409, "handed_over")
    status, said = await refund({"amount_fen": 300}, hq)
    assert (status, said["units"], said["amount_fen"]) == (201, 0, 300)
    assert await column(api, "SELECT state FROM orders WHERE id = :id", order_id) == "fulfilled"
    status, said = await refund({"amount_fen": 1_700}, hq)
    assert status == 201
    assert (await pick_up_of(api, order_id))["says"] == "It was handed over."


async def test_a_customer_chooses_the_store_until_the_goods_are_there(api: World) -> None:
    offer = await regular(api)
    order_id = await write_standing(api, offer, "mbr_p", None)
    seen = await pick_up_of(api, order_id)
    assert (seen["store"], "Choose the store" in seen["says"]) == (None, True)
    chosen = await choose(api, order_id, "store_b")
    assert (chosen.status_code, chosen.json()["store"]["store_id"]) == (200, "store_b")
    by_hq = await choose(api, order_id, "store_a", api.auth("stf_hq", "hq"))
    assert by_hq.status_code == 200
    nobody = await choose(api, order_id, "store_b", api.auth("mbr_other"))
    assert (nobody.status_code, nobody.json()["code"]) == (404, "order_not_found")
    no_store = await choose(api, order_id, "store_x")
    assert (no_store.status_code, no_store.json()["code"]) == (404, "store_not_found")
    await make_ready(api, offer)
    late = await choose(api, order_id, "store_b")
    assert (late.status_code, late.json()["code"]) == (409, "order_state")
    assert (await hand_over(api, (await pick_up_of(api, order_id))["code"])).status_code == 200
    changes = "SELECT count(*) FROM audit_log WHERE action = 'fulfilment.store' AND subject = :id"
    assert await column(api, changes, f"order:{order_id}") == 1


async def test_only_stores_of_the_campaign_and_no_flash(api: World) -> None:
    offer = await regular(api, stores=["store_b"])
    order_id = await write_standing(api, offer, "mbr_p", None)
    assert (await choose(api, order_id, "store_a")).json()["code"] == "store_not_found"
    assert (await choose(api, order_id, "store_b")).status_code == 200
    flash = (await api.campaign())["offers"][0]
    flash_id = await write_standing(api, flash, "mbr_p", None)
    assert (await choose(api, flash_id, "store_b")).json()["code"] == "not_stocked"
