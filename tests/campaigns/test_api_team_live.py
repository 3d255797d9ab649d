"""Following a team live: whoever is signed in gets a token for its topic and their own."""

from engine.ids import now_ms
from engine.room_events import me_topic, team_topic
from engine.room_tokens import RoomTokens
from tests.campaigns.server import World, team_offer
from tests.campaigns.test_api_strict import problem


async def test_a_team_token_names_the_team_and_its_holder(api: World) -> None:
    offer = (await api.campaign(offer=team_offer(size=3)))["offers"][0]
    team_id = (await api.seat(offer, "mbr_seeded")).json()["team_id"]
    url = f"/v1/teams/{team_id}/token"  # at once: the settler may not know it yet
    checks = RoomTokens.from_setting(api.settings.token_secret)
    for headers, subject, role in (
        (api.auth("mbr_seeded"), "mbr_seeded", "customer"),
        (api.guide("gd_wang"), "stf_gd_wang", "guide"),
        (api.auth("stf_hq", "hq"), "stf_hq", "hq"),
    ):
        answer = await api.http.post(url, headers=headers)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        passed = checks.verify(body["token"], now_ms())
        assert (passed.subject, passed.role) == (subject, role)
        assert passed.topics == (team_topic(team_id), me_topic(subject)) == tuple(body["topics"])
        assert now_ms() < body["expires_at_ms"] <= now_ms() + 300_000
    problem(await api.http.post(url, headers=api.auth("mbr_none")), 401, "bad_token")
    unknown = team_id[:-1] + ("0" if team_id[-1] != "0" else "1")
    seats, huge = f"{team_id}:seats", f"tem-s{'9' * 5_000}-e1"
    for other in (unknown, "tem-none", seats, huge, f"{team_id}%0A", "deadlines"):
        answer = await api.http.post(f"/v1/teams/{other}/token", headers=api.auth("mbr_seeded"))
        problem(answer, 404, "team_not_found")
