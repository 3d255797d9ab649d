"""The price order per SKU: regular above team above crowd, across campaigns, stores and imports."""

import asyncio
from typing import Any

import msgspec
import pytest
from sqlalchemy import update

from campaigns.campaign import price_guard
from campaigns.campaign.schemas import CampaignIn
from campaigns.offer.models import Offer
from campaigns.offer.on_sale import Priced, Window
from campaigns.people.imports.service import ImportFile, import_files
from campaigns.people.phones import PhoneKeys
from campaigns.sku.models import Sku
from engine.errors import BadInput
from engine.ids import new_id, now_ms
from tests.campaigns.server import HOUR_MS, World, crowd_offer, draft, team_offer

NOW = now_ms()


def _campaign(*offers: dict[str, Any], **changes: Any) -> CampaignIn:
    filled = [draft(offer=offer)["offers"][0] for offer in offers]
    return msgspec.convert(draft(offers=filled, **changes), CampaignIn)


def _published(kind: str, fen: int, **changes: Any) -> Priced:
    window = Window(
        changes.get("from_ms", NOW - HOUR_MS),
        changes.get("until_ms", NOW + HOUR_MS),
        frozenset(changes.get("stores", ())),
    )
    return Priced("sku_tea", kind, fen, window, "", "ofr_other", "cmp_other", "老活动")


def _fields(campaign: CampaignIn, *on_sale: Priced) -> list[str]:
    return [error.field for error, _ in price_guard.conflicts(campaign, on_sale)]


def test_regular_above_team_above_crowd_within_a_campaign() -> None:
    regular = {"kind": "regular", "prices": [{"price_fen": 1_500}]}
    team = team_offer(prices=[{"price_fen": 1_400}])
    crowd = crowd_offer((2, 1_300), (3, 1_200))
    assert _fields(_campaign(regular, team, crowd)) == []
    dear = team_offer(prices=[{"price_fen": 1_500}])
    assert _fields(_campaign(regular, dear, crowd)) == ["offers[1].prices[0].price_fen"]
    assert _fields(_campaign(crowd_offer((2, 1_500), (3, 1_450)), team, regular)) == [
        "offers[0].steps[0].price_fen",  # not below the team
        "offers[0].steps[0].price_fen",  # not below the regular one
        "offers[0].steps[1].price_fen",
    ]
    captain = team_offer(prices=[{"price_fen": 1_400}], captain_price_fen=1_300)
    assert _fields(_campaign(captain, crowd)) == ["offers[1].steps[0].price_fen"]
    cheap = crowd_offer(
        (2, 1_300), charging="pay_regular_return_difference", regular_price_fen=1_300
    )
    assert _fields(_campaign(cheap)) == ["offers[0].steps[0].price_fen"]


def test_prices_at_different_times_do_not_meet() -> None:
    rising = {
        "kind": "regular",
        "prices": [{"price_fen": 1_000}, {"price_fen": 1_500, "from_ms": NOW}],
    }
    campaign = _campaign(rising)
    before = _published("team", 1_200, until_ms=NOW)
    after = _published("team", 1_200, from_ms=NOW)
    assert _fields(campaign, after) == []
    assert _fields(campaign, before) == ["offers[0].prices[0].price_fen"]


@pytest.mark.parametrize(
    ("mine", "theirs", "meet"),
    [
        ((), (), True),
        (("a",), (), True),
        ((), ("a",), True),
        (("a", "b"), ("b",), True),
        (("a",), ("b",), False),
    ],
)
def test_stores_overlap(mine: tuple[str, ...], theirs: tuple[str, ...], meet: bool) -> None:
    campaign = _campaign(team_offer(), stores=list(mine))
    found = _fields(campaign, _published("regular", 1_000, stores=theirs))
    assert found == (["offers[0].prices[0].price_fen"] if meet else [])


def test_kinds_outside_the_order_and_other_skus_do_not_matter() -> None:
    campaign = _campaign(team_offer(), {"kind": "flash", "prices": [{"price_fen": 1}]})
    other = _published("crowd", 1_200)._replace(sku_id="sku_cup")
    assert _fields(campaign, other, _published("flash", 1_000), _published("team", 1_000)) == []


def test_a_refusal_has_an_end() -> None:
    campaign = _campaign(team_offer())
    many = [_published("crowd", 1_000)] * 500
    assert len(_fields(campaign, *many)) == price_guard.CONFLICTS_MAX


async def _sku(api: World) -> str:
    """A SKU of its own for a test, at 20.00 and 18.00 yuan."""
    sku_id = new_id("sku")
    async with api.db.begin() as session:
        session.add(Sku(id=sku_id, name="茶", shelf_price_fen=2_000, mall_price_fen=1_800))
    return sku_id


async def _approved(api: World, offer: dict[str, Any], **changes: Any) -> str:
    hq = api.auth("stf_hq", "hq")
    body = draft(offer=offer, **changes)
    made = (await api.http.post("/v1/campaigns", json=body, headers=hq)).json()
    for step, decision in (("submit", None), ("review", {"decision": "approve"})):
        answer = await api.http.post(
            f"/v1/campaigns/{made['id']}/{step}", json=decision, headers=hq
        )
        assert answer.status_code == 200, answer.text
    return str(made["id"])


async def _publish(api: World, campaign_id: str) -> tuple[int, dict[str, Any]]:
    answer = await api.http.post(
        f"/v1/campaigns/{campaign_id}/publish", headers=api.auth("stf_hq", "hq")
    )
    return answer.status_code, answer.json()


