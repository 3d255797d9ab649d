"""Pictures of a share link over HTTP: for anybody, of known teams, without anybody's name."""

from engine import keys
from engine.ids import opened_team_id
from tests.campaigns.server import SHARDS, World, crowd_offer, team_offer


async def _opened(api: World) -> str:
    """A team opened by mbr_seeded; its id."""
    published = await api.campaign(offer=team_offer(size=3))
    seat = await api.seat(published["offers"][0], "mbr_seeded")
    assert seat.status_code == 201, seat.text
    team_id: str = seat.json()["team_id"]
    assert team_id == opened_team_id(seat.json()["claim_id"])
    return team_id


async def test_a_teams_pictures_are_for_anybody(api: World) -> None:
    team_id = await _opened(api)
    code = await api.http.get(f"/v1/teams/{team_id}/qr.svg")
    poster = await api.http.get(f"/v1/teams/{team_id}/poster.svg")
    english = await api.http.get(f"/v1/teams/{team_id}/poster.svg", params={"lang": "en"})
    for answer in (code, poster, english):
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("image/svg+xml")
        assert answer.headers["content-security-policy"] == "default-src 'none'"
        assert "小林" not in answer.text
    assert "龙井 100g" in poster.text
    assert "还差 3 人成团" in poster.text  # the captain's seat is held, not paid
    assert "3 more needed" in english.text


async def test_a_crowd_has_its_poster_before_anybody_bought(api: World) -> None:
    published = await api.campaign(offer=crowd_offer((2, 900), (3, 800)))
    team_id = published["offers"][0]["crowd_id"]
    poster = await api.http.get(f"/v1/teams/{team_id}/poster.svg")
    assert poster.status_code == 200, poster.text
    assert "¥9.00" in poster.text
    assert "还差 2 人" in poster.text


async def test_a_failed_crowd_at_the_regular_price_promises_no_refund(api: World) -> None:
    steps = crowd_offer((2, 900), charging="pay_regular_return_difference", regular_price_fen=1_200)
    crowd_id = (await api.campaign(offer=steps))["offers"][0]["crowd_id"]
    shard = await _shard_of(api, crowd_id)
    await api.wire.call("HSET", keys.groups(shard) + crowd_id, "state", "failed")
    poster = await api.http.get(f"/v1/teams/{crowd_id}/poster.svg")
    assert "按原价成交" in poster.text
    assert "退回" not in poster.text


async def _shard_of(api: World, team_id: str) -> int:
    for shard in range(SHARDS):
        if await api.wire.call("EXISTS", keys.groups(shard) + team_id):
            return shard
    raise AssertionError(f"no shard has team {team_id}")


async def test_unknown_teams_have_no_pictures(api: World) -> None:
    for team_id in ("tem-s1-e1-1-0123456789abcdef", "tem-c-ofr_none", "none", "tem-c-", "%00"):
        for what in ("qr", "poster"):
            answer = await api.http.get(f"/v1/teams/{team_id}/{what}.svg")
            assert answer.status_code == 404, (team_id, answer.text)
    answer = await api.http.get("/v1/teams/none/poster.svg", params={"lang": "xx"})
    assert answer.status_code == 400, answer.text
