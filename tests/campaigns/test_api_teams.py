"""Teams over HTTP: the page of one, the list of open ones in its order, and my own."""

import json
from typing import Any

from campaigns.people.models import Binding, Member
from campaigns.refund.intents import refund_whole
from campaigns.team.models import Team
from engine import keys
from engine.ids import new_id, now_ms
from tests.campaigns.orders import write_order, write_paid_order
from tests.campaigns.server import HOUR_MS, World, crowd_offer, team_offer
from tests.campaigns.test_api_seats import opened, pay
from tests.waiting import eventually


async def _offer(api: World, offer: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await api.campaign(offer=offer, **changes))["offers"][0]
    return found


async def _member(api: World, nickname: str, guide_id: str | None = None) -> str:
    member_id = new_id("mbr")
    async with api.db.begin() as session:
        session.add(
            Member(
                id=member_id,
                nickname=nickname,
                phone_hash=member_id,
                phone_cipher=b"",
                phone_shown="",
            )
        )
        await session.flush()
        if guide_id is not None:
            session.add(Binding(member_id=member_id, from_ms=0, guide_id=guide_id))
    return member_id


async def _team(api: World, team_id: str, buyer_id: str = "mbr_looks") -> dict[str, Any]:
    answer = await api.http.get(f"/v1/teams/{team_id}", headers=api.auth(buyer_id))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_team_shows_its_people_by_nickname_only(api: World) -> None:
    lin, wu = await _member(api, "小林 13800138000"), await _member(api, "小吴")
    offer = await _offer(api, team_offer(size=3, ready_after_days=4), total=3)
    held = (await api.seat(offer, lin)).json()
    team_id = held["team_id"]
    seen = await _team(api, team_id, lin)
    assert (seen["state"], seen["pending"], seen["seats_left"]) == ("opening", 1, 2)
    assert seen["my_claim_id"] == held["claim_id"]
    await pay(api, held["claim_id"])
    joined = (await api.seat(offer, wu, team_id)).json()
    seen = await _team(api, team_id)
    assert (seen["state"], seen["paid"], seen["pending"]) == ("forming", 1, 1)
    assert (seen["captain"], seen["my_claim_id"]) == ("小林 138****8000", None)
    assert seen["members"] == [
        {"nickname": "小林 138****8000", "captain": True, "paid": True, "me": False},
        {"nickname": "小吴", "captain": False, "paid": False, "me": False},
    ]
    assert (seen["ready_after_days"], seen["live"], seen["stock_for_missing"]) == (4, True, True)
    assert (seen["price_id"], seen["price_fen"]) == (offer["price_ids"][0], 1_000)
    assert "new team of your own" in seen["late_says"]
    for private in (lin, wu, "13800138000", held["claim_id"], joined["claim_id"]):
        assert private not in json.dumps(seen, ensure_ascii=False)
    await pay(api, joined["claim_id"])
    last = (await api.seat(offer, "mbr_unknown", team_id)).json()
    await pay(api, last["claim_id"])
    seen = await _team(api, team_id, "mbr_unknown")
    assert (seen["state"], seen["seats_left"], seen["stock_for_missing"]) == ("formed", 0, True)
    assert [one["nickname"] for one in seen["members"] if one["me"]] == ["顾客"]


async def test_a_team_without_stock_for_its_missing_seats_says_so(api: World) -> None:
    offer = await _offer(api, team_offer(size=3), total=4)
    team_id = await opened(api, offer, "mbr_a")
    assert (await _team(api, team_id))["stock_for_missing"] is True
    await opened(api, offer, "mbr_b")
    assert (await _team(api, team_id))["stock_for_missing"] is True
    assert (await api.seat(offer, "mbr_c", team_id)).status_code == 201
    other = await _other_team(api, offer, team_id)
    assert (await _team(api, other))["stock_for_missing"] is False


