"""Waiting lists over HTTP: join, look, leave, and the claim that it becomes."""

import asyncio
from typing import Any

import httpx

from tests.campaigns.server import World, crowd_offer, team_offer


async def _offer(api: World, **changes: Any) -> dict[str, Any]:
    published = await api.campaign(**{"total": 1, **changes})
    found: dict[str, Any] = published["offers"][0]
    return found


async def wait(
    api: World, offer: dict[str, Any], buyer_id: str, *, key: str | None = None, **body: Any
) -> httpx.Response:
    """One wish, with the key that a claim of this buyer has in these tests."""
    return await api.http.post(
        f"/v1/offers/{offer['offer_id']}/waiting",
        json={"qty": 1, "price_id": offer["price_ids"][0], **body},
        headers=api.auth(buyer_id, key=key or f"key-{buyer_id}"),
    )


async def look(api: World, offer: dict[str, Any], buyer_id: str) -> httpx.Response:
    return await api.http.get(f"/v1/offers/{offer['offer_id']}/waiting", headers=api.auth(buyer_id))


async def leave(api: World, offer: dict[str, Any], buyer_id: str) -> dict[str, Any]:
    answer = await api.http.delete(
        f"/v1/offers/{offer['offer_id']}/waiting", headers=api.auth(buyer_id)
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def cancel(api: World, claim_id: str, buyer_id: str) -> None:
    answer = await api.http.post(f"/v1/claims/{claim_id}/cancel", headers=api.auth(buyer_id))
    assert answer.status_code == 200, answer.text


async def test_sold_out_waiting_and_held_under_the_same_key(api: World) -> None:
    offer = await _offer(api)
    price_id = offer["price_ids"][0]
    held = (await api.claim(offer, "mbr_a")).json()
    assert (await api.claim(offer, "mbr_b")).json()["code"] == "sold_out"
    joined = await wait(api, offer, "mbr_b")
    assert joined.status_code == 201, joined.text
    place = {"state": "waiting", "offer_id": offer["offer_id"], "qty": 1, "price_id": price_id}
    assert joined.json() == {**place, "place": 1, "before": 0}
    assert (await wait(api, offer, "mbr_c")).json()["before"] == 1
    again = await wait(api, offer, "mbr_c", key="another-key", qty=2)  # the first wish stays
    assert again.json() == (await look(api, offer, "mbr_c")).json()
    assert again.json() == {**place, "place": 2, "before": 1}
    other = await wait(api, offer, "mbr_c", qty=2)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert (await api.claim(offer, "mbr_b")).json()["code"] == "sold_out"  # while it waits

    await cancel(api, held["claim_id"], "mbr_a")
    for _ in range(2):
        served = await api.claim(offer, "mbr_b")
        assert (served.status_code, served.headers["idempotent-replay"]) == (201, "true")
        told = await wait(api, offer, "mbr_b")
        assert (told.status_code, told.json()["state"]) == (201, "served")
        assert told.json()["claim"] == served.json()
    seen = await api.http.get(f"/v1/claims/{served.json()['claim_id']}", headers=api.auth("mbr_b"))
    assert (seen.json()["state"], seen.json()["units"]) == ("held", 1)
    assert (await look(api, offer, "mbr_b")).json()["code"] == "not_waiting"
    assert (await api.claim(offer, "mbr_d")).json()["code"] == "sold_out"
    view = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()["availability"]
    assert (view["waiting"], view["available"], view["held"]) == (1, 0, 1)


async def test_leaving_may_be_repeated_and_keeps_what_was_held(api: World) -> None:
    offer = await _offer(api)
    held = (await api.claim(offer, "mbr_a")).json()
    await wait(api, offer, "mbr_b")
    await wait(api, offer, "mbr_c")
    assert await leave(api, offer, "mbr_b") == {"left": True, "units": 0}
    assert await leave(api, offer, "mbr_b") == {"left": False, "units": 0}
    await cancel(api, held["claim_id"], "mbr_a")
    assert await leave(api, offer, "mbr_c") == {"left": False, "units": 1}  # too late
    back = await wait(api, offer, "mbr_b", key="another-key")
    assert (back.json()["place"], back.json()["before"]) == (3, 0)


async def test_refusals_say_why(api: World) -> None:
    offer = await _offer(api, total=2, offer={"per_order_max": 3, "per_buyer_max": 3})

    async def why(buyer_id: str, **body: Any) -> dict[str, Any]:
        answer = await wait(api, offer, buyer_id, key="key-of-refusals", **body)
        found: dict[str, Any] = answer.json()
        assert answer.status_code == found["status"] == 409, found
        return found

    assert (await why("mbr_a"))["code"] == "available"
    assert (await why("mbr_a", qty=3))["code"] == "too_few"
    assert (await why("mbr_a", qty=4))["limit"] == "order"
    assert (await api.claim(offer, "mbr_a", qty=2)).status_code == 201
    assert (await why("mbr_a", qty=2))["limit"] == "offer"
    changed = await why("mbr_b", price_id="prc_of_yesterday")
    assert (changed["code"], changed["price_id"]) == ("price_changed", offer["price_ids"][0])
    closed = await api.http.post(
        f"/v1/offers/{offer['offer_id']}/close",
        json={"reason": "test"},
        headers=api.auth("stf_hq", "hq", key="key-of-closing"),
    )
    assert closed.status_code == 200
    assert (await why("mbr_b"))["code"] == "closed"
    nobody = await wait(api, {**offer, "offer_id": "ofr_none"}, "mbr_b")
    assert (nobody.status_code, nobody.json()["code"]) == (404, "offer_not_found")
    for group in (team_offer(), crowd_offer()):
        offer = (await api.campaign(offer=group))["offers"][0]
        assert (await why("mbr_b"))["code"] == "no_waiting"


async def test_what_is_free_and_fits_nobody_before_is_held_at_once(api: World) -> None:
    offer = await _offer(api, total=2)
    await api.claim(offer, "mbr_a")
    assert (await wait(api, offer, "mbr_b", qty=2)).json()["state"] == "waiting"
    assert (await api.claim(offer, "mbr_c")).json()["code"] == "sold_out"
    served = await wait(api, offer, "mbr_c")
    assert (served.status_code, served.json()["state"]) == (201, "served")
    assert (await api.claim(offer, "mbr_c")).json() == served.json()["claim"]


async def test_each_wish_is_one_claim_however_often_it_is_sent(api: World) -> None:
    """Claims and wishes of one key at once, while units come free."""
    offer = await _offer(api, total=3)
    claims = [(await api.claim(offer, f"mbr_{n}")).json()["claim_id"] for n in range(3)]
    sends = [
        send(api, offer, f"mbr_w{n}")
        for n in range(3)
        for send in (wait, wait, lambda *given: api.claim(*given[1:]))
    ]
    frees = [cancel(api, claim_id, f"mbr_{n}") for n, claim_id in enumerate(claims)]
    await asyncio.gather(*sends, *frees)
    found = set()
    for n in range(3):
        answer = await api.claim(offer, f"mbr_w{n}")
        assert answer.status_code == 201, answer.text
        found.add(answer.json()["claim_id"])
        assert await leave(api, offer, f"mbr_w{n}") == {"left": False, "units": 1}
    assert len(found) == 3
