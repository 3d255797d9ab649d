"""The upgrade guarantee over HTTP: who may promise it, where it is said, why money came back."""

from typing import Any

from tests.campaigns.orders import write_paid_order
from tests.campaigns.server import World, crowd_offer, draft, team_offer


def _offer(**fields: Any) -> dict[str, Any]:
    made = draft(offer=fields)["offers"][0]
    assert isinstance(made, dict)
    return made


CROWD = _offer(**crowd_offer((2, 900), upgrade_guarantee=True))
TEAM = _offer(**team_offer())
REGULAR = _offer(kind="regular", prices=[{"price_fen": 1_100}])
FLASH = _offer(prices=[{"price_fen": 1_200}])


async def _shown(api: World, offer: dict[str, Any]) -> str:
    found = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()
    return str(found["guarantee_says"])


async def test_crowd_team_and_regular_say_it(api: World) -> None:
    published = await api.campaign(offers=[CROWD, TEAM, REGULAR, FLASH])
    found = {offer["kind"]: offer for offer in published["offers"]}
    crowd, team, regular, flash = (found[one] for one in ("crowd", "team", "regular", "flash"))
    assert published["draft"]["offers"][0]["upgrade_guarantee"] is True
    assert "has paid more for the same item" in await _shown(api, crowd)
    for offer in (team, regular):
        assert "for less than you have paid, the difference comes" in await _shown(api, offer)
    assert await _shown(api, flash) == ""
    held = (await api.seat(team, "mbr_cap")).json()
    page = await api.http.get(f"/v1/teams/{held['team_id']}", headers=api.auth("mbr_cap"))
    assert "comes back to you, once" in page.json()["guarantee_says"]
    plain = await api.campaign(offers=[{**CROWD, "upgrade_guarantee": False}, TEAM])
    for offer in plain["offers"]:
        assert await _shown(api, offer) == ""


async def test_only_one_crowd_of_a_sku_promises_it(api: World) -> None:
    hq = api.auth("stf_hq", "hq")
    made = (
        await api.http.post("/v1/campaigns", json=draft(offers=[CROWD, CROWD]), headers=hq)
    ).json()
    answer = await api.http.post(f"/v1/campaigns/{made['id']}/submit", headers=hq)
    (error,) = answer.json()["errors"]
    assert error["field"] == "offers[1].upgrade_guarantee"
    assert "offers[0] already promises" in error["message"]
    alone = draft(offers=[{**TEAM, "upgrade_guarantee": True}])
    made = (await api.http.post("/v1/campaigns", json=alone, headers=hq)).json()
    answer = await api.http.post(f"/v1/campaigns/{made['id']}/submit", headers=hq)
    assert [one["field"] for one in answer.json()["errors"]] == ["offers[0].upgrade_guarantee"]


async def test_an_order_says_why_money_came_back(api: World) -> None:
    given = await write_paid_order(api, "mbr_a", 1, final_price_fen=700)
    plain = await write_paid_order(api, "mbr_a", 2)
    seen = (await api.http.get(f"/v1/orders/{given}", headers=api.auth("mbr_a"))).json()
    assert seen["final_price_fen"] == 700
    assert "formed at ¥7.00 a unit, and you had paid ¥10.00" in seen["difference_says"]
    seen = (await api.http.get(f"/v1/orders/{plain}", headers=api.auth("mbr_a"))).json()
    assert (seen["final_price_fen"], seen["difference_says"]) == (None, "")