async def test_the_refusal_names_offer_campaign_stores_and_window(api: World) -> None:
    sku_id = await _sku(api)
    ends = now_ms() + HOUR_MS
    published = await api.campaign(
        name="早场",
        offer={"kind": "regular", "sku_id": sku_id},
        stores=["store_a"],
        ends_at_ms=ends,
    )
    (theirs,) = published["offers"]
    elsewhere = await _approved(api, team_offer(sku_id=sku_id), stores=["store_b"])
    assert (await _publish(api, elsewhere))[0] == 200
    hq = api.auth("stf_hq", "hq")
    body = draft(offer=team_offer(sku_id=sku_id))
    made = (await api.http.post("/v1/campaigns", json=body, headers=hq)).json()
    answer = await api.http.post(f"/v1/campaigns/{made['id']}/submit", headers=hq)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "campaign_invalid"
    (error,) = problem["errors"]
    assert error["field"] == "offers[0].prices[0].price_fen"
    for named in (theirs["offer_id"], "早场", "store_a", "¥10.00", "regular"):
        assert named in error["message"]
    (conflict,) = problem["conflicts"]
    assert conflict["offer_id"] == theirs["offer_id"]
    assert (conflict["stores"], conflict["ends_at_ms"]) == (["store_a"], ends)


async def test_an_offer_that_is_closed_or_over_is_in_nobodys_way(api: World) -> None:
    sku_id = await _sku(api)
    regular = {"kind": "regular", "sku_id": sku_id}
    await api.campaign(offer=regular, ends_at_ms=now_ms() + 2_000)
    later = await _approved(
        api,
        team_offer(sku_id=sku_id),
        starts_at_ms=now_ms() + 10_000,
        ends_at_ms=now_ms() + HOUR_MS,
    )
    assert (await _publish(api, later))[0] == 200
    sku_id = await _sku(api)
    team = await _approved(api, team_offer(sku_id=sku_id))
    crowd = (await api.campaign(offer=crowd_offer((2, 1_000), sku_id=sku_id)))["offers"][0]
    assert (await _publish(api, team))[0] == 422
    async with api.db.begin() as session:  # as the settler does when the close is in the stream
        await session.execute(
            update(Offer).where(Offer.id == crowd["offer_id"]).values(state="closed")
        )
    assert (await _publish(api, team))[0] == 200


async def test_of_two_publishers_at_once_one_is_refused(api: World) -> None:
    for _ in range(6):
        sku_id = await _sku(api)
        regular = await _approved(api, {"kind": "regular", "sku_id": sku_id})
        team = await _approved(api, team_offer(sku_id=sku_id))
        answers = await asyncio.gather(_publish(api, regular), _publish(api, team))
        assert sorted(status for status, _ in answers) == [200, 422]
        (refused,) = [problem for status, problem in answers if status == 422]
        (won,) = [campaign for status, campaign in answers if status == 200]
        assert refused["code"] == "campaign_invalid"
        assert refused["conflicts"][0]["offer_id"] == won["offers"][0]["offer_id"]


async def test_publishers_of_several_skus_in_any_order_do_not_block_each_other(api: World) -> None:
    one, two = await _sku(api), await _sku(api)

    async def approved(*sku_ids: str) -> str:
        offers = [draft(offer={"sku_id": sku_id})["offers"][0] for sku_id in sku_ids]
        return await _approved(api, {}, offers=offers)

    ids = [await approved(one, two), await approved(two, one), await approved(one, two)]
    answers = await asyncio.gather(*(_publish(api, campaign_id) for campaign_id in ids))
    assert [status for status, _ in answers] == [200, 200, 200]


def _file(sku_id: str, shelf: str, mall: str) -> ImportFile:
    text = f"商品编码,商品名称,门店价,商城价\n{sku_id},茶,{shelf},{mall}\n"
    return ImportFile("skus.csv", text.encode())


async def _import(api: World, file: ImportFile) -> list[str]:
    """The problems; none when it went through."""
    phones = PhoneKeys(api.settings.phone_secret)
    try:
        await import_files(api.db, api.settings, phones, [file], actor="test")
    except BadInput as error:
        problems = error.extra["problems"]
        assert isinstance(problems, list)
        return problems
    return []


OFFERS: dict[str, dict[str, Any]] = {
    "flash": {},
    "unlaunched flash": {"launch": "host", "duration_ms": 60_000},
    "team": team_offer(),
    "crowd": crowd_offer((2, 1_500)),
}


@pytest.mark.parametrize("kind", OFFERS)
async def test_an_import_that_would_break_a_published_offer_is_refused(
    api: World, kind: str
) -> None:
    sku_id = await _sku(api)
    offer = {**OFFERS[kind], "sku_id": sku_id}
    published = await api.campaign(offer=offer, price_fen=1_500)
    before = await api.dump()
    (problem,) = await _import(api, _file(sku_id, "20", "15"))
    assert problem.startswith("skus.csv line 2, column 商城价: ¥15.00 is not above")
    assert published["offers"][0]["offer_id"] in problem
    assert await api.dump() == before
    assert len(await _import(api, _file(sku_id, "14", "15"))) == 2
    assert await _import(api, _file(sku_id, "30", "15.01")) == []


async def test_an_import_and_a_publisher_at_once_never_both_win(api: World) -> None:
    outcomes = set()
    for _ in range(6):
        sku_id = await _sku(api)
        campaign_id = await _approved(api, team_offer(sku_id=sku_id), price_fen=1_700)
        (status, problem), problems = await asyncio.gather(
            _publish(api, campaign_id), _import(api, _file(sku_id, "20", "16"))
        )
        outcomes.add((status, bool(problems)))
        if status == 422:
            assert problem["errors"][0]["field"] == "offers[0].prices[0].price_fen"
    assert outcomes <= {(200, True), (422, False)}