async def _other_team(api: World, offer: dict[str, Any], team_id: str) -> str:
    """The other open team of the offer."""
    listed = await _list(api, offer)
    (other,) = [one["team_id"] for one in listed["teams"] if one["team_id"] != team_id]
    return str(other)


async def _list(api: World, offer: dict[str, Any], **query: str) -> dict[str, Any]:
    answer = await api.http.get(
        f"/v1/offers/{offer['offer_id']}/teams", params=query, headers=api.auth("mbr_looks")
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_the_order_of_open_teams(api: World) -> None:
    offer = await _offer(api, team_offer(size=3), total=99)
    far, near, full, linked = [
        await _member(api, name, guide)
        for name, guide in (("远", "gd_li"), ("近", "gd_wang"), ("满", "gd_li"), ("链", None))
    ]
    teams = {}
    for captain in (far, near, full, linked):  # rising deadlines
        teams[captain] = await opened(api, offer, captain)
    await pay(api, (await api.seat(offer, "mbr_joins", teams[full])).json()["claim_id"])
    unpaid = (await api.seat(offer, "mbr_unpaid")).json()["team_id"]

    async def order(**query: str) -> list[str]:
        listed = await _list(api, offer, **query)
        assert unpaid not in [one["team_id"] for one in listed["teams"]]
        return [one["captain"] for one in listed["teams"]]

    async def are_there() -> bool:  # the list is at most half a second old
        return await order() == ["满", "远", "近", "链"]

    await eventually(are_there)
    assert await order(store_id="store_a") == ["近", "满", "远", "链"]
    assert await order(captain=teams[linked]) == ["链", "满", "远", "近"]
    assert await order(captain=teams[linked], store_id="store_a") == ["链", "近", "满", "远"]
    assert await order(captain="tem-s0-e1-1-0000000000000000") == ["满", "远", "近", "链"]
    assert await order(captain="nonsense") == ["满", "远", "近", "链"]
    listed = await _list(api, offer)
    assert (listed["stock_for_one"], listed["stock_for_new"]) == (True, True)
    assert not [member for member in teams if member in json.dumps(listed)]


async def test_teams_of_a_captain_whose_linked_team_is_full(api: World) -> None:
    offer = await _offer(api, team_offer(), total=99)
    lin, mei = await _member(api, "林"), await _member(api, "梅")
    first = await opened(api, offer, lin)
    await pay(api, (await api.seat(offer, "mbr_j", first)).json()["claim_id"])
    await opened(api, offer, mei)
    held = (await api.seat(offer, lin, key="another-key")).json()
    await pay(api, held["claim_id"])

    async def linked() -> bool:
        teams = (await _list(api, offer, captain=first))["teams"]
        return [(one["captain"], one["linked"]) for one in teams] == [("林", True), ("梅", False)]

    await eventually(linked)


async def test_other_kinds_have_no_open_teams(api: World) -> None:
    for kind in ({}, crowd_offer((2, 900))):
        offer = await _offer(api, kind)
        assert (await _list(api, offer))["teams"] == []


async def test_a_crowd_shows_its_progress_and_ladder(api: World) -> None:
    offer = await _offer(api, crowd_offer((2, 900), (3, 800)))
    for buyer_id in ("mbr_a", "mbr_b"):
        await pay(api, (await api.seat(offer, buyer_id)).json()["claim_id"])
    seen = await _team(api, offer["crowd_id"], "mbr_a")
    assert (seen["kind"], seen["state"], seen["paid"]) == ("crowd", "reached", 2)
    assert [(one["seats"], one["price_fen"], one["reached"]) for one in seen["ladder"]] == [
        (2, 900, True),
        (3, 800, False),
    ]
    assert (seen["members"], seen["size"], seen["seats_left"]) == ([], None, None)
    assert seen["my_claim_id"].startswith("clm-")
    await pay(api, (await api.seat(offer, "mbr_c")).json()["claim_id"])
    shown = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()
    crowd = shown["crowd"]
    assert (shown["price_fen"], crowd["paid"], crowd["state"]) == (800, 3, "reached")
    assert crowd["charging"] == "pay_low_refund_if_failed"
    assert shown["price_id"] == crowd["ladder"][1]["price_id"]
    assert "joins the crowd again" in shown["late_says"]


async def test_offers_say_their_terms(api: World) -> None:
    team = await _offer(
        api, team_offer(size=3, newcomers_only=True, captain_price_fen=950, late="seat")
    )
    shown = (await api.http.get(f"/v1/offers/{team['offer_id']}")).json()
    assert shown["team"].pop("says").startswith("Open a team and share it")
    assert shown["team"] == {
        "size": 3,
        "seat_qty": 1,
        "term_ms": HOUR_MS // 2,
        "newcomers_only": True,
        "captain_price_id": team["captain_price_id"],
        "captain_price_fen": 950,
    }
    assert (shown["crowd"], shown["ready_after_days"]) == (None, 0)
    assert "another team" not in shown["late_says"]
    regular = await _offer(
        api, {"kind": "regular", "ready_after_days": 2}, price_fen=1_500, stores=["store_a"]
    )
    shown = (await api.http.get(f"/v1/offers/{regular['offer_id']}")).json()
    assert (shown["team"], shown["ready_after_days"], shown["stores"]) == (None, 2, ["store_a"])


async def _write_team(api: World, team_id: str, **changes: Any) -> None:
    """The team's row as the settler writes it."""
    shard = int(team_id.split("-")[1][1:])
    hot = await api.inventory.hash_of(keys.groups(shard) + team_id)
    fields: dict[str, Any] = {
        **{name: hot[name] for name in ("offer_id", "campaign_id", "kind", "state")},
        **{name: hot[name] for name in ("opener_id", "captain_id")},
        **{name: int(hot[name]) for name in ("version", "size", "paid", "subsidy", "step")},
        **{"id": team_id, "shard": shard, "why": "", "opened_at_ms": now_ms()},
        "deadline_ms": int(hot["deadline_ms"]),
        **changes,
    }
    async with api.db.begin() as session:
        session.add(Team(**fields))


async def test_my_teams(api: World) -> None:
    offer = await _offer(api, team_offer(), total=9)
    mine = []
    for n, key in enumerate(("key-of-one", "key-of-two")):
        held = (await api.seat(offer, "mbr_mine", key=key)).json()
        await write_order(
            api,
            held["claim_id"],
            team_id=held["team_id"],
            seat="taken",
            claimed_at_ms=now_ms() + n,
            idem_key=key,
        )
        await _write_team(api, held["team_id"])
        await pay(api, held["claim_id"])
        await pay(api, (await api.seat(offer, f"mbr_{n}", held["team_id"])).json()["claim_id"])
        mine.append(held["team_id"])
    headers = api.auth("mbr_mine")
    first = (await api.http.get("/v1/me/teams?limit=1", headers=headers)).json()
    (newest,) = first["teams"]
    assert (newest["team_id"], newest["state"], newest["paid"]) == (mine[1], "formed", 2)
    assert (newest["captain"], newest["seat"], newest["sku_name"]) == (True, "taken", "龙井 100g")
    rest = await api.http.get(f"/v1/me/teams?after={first['next']}", headers=headers)
    assert [one["team_id"] for one in rest.json()["teams"]] == [mine[0]]
    assert rest.json()["next"] is None
    strangers = api.auth("mbr_stranger")
    for query in ("", f"?after={first['next']}"):
        answer = await api.http.get(f"/v1/me/teams{query}", headers=strangers)
        assert answer.json() == {"teams": [], "next": None}


async def test_who_may_look(api: World) -> None:
    offer = await _offer(api, team_offer())
    team_id = (await api.seat(offer, "mbr_a")).json()["team_id"]
    for headers in (api.guide("gd_wang"), api.auth("stf_hq", "hq")):
        assert (await api.http.get(f"/v1/teams/{team_id}", headers=headers)).status_code == 200
    assert (await api.http.get(f"/v1/teams/{team_id}")).status_code == 401
    nowhere = "tem-s999-e1-1-0000000000000000"  # a shard that this house has not
    for unknown in ("none", "tem-c-none", "tem-s0-e1-1-0000000000000000", nowhere, "x" * 200):
        answer = await api.http.get(f"/v1/teams/{unknown}", headers=api.auth("mbr_a"))
        assert (answer.status_code, answer.json()["code"]) == (404, "team_not_found"), unknown


async def test_a_team_that_only_postgresql_knows(api: World) -> None:
    offer = await _offer(api, team_offer())
    held = (await api.seat(offer, "mbr_a")).json()
    team_id = held["team_id"]
    await write_order(api, held["claim_id"], team_id=team_id, seat="taken", claim_state="paid")
    await _write_team(api, team_id, state="failed", paid=1, why="deadline")
    shard = int(team_id.split("-")[1][1:])
    await api.redis.delete(keys.groups(shard) + team_id)  # kept only until the campaign's end
    seen = await _team(api, team_id, "mbr_a")
    assert (seen["state"], seen["paid"], seen["live"]) == ("failed", 1, False)
    assert seen["my_claim_id"] == held["claim_id"]


async def test_hq_fills_a_seat_within_the_budget(api: World) -> None:
    offer = await _offer(api, team_offer(subsidy_max=1))
    team_id = await opened(api, offer, "mbr_a")
    hq = api.auth("stf_hq", "hq", key="key-of-subsidy")
    url, wanted = f"/v1/teams/{team_id}/subsidise", {"seats": 1, "reason": "last one missing"}
    unknown = await api.http.post("/v1/teams/none/subsidise", json=wanted, headers=hq)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "team_not_found")
    await _write_team(api, team_id)
    for seats in (0, 3):
        bad = await api.http.post(url, json={**wanted, "seats": seats}, headers=hq)
        assert bad.status_code == 400
    for _ in range(2):
        done = await api.http.post(url, json=wanted, headers=hq)
        assert (done.status_code, done.json()["amount_fen"]) == (200, 1_000), done.text
        assert done.json()["in_effect"] is True
    seen = await _team(api, team_id)
    assert (seen["state"], seen["paid"], seen["subsidy"]) == ("formed", 1, 1)
    assert len(seen["members"]) == 1  # nobody was invented
    other = await opened(api, offer, "mbr_b")
    await _write_team(api, other)
    refused = await api.http.post(
        f"/v1/teams/{other}/subsidise", json=wanted, headers=api.auth("stf_hq", "hq", key="k" * 9)
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "over_budget")


