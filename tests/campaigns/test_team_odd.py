"""Ids of teams that are none, as a buyer may send them: never more than a refusal."""

import pytest

from tests.campaigns.server import World, team_offer


@pytest.mark.parametrize("team_id", ["deadlines", "-", "tem", "t" * 80, "tem-s999-e1-1-0"])
async def test_a_seat_of_what_is_no_team(api: World, team_id: str) -> None:
    """`deadlines` is a key of the shard beside those of teams, and of another type."""
    offer = (await api.campaign(offer=team_offer()))["offers"][0]
    before = await api.dump()
    answer = await api.seat(offer, "mbr_b", team_id)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_team")
    assert await api.dump() == before
