"""What cannot follow from the rows goes to the letters: an event of a team changes nothing then."""

from typing import Any

import msgspec
import pytest

from engine.events import decode
from workers.settle.book import Book, OfferNow, OrderNow, Poison, TeamCommandNow, TeamNow
from workers.settle.fold_teams import fold_team

ENDED_MS = 50


def order(name: str, team_id: str | None = "tem-1", **changes: Any) -> OrderNow:
    """A paid member of the first team."""
    given: dict[str, Any] = dict.fromkeys(OrderNow.__struct_fields__, "")
    numbers = {"version", "qty", "units", "unit_price_fen", "amount_fen", "paid_fen"}
    numbers |= {"refunded_fen", "claimed_at_ms", "expires_at_ms"}
    given |= dict.fromkeys(numbers, 1)
    given |= {"id": f"ord-{name}", "claim_id": f"clm-{name}", "offer_id": "ofr_1", "buyer_id": name}
    given |= {"credit": {}, "release_due": False, "consent": True, "newcomer": False}
    given |= {"claim_state": "paid", "seat": "taken", "team_id": team_id, "split_fen": None}
    given |= {"final_price_fen": None, "fresh": False, "payment_id": f"pay-{name}"}
    return OrderNow(**{**given, **changes})


def team(team_id: str, **changes: Any) -> TeamNow:
    given: dict[str, Any] = {"id": team_id, "offer_id": "ofr_1", "campaign_id": "c", "version": 1}
    given |= {"kind": "team", "opener_id": "a", "captain_id": "a", "size": 3, "state": "forming"}
    return TeamNow(**{**given, "opened_at_ms": 1, "deadline_ms": 99, **changes})


def book() -> Book:
    """Two forming teams, one decided; `a` sits in the first one, `held` has not paid."""
    ended = team("tem-3", state="failed", decided_at_ms=ENDED_MS, paid=1)
    orders = [order("a"), order("held", claim_state="held"), order("alone", None)]
    return Book(
        shard=0,
        epoch=1,
        orders={one.claim_id: one for one in (*orders, order("c", "tem-3"))},
        offers={"ofr_1": OfferNow("ofr_1", "open", 9, 1, 3, "c", "sku", "team")},
        teams={one.id: one for one in (team("tem-1"), team("tem-2"), ended)},
        team_commands={
            "tcm-1": TeamCommandNow("tcm-1", "tem-1", 900, applied=False),
            "tcm-2": TeamCommandNow("tcm-2", "tem-1", 900, applied=True),
        },
    )


def said(kind: str, at_ms: int = 10, **fields: Any) -> Any:
    given = {"kind": kind, "at_ms": at_ms, "offer_id": "ofr_1", "team_id": "tem-1", **fields}
    return decode(7, {name: str(value) for name, value in given.items()})


def opened(**changes: Any) -> Any:
    given: dict[str, Any] = {"campaign_id": "c", "version": 1, "team_kind": "team", "size": 3}
    return said("team.opened", **{**given, "opener_id": "a", "deadline_ms": 99, **changes})


def moved(claim_id: str, from_team_id: str = "tem-1") -> Any:
    return said("team.seat_moved", team_id="tem-2", from_team_id=from_team_id, claim_id=claim_id)


def decided(team_id: str) -> Any:
    given: dict[str, Any] = {"why": "deadline", "paid": 1, "subsidy": 0, "step": 0}
    return said("team.failed", team_id=team_id, **given)


WRONG = {
    "a team that is open already": opened(),
    "a team of no offer": opened(team_id="tem-9", offer_id="ofr_9"),
    "a team of another offer": said("team.closing", offer_id="ofr_9", paying=0, paid=1),
    "a team that nobody opened": said("team.closing", team_id="tem-9", paying=0, paid=1),
    "a move of who has not paid": moved("clm-held"),
    "a move out of another team": moved("clm-a", "tem-3"),
    "a move of a claim without a team": moved("clm-alone"),
    "a move of nobody": moved("clm-none"),
    "a seat of a claim without a team": said("team.seat_filled", claim_id="clm-alone", paid=2),
    "a seat behind the decision": said(
        "team.seat_filled", ENDED_MS + 1, team_id="tem-3", claim_id="clm-c", paid=2
    ),
    "a second decision": decided("tem-3"),
    "a subsidy that was applied": said("team.subsidised", command_id="tcm-2", seats=1),
    "a subsidy of another team": said(
        "team.subsidised", team_id="tem-2", command_id="tcm-1", seats=1
    ),
    "a subsidy that nobody ordered": said("team.subsidised", command_id="tcm-9", seats=1),
    "a subsidy behind the decision": said(
        "team.subsidised", team_id="tem-3", command_id="tcm-1", seats=1
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_changes_nothing(name: str) -> None:
    found = book()
    before = msgspec.to_builtins(found, str_keys=True)
    with pytest.raises(Poison):
        fold_team(found, WRONG[name])
    assert msgspec.to_builtins(found, str_keys=True) == before


def test_a_letter_from_before_the_decision_is_taken() -> None:
    found = book()
    fold_team(found, said("team.seat_filled", ENDED_MS, team_id="tem-3", claim_id="clm-c", paid=1))
    assert (found.teams["tem-3"].paid, found.teams["tem-3"].state) == (1, "failed")