async def test_hq_sees_how_far_a_failed_teams_refunds_are(api: World) -> None:
    offer = await _offer(api, team_offer())
    team_id = await opened(api, offer, "mbr_a")
    await _write_team(api, team_id, state="failed", why="deadline", decided_at_ms=now_ms())
    for number, state in enumerate(("due", "done"), 1):
        order_id = await write_paid_order(api, "mbr_a", number, team_id=team_id, seat="taken")
        async with api.db.begin() as session:
            refund = refund_whole(
                session,
                payment_id=f"pay_{order_id}",
                amount_fen=2_000,
                cause="team_failed",
                order_id=order_id,
            )
            refund.state, refund.tries = state, 3
    url = f"/v1/teams/{team_id}/progress"
    hq = api.auth("stf_hq", "hq")
    seen = (await api.http.get(url, headers=hq)).json()
    assert (seen["refunds_due"], seen["refunds_done"], seen["tries_max"]) == (1, 1, 3)
    assert (seen["due_fen"], seen["done_fen"], seen["state"]) == (2_000, 2_000, "failed")
    assert 0 <= seen["oldest_due_ms"] < 60_000
    assert (await api.http.get(url, headers=api.auth("mbr_a"))).status_code == 403
    assert (await api.http.get("/v1/teams/none/progress", headers=hq)).status_code == 404
