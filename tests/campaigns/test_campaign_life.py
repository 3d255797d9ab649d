"""A campaign from draft to sale over HTTP, each step with its audit row."""

import asyncio
from typing import Any

from sqlalchemy import select, update

from campaigns.campaign.models import CampaignVersion
from campaigns.offer.models import Offer, OfferCommand
from engine.models import AuditRow
from engine.shards import shard_of
from tests.campaigns.server import PLAN, World, draft


async def _step(api: World, campaign_id: str, step: str, body: Any = None) -> tuple[int, Any]:
    answer = await api.http.post(
        f"/v1/campaigns/{campaign_id}/{step}", json=body, headers=api.auth("stf_hq", "hq")
    )
    return answer.status_code, answer.json()


async def _draft(api: World, **changes: Any) -> str:
    answer = await api.http.post(
        "/v1/campaigns", json=draft(**changes), headers=api.auth("stf_hq", "hq")
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["state"] == "draft"
    return str(answer.json()["id"])


async def _audited(api: World, subject: str) -> list[str]:
    async with api.db.begin() as session:
        rows = await session.scalars(
            select(AuditRow.action).where(AuditRow.subject == subject).order_by(AuditRow.id)
        )
        return list(rows)


async def test_from_draft_to_sale(api: World) -> None:
    campaign_id = await _draft(api)
    hq = api.auth("stf_hq", "hq")
    assert (await _step(api, campaign_id, "publish"))[1]["code"] == "campaign_state"
    assert (await _step(api, campaign_id, "submit"))[1]["state"] == "in_review"
    frozen = await api.http.put(f"/v1/campaigns/{campaign_id}", json=draft(), headers=hq)
    assert (frozen.status_code, frozen.json()["code"]) == (409, "campaign_state")
    assert (await _step(api, campaign_id, "review", {"decision": "reject"}))[1]["code"] == (
        "note_missing"
    )
    rejected = {"decision": "reject", "note": "too cheap"}
    assert (await _step(api, campaign_id, "review", rejected))[1]["review_note"] == "too cheap"
    better = draft(price_fen=1_500, name="better")
    edited = await api.http.put(f"/v1/campaigns/{campaign_id}", json=better, headers=hq)
    assert edited.json()["draft"]["name"] == "better"
    assert (await _step(api, campaign_id, "submit"))[1]["review_note"] == ""
    assert (await _step(api, campaign_id, "review", {"decision": "approve"}))[1]["state"] == (
        "approved"
    )
    status, published = await _step(api, campaign_id, "publish")
    assert (status, published["state"], published["version"]) == (200, "running", 1)
    assert published["shard"] == shard_of(campaign_id, 4)
    assert (await _step(api, campaign_id, "publish"))[1]["code"] == "campaign_state"
    edited = await api.http.put(f"/v1/campaigns/{campaign_id}", json=better, headers=hq)
    assert edited.json()["possible"] == ["cancel"]
    assert await _audited(api, campaign_id) == [
        "campaign.create",
        "campaign.submit",
        "campaign.reject",
        "campaign.edit",
        "campaign.submit",
        "campaign.approve",
        "campaign.publish",
    ]
    seen = (await api.http.get(f"/v1/campaigns/{campaign_id}", headers=hq)).json()
    assert seen["offers"] == published["offers"]
    assert (await api.claim(published["offers"][0], "mbr_a")).status_code == 201


async def test_publishing_writes_the_version_before_any_script(api: World) -> None:
    published = await api.campaign(total=7)
    (offer,) = published["offers"]
    async with api.db.begin() as session:
        version = await session.get_one(CampaignVersion, (published["id"], 1))
        row = await session.get_one(Offer, offer["offer_id"])
        commands = (
            await session.scalars(select(OfferCommand).where(OfferCommand.offer_id == row.id))
        ).all()
    assert version.body["split_plan"] == PLAN
    assert version.body["offers"][0]["offer_id"] == offer["offer_id"]
    assert (row.state, row.total, row.shard) == ("scheduled", 0, published["shard"])
    assert [(one.kind, one.units, one.applied_seq) for one in commands] == [("open", 7, None)]
    hot = await api.inventory.offer_state(row.shard, row.id)
    assert (hot["total"], hot["campaign_id"]) == ("7", published["id"])


async def test_broken_rules_stop_the_submission(api: World) -> None:
    campaign_id = await _draft(api, price_fen=1_900, hold_ms=1)
    before = await api.dump()
    status, refused = await _step(api, campaign_id, "submit")
    assert (status, refused["code"]) == (422, "campaign_invalid")
    assert {error["field"] for error in refused["errors"]} == {
        "hold_ms",
        "offers[0].prices[0].price_fen",
    }
    assert await api.dump() == before


async def test_publishing_twice_at_once_publishes_once(api: World) -> None:
    campaign_id = await _draft(api)
    await _step(api, campaign_id, "submit")
    await _step(api, campaign_id, "review", {"decision": "approve"})
    answers = await asyncio.gather(*(_step(api, campaign_id, "publish") for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] + [409] * 7
    async with api.db.begin() as session:
        offers = await session.scalars(select(Offer).where(Offer.campaign_id == campaign_id))
        assert len(offers.all()) == 1


async def test_stock_added_live_is_sold_and_added_once(api: World) -> None:
    offer = (await api.campaign(total=1))["offers"][0]
    assert (await api.claim(offer, "mbr_a")).status_code == 201
    assert (await api.claim(offer, "mbr_b")).json()["code"] == "sold_out"
    url, key = f"/v1/offers/{offer['offer_id']}/restock", "restock-000001"
    hq = api.auth("stf_hq", "hq", key=key)
    answers = await asyncio.gather(
        *(api.http.post(url, json={"units": 2}, headers=hq) for _ in range(5))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["command_id"] for answer in answers}) == 1
    other = await api.http.post(url, json={"units": 3}, headers=hq)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")
    assert [(await api.claim(offer, f"mbr_{n}")).status_code for n in "bcd"] == [201, 201, 409]
    assert await _audited(api, offer["offer_id"]) == ["offer.restock"]
    missing = await api.http.post("/v1/offers/ofr_none/restock", json={"units": 2}, headers=hq)
    assert missing.json()["code"] == "offer_not_found"


async def test_a_closed_offer_takes_no_stock_but_a_repeat_keeps_its_answer(api: World) -> None:
    offer = (await api.campaign(total=1))["offers"][0]
    url = f"/v1/offers/{offer['offer_id']}"
    before = api.auth("stf_hq", "hq", key="restock-before1")
    first = await api.http.post(f"{url}/restock", json={"units": 2}, headers=before)
    assert first.status_code == 200
    async with api.db.begin() as session:
        await session.execute(
            update(Offer).where(Offer.id == offer["offer_id"]).values(state="closed")
        )
    after = api.auth("stf_hq", "hq", key="restock-after-1")
    refused = await api.http.post(f"{url}/restock", json={"units": 2}, headers=after)
    assert (refused.status_code, refused.json()["code"]) == (409, "offer_closed")
    repeat = await api.http.post(f"{url}/restock", json={"units": 2}, headers=before)
    assert repeat.status_code == 200
    assert await _audited(api, offer["offer_id"]) == ["offer.restock"]


async def test_an_offer_tells_what_buyers_need(api: World) -> None:
    published = await api.campaign(
        prices=[{"price_fen": 900}, {"price_fen": 1_200, "from_ms": draft()["ends_at_ms"] - 9_000}],
        late="retake",
    )
    offer = published["offers"][0]
    seen = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()
    assert (seen["price_id"], seen["price_fen"]) == (offer["price_ids"][0], 900)
    assert seen["next_price"]["price_fen"] == 1_200
    assert (seen["shelf_price_fen"], seen["mall_price_fen"]) == (2_000, 1_800)
    assert (seen["phase"], seen["sku_name"]) == ("open", "龙井 100g")
    assert seen["availability"] == {
        "state": "available",
        "available": 100,
        "held": 0,
        "sold": 0,
        "total": 100,
        "may_return_until_ms": None,
        "waiting": 0,
        "live": True,
    }
    assert "if they are still free" in seen["late_says"]
    listed = await api.http.get(f"/v1/offers?campaign_id={published['id']}")
    assert [one["offer_id"] for one in listed.json()["offers"]] == [offer["offer_id"]]


async def test_campaigns_are_listed_by_key(api: World) -> None:
    ids = [await _draft(api, name=f"list {number}") for number in range(3)]
    hq = api.auth("stf_hq", "hq")
    first = (await api.http.get("/v1/campaigns?limit=2&state=draft", headers=hq)).json()
    assert [one["id"] for one in first["campaigns"]] == ids[:0:-1]
    rest = await api.http.get(f"/v1/campaigns?limit=1&after={first['next']}", headers=hq)
    assert rest.json()["campaigns"][0]["id"] == ids[0]
