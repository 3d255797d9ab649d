"""Seats over HTTP: what is answered, once per key, and why not."""

import asyncio
import json
from typing import Any

from engine.ids import crowd_id_of, now_ms
from tests.campaigns.orders import write_order
from tests.campaigns.server import World, crowd_offer, team_offer
from tests.waiting import eventually


async def _offer(api: World, offer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    published = await api.campaign(offer=offer, **changes)
    found: dict[str, Any] = published["offers"][0]
    return found


async def pay(api: World, claim_id: str) -> None:
    """As the payment's service and facts do, without a provider."""
    shard = int(claim_id.split("-")[1][1:])
    await api.inventory.pay_begin(shard, claim_id, f"att-{claim_id}")
    reply = await api.inventory.pay_confirm(
        shard, claim_id, attempt_id=f"att-{claim_id}", fact_id=f"fct-{claim_id}", verdict="ok"
    )
    assert reply.what == "paid", reply


async def opened(api: World, offer: dict[str, Any], buyer_id: str) -> str:
    """A team whose captain has paid."""
    held = (await api.seat(offer, buyer_id)).json()
    await pay(api, held["claim_id"])
    return str(held["team_id"])


async def test_opening_joining_and_repeating(api: World) -> None:
    offer = await _offer(api, team_offer())
    held = await api.seat(offer, "mbr_a")
    assert held.status_code == 201, held.text
    body = held.json()
    assert set(body) == {"claim_id", "team_id", "price_id", "price_fen", "expires_at_ms"}
    again = await api.seat(offer, "mbr_a")
    assert (again.status_code, again.json()) == (201, body)
    assert again.headers["idempotent-replay"] == "true"
    shard = int(body["claim_id"].split("-")[1][1:])
    claim = await api.inventory.claim_state(shard, body["claim_id"])
    assert claim["team_id"] == body["team_id"]
    early = await api.seat(offer, "mbr_b", body["team_id"])
    assert (early.json()["code"], early.json()["state"]) == ("team_over", "opening")
    await pay(api, body["claim_id"])
    joined = await api.seat(offer, "mbr_b", body["team_id"], consent=True)
    assert (joined.status_code, joined.json()["team_id"]) == (201, body["team_id"])
    seen = await api.http.get(f"/v1/claims/{joined.json()['claim_id']}", headers=api.auth("mbr_b"))
    assert seen.json()["team_id"] == body["team_id"]


async def test_the_body_is_all_fields(api: World) -> None:
    offer = await _offer(api, team_offer())
    team_id = await opened(api, offer, "mbr_a")
    held = (await api.seat(offer, "mbr_b", team_id)).json()
    before = await api.dump()
    changes: list[dict[str, Any]] = [{"consent": True}, {"qty": 2}, {"price_id": "prc_x"}]
    for changed in (*changes, {"team_id": ""}):
        other = await api.seat(offer, "mbr_b", **{"team_id": team_id, **changed})
        assert (other.status_code, other.json()["code"]) == (422, "key_reused"), changed
        assert other.json()["claim_id"] == held["claim_id"]
    assert await api.dump() == before


async def test_refusals_say_why(api: World) -> None:
    offer = await _offer(api, team_offer(per_order_max=2, per_buyer_max=4), total=4)
    team_id = await opened(api, offer, "mbr_a")

    async def why(*args: Any, **body: Any) -> tuple[int, dict[str, Any]]:
        answer = await api.seat(offer, *args, key="key-of-refusals", **body)
        return answer.status_code, answer.json()

    status, again = await why("mbr_a", team_id)
    assert (status, again["code"]) == (409, "in_team")
    status, second = await why("mbr_a")
    assert (status, second["code"], second["team_id"]) == (409, "team_open", team_id)
    status, unknown = await why("mbr_b", "tem-s0-e1-1-0000000000000000")
    assert (status, unknown["code"]) == (404, "unknown_team")
    status, much = await why("mbr_b", team_id, qty=2)
    assert (much["code"], much["limit"], much["limit_max"]) == ("limit_reached", "seat", 1)
    status, old = await why("mbr_b", team_id, price_id="prc_of_yesterday")
    assert (old["code"], old["price_id"]) == ("price_changed", offer["price_ids"][0])
    assert (await api.seat(offer, "mbr_b", team_id)).status_code == 201
    status, full = await why("mbr_c", team_id)
    assert (status, full["code"]) == (409, "team_full")
    assert (await api.seat(offer, "mbr_d")).status_code == 201
    status, short = await why("mbr_e")  # one unit left, and a team takes two
    assert short["code"] == "sold_out"


async def test_claims_and_seats_are_not_mixed_up(api: World) -> None:
    team = await _offer(api, team_offer())
    flash = await _offer(api, {})
    assert (await api.claim(team, "mbr_a")).json()["code"] == "needs_team"
    assert (await api.seat(flash, "mbr_a")).json()["code"] == "no_team"
    regular = await _offer(api, {"kind": "regular", "ready_after_days": 3}, price_fen=1_500)
    assert (await api.claim(regular, "mbr_a")).status_code == 201
    assert (await api.seat(regular, "mbr_b")).json()["code"] == "no_team"


async def test_new_customers_only(api: World) -> None:
    offer = await _offer(api, team_offer(newcomers_only=True, size=3))
    team_id = await opened(api, offer, "mbr_old")
    refused = await api.seat(offer, "mbr_known", team_id)
    assert refused.json()["code"] == "newcomers_only"
    assert (await api.seat(offer, "mbr_new", team_id, new=True)).status_code == 201
    other = await opened(api, offer, "mbr_older")
    again = await api.seat(offer, "mbr_new", other, new=True, key="another-key")
    assert (again.json()["code"], again.json()["limit"]) == ("limit_reached", "newcomer")


async def test_the_captains_price(api: World) -> None:
    offer = await _offer(api, team_offer(captain_price_fen=950))
    shown = await api.seat(offer, "mbr_a")
    assert (shown.json()["code"], shown.json()["price_fen"]) == ("price_changed", 950)
    held = await api.seat(offer, "mbr_a", price_id=offer["captain_price_id"])
    assert (held.status_code, held.json()["price_fen"]) == (201, 950)


async def test_a_crowd_is_joined_without_naming_it(api: World) -> None:
    offer = await _offer(api, crowd_offer((2, 900), (3, 800)))
    crowd_id = crowd_id_of(offer["offer_id"])
    assert offer["crowd_id"] == crowd_id
    for buyer_id in ("mbr_a", "mbr_b"):
        held = (await api.seat(offer, buyer_id)).json()
        assert (held["team_id"], held["price_fen"]) == (crowd_id, 900)
        await pay(api, held["claim_id"])
    held = (await api.seat(offer, "mbr_c")).json()
    await pay(api, held["claim_id"])
    changed = (await api.seat(offer, "mbr_d")).json()
    assert (changed["code"], changed["price_fen"]) == ("price_changed", 800)


async def test_a_crowd_that_pays_the_regular_price_first(api: World) -> None:
    offer = await _offer(
        api,
        crowd_offer(charging="pay_regular_return_difference", regular_price_fen=1_200),
    )
    held = (await api.seat(offer, "mbr_a")).json()
    assert held["price_fen"] == 1_200


async def test_one_last_seat_goes_to_exactly_one(api: World) -> None:
    offer = await _offer(api, team_offer(size=3), total=900)
    team_id = await opened(api, offer, "mbr_captain")
    answers = await api.race(offer, [f"mbr_{n:03d}" for n in range(200)], team_id=team_id)
    words = [json.loads(answer.body).get("code", "held") for answer in answers]
    assert (words.count("held"), words.count("team_full")) == (2, 198)


async def test_the_framework_answers_other_spellings_alike(api: World) -> None:
    offer = await _offer(api, team_offer())
    url = f"/v1/offers/{offer['offer_id']}/seats/"
    body = {"qty": 1, "price_id": offer["price_ids"][0]}
    held = await api.http.post(url, json=body, headers=api.auth("mbr_a", key="key-00001"))
    assert held.status_code == 201, held.text
    assert set(held.json()) >= {"claim_id", "team_id"}
    for wrong in ({"qty": 0}, {"team": "x"}, {"team_id": "a b"}, {"consent": 1}):
        answers = await asyncio.gather(
            *(
                api.http.post(path, json={**body, **wrong}, headers=api.auth("mbr_b", key="k" * 8))
                for path in (url, url[:-1])
            )
        )
        assert [answer.status_code for answer in answers] == [400, 400], wrong
        assert answers[0].json() == answers[1].json()
    guide = api.auth("stf_gd_wang", "guide", key="key-00002")
    refused = await api.http.post(url[:-1], json=body, headers=guide)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert (await api.http.post(url[:-1], json=body)).status_code == 401


async def test_the_hold_ends_with_the_team(api: World) -> None:
    offer = await _offer(api, team_offer(term_ms=1_500))
    held = (await api.seat(offer, "mbr_a")).json()
    assert held["expires_at_ms"] <= now_ms() + 1_500
    await write_order(api, held["claim_id"], team_id=held["team_id"], seat="taken")
    await pay(api, held["claim_id"])

    await eventually(lambda: now_ms() > held["expires_at_ms"] + 20)
    answer = await api.seat(offer, "mbr_b", held["team_id"])
    assert (answer.json()["code"], answer.json()["state"]) == ("team_over", "closing")


async def test_a_complete_team_is_full(api: World) -> None:
    """Whoever lost the race for its last seat hears the same word, before it is paid and after."""
    offer = await _offer(api, team_offer())
    team_id = await opened(api, offer, "mbr_a")
    second = (await api.seat(offer, "mbr_b", team_id)).json()
    unpaid = (await api.seat(offer, "mbr_c", team_id)).json()
    await pay(api, second["claim_id"])
    answer = await api.seat(offer, "mbr_c", team_id)
    formed = answer.json()
    assert (unpaid["code"], "state" in unpaid) == ("team_full", False)
    assert (answer.status_code, formed["code"], formed["state"]) == (409, "team_full", "formed")
    assert formed["detail"] != unpaid["detail"]  # a seat that is only held comes free again
