"""Audiences over HTTP: who may buy stands on the offer; who may not is told, with the next step."""

from typing import Any

import httpx
import msgspec
import pytest

from campaigns.offer.audience import WORDS
from campaigns.offer.models import Offer
from campaigns.people.models import Binding
from campaigns.room.parts import offer_card
from campaigns.sku.models import Sku
from engine.offers import Audience
from engine.room_events import encode
from tests.campaigns.server import World, draft, team_offer
from tests.workers.stage import default_config


async def _offer(api: World, audience: Audience, **offer: Any) -> dict[str, Any]:
    published = await api.campaign(offer={**offer, "audience": audience})
    found: dict[str, Any] = published["offers"][0]
    assert (found["audience"], published["draft"]["offers"][0]["audience"]) == (audience, audience)
    return found


async def _claim(
    api: World, offer: dict[str, Any], buyer_id: str, what: str = "claims", **says: Any
) -> httpx.Response:
    """A claim (or a seat) by a token that says this of the buyer."""
    token = api.token(buyer_id, **says)
    return await api.http.post(
        f"/v1/offers/{offer['offer_id']}/{what}",
        json={"qty": 1, "price_id": offer["price_ids"][0]},
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": f"key-{buyer_id}"},
    )


CASES: list[tuple[Audience, dict[str, Any], dict[str, Any]]] = [
    ("members", {"traits": "m"}, {"new": True, "traits": "b"}),
    ("bound", {"traits": "mb"}, {"new": True, "traits": "m"}),
    ("new", {"new": True}, {"traits": "mb"}),
]


@pytest.mark.parametrize(("audience", "one_of_them", "another"), CASES)
async def test_who_is_not_meant_is_told_and_nothing_is_held(
    api: World, audience: Audience, one_of_them: dict[str, Any], another: dict[str, Any]
) -> None:
    offer = await _offer(api, audience)
    shown = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()
    assert (shown["audience"], shown["audience_says"]) == (audience, WORDS[audience].says)
    before = await api.dump()
    refused = await _claim(api, offer, "mbr_b", **another)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_for_you")
    assert refused.json()["audience"] == audience
    assert refused.json()["title"] == WORDS[audience].title
    assert refused.json()["detail"].startswith("Nothing was held. ")
    assert "sign in" in refused.json()["detail"]
    assert await api.dump() == before
    held = await _claim(api, offer, "mbr_a", **one_of_them)
    assert held.status_code == 201, held.text
    # The same request by an older or a newer token: what was held stays held.
    again = await _claim(api, offer, "mbr_a", **another)
    assert (again.status_code, again.json()) == (201, held.json())
    assert again.headers["idempotent-replay"] == "true"


async def test_everybody_is_the_default(api: World) -> None:
    published = await api.campaign()
    (offer,) = published["offers"]
    assert offer["audience"] == "all"
    shown = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()
    assert shown["audience_says"] == "Everybody may buy this."
    assert (await _claim(api, offer, "mbr_a")).status_code == 201


async def test_a_new_customer_buys_once_in_a_campaign(api: World) -> None:
    offer = await _offer(api, "new", per_order_max=1, per_buyer_max=2)
    assert (await _claim(api, offer, "mbr_a", new=True)).status_code == 201
    token = api.token("mbr_a", new=True)
    again = await api.http.post(
        f"/v1/offers/{offer['offer_id']}/claims",
        json={"qty": 1, "price_id": offer["price_ids"][0]},
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "another-key"},
    )
    assert (again.status_code, again.json()["code"]) == (409, "limit_reached")
    assert again.json()["limit"] == "newcomer"


async def test_seats_and_waiting_have_the_audience_of_their_offer(api: World) -> None:
    team = await _offer(api, "members", **team_offer())
    refused = await _claim(api, team, "mbr_b", "seats")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_for_you")
    assert (await _claim(api, team, "mbr_a", "seats", traits="m")).status_code == 201
    flash = await _offer(api, "bound", total=2)
    assert (await _claim(api, flash, "mbr_b", "waiting")).json()["code"] == "not_for_you"


async def test_an_unknown_audience_is_no_audience(api: World) -> None:
    hq = api.auth("stf_hq", "hq")
    body = draft(offer={"audience": "friends"})
    answer = await api.http.post("/v1/campaigns", json=body, headers=hq)
    assert answer.status_code == 400


async def test_a_sign_in_says_what_is_known_of_the_customer(api: World) -> None:
    """The next step of a refusal works: bound since, they sign in again and claim."""
    offer = await _offer(api, "bound")
    assert await _by_phone(api, offer) == "not_for_you"
    async with api.db.begin() as session:
        session.add(Binding(member_id="mbr_seeded", from_ms=0, guide_id="gd_wang"))
    assert await _by_phone(api, offer) == "held"
    assert await _by_phone(api, await _offer(api, "members")) == "not_for_you"
    assert await _by_phone(api, await _offer(api, "new")) == "held"


async def _by_phone(api: World, offer: dict[str, Any]) -> str:
    """What a claim by a customer who signs in now comes to."""
    phone = "13800138000"
    sent = await api.http.post("/v1/sign-in/customer/code", json={"phone": phone})
    entered = {"phone": phone, "code": sent.json()["sandbox_code"]}
    session = (await api.http.post("/v1/sign-in/customer", json=entered)).json()
    answer = await api.http.post(
        f"/v1/offers/{offer['offer_id']}/claims",
        json={"qty": 1, "price_id": offer["price_ids"][0]},
        headers={
            "Authorization": f"Bearer {session['access_token']}",
            "Idempotency-Key": "key-by-phone",
        },
    )
    return "held" if answer.status_code == 201 else str(answer.json()["code"])


@pytest.mark.parametrize("audience", ["all", "members"])
def test_a_rooms_card_names_an_audience_that_is_not_everybody(audience: Audience) -> None:
    config = default_config("cmp_a")
    offer = Offer(id="ofr_a", state="open", config=msgspec.to_builtins(config))
    offer.config["audience"] = audience
    sku = Sku(id="sku_tea", name="龙井", shelf_price_fen=2_000, mall_price_fen=1_800)
    said = msgspec.json.decode(encode(offer_card(offer, sku)))
    assert said.get("audience", "all") == audience
    assert ("audience" in said) == (audience != "all")
