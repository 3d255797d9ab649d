"""A team's page and the list of open teams say what the next tap would: who pays has the seat,
whose time is up takes nobody, and what cannot be joined is not listed."""

from typing import Any

from engine import keys
from engine.ids import now_ms
from tests.campaigns.server import World, team_offer
from tests.campaigns.test_api_seats import opened, pay
from tests.campaigns.test_api_teams import _list, _team
from tests.waiting import eventually


async def _offer(api: World, **changes: Any) -> tuple[dict[str, Any], str, int]:
    """An offer for teams, a team whose captain has paid, and its shard."""
    offer = (await api.campaign(offer=team_offer(**changes)))["offers"][0]
    team_id = await opened(api, offer, "mbr_cap")
    return offer, team_id, int(team_id.split("-")[1][1:])


async def test_who_is_paying_has_the_seat(api: World) -> None:
    offer, team_id, shard = await _offer(api, size=3)
    held = (await api.seat(offer, "mbr_a", team_id)).json()
    await api.inventory.pay_begin(shard, held["claim_id"], "att-x")
    seen = await _team(api, team_id)
    assert (seen["paid"], seen["pending"], seen["seats_left"]) == (1, 1, 1)


async def test_whose_time_is_up_takes_nobody(api: World) -> None:
    """Before anybody has written that it closes."""
    offer, team_id, shard = await _offer(api, size=3)
    held = (await api.seat(offer, "mbr_a", team_id)).json()
    team = keys.groups(shard) + team_id
    await api.wire.call("HSET", team, "deadline_ms", now_ms() - 1)
    assert (await _team(api, team_id))["state"] == "closing"
    assert (await _list(api, offer))["teams"] == []
    assert (await api.seat(offer, "mbr_b", team_id)).json()["state"] == "closing"
    await api.wire.call("HSET", team, "deadline_ms", now_ms() + 60_000)
    assert (await _team(api, team_id))["state"] == "forming"
    await pay(api, held["claim_id"])


async def test_what_cannot_be_joined_is_not_listed(api: World) -> None:
    """A team that was filled, or ended, between two looks; an offer that is closed."""
    offer, team_id, shard = await _offer(api)
    listed = keys.groups(shard) + f"joinable:{offer['offer_id']}"

    async def shows(*wanted: str) -> None:
        async def is_so() -> bool:
            teams = (await _list(api, offer))["teams"]
            return [one["team_id"] for one in teams] == list(wanted)

        await eventually(is_so)

    await shows(team_id)
    deadline = await api.wire.call("ZSCORE", listed, team_id)
    assert (await api.seat(offer, "mbr_a", team_id)).status_code == 201  # the last seat is held
    await api.wire.call("ZADD", listed, deadline, team_id)
    await shows()
    other = await opened(api, offer, "mbr_b")
    await shows(other)
    hash_name = keys.offers(shard) + offer["offer_id"]
    await api.wire.call("HSET", hash_name, "state", "closed")
    await shows()
    nothing = await _list(api, offer)
    assert (nothing["stock_for_one"], nothing["stock_for_new"]) == (False, False)
