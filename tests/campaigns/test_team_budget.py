"""HQ sees what is left of the budget before it fills a seat, and after."""

from campaigns.team.models import Team
from engine.ids import now_ms
from tests.campaigns.server import World, team_offer
from tests.campaigns.test_api_seats import opened


async def _write_team(api: World, team_id: str, offer_id: str) -> None:
    async with api.db.begin() as session:
        session.add(
            Team(
                id=team_id,
                shard=int(team_id.split("-")[1][1:]),
                offer_id=offer_id,
                campaign_id="cmp",
                version=1,
                kind="team",
                opener_id="mbr_a",
                captain_id="mbr_a",
                size=2,
                state="forming",
                why="",
                paid=1,
                subsidy=0,
                step=0,
                opened_at_ms=now_ms(),
                deadline_ms=now_ms() + 3_600_000,
            )
        )


async def test_what_is_left_of_the_budget(api: World) -> None:
    offer = (await api.campaign(offer=team_offer(subsidy_max=2)))["offers"][0]
    hq = api.auth("stf_hq", "hq", key="key-of-budget")
    url = f"/v1/offers/{offer['offer_id']}/subsidy"
    assert (await api.http.get(url, headers=hq)).json() == {
        "offer_id": offer["offer_id"],
        "seats_max": 2,
        "seats_used": 0,
        "seats_left": 2,
        "seat_fen": 1_000,
    }
    team_id = await opened(api, offer, "mbr_a")
    await _write_team(api, team_id, offer["offer_id"])
    done = await api.http.post(
        f"/v1/teams/{team_id}/subsidise", json={"seats": 1, "reason": "missing"}, headers=hq
    )
    assert done.status_code == 200, done.text
    left = (await api.http.get(url, headers=hq)).json()
    assert (left["seats_used"], left["seats_left"]) == (1, 1)
    flash = (await api.campaign())["offers"][0]
    other = await api.http.get(f"/v1/offers/{flash['offer_id']}/subsidy", headers=hq)
    assert (other.status_code, other.json()["code"]) == (404, "offer_not_found")
