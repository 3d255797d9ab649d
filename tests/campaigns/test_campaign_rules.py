"""The rules of a campaign: each broken one is named, all at once."""

from typing import Any

import msgspec
import pytest

from campaigns.campaign import rules
from campaigns.campaign.schemas import CampaignIn
from campaigns.campaign.states import MOVES, Action, move, shown
from engine.errors import Conflict, Unprocessable
from tests.campaigns.server import PLAN, draft

SKUS = {"sku_tea": rules.Reference(2_000, 1_800), "sku_cup": rules.Reference(900, 1_200)}
NOW = 1_000_000


def _draft(**changes: Any) -> CampaignIn:
    window = {"starts_at_ms": NOW, "ends_at_ms": NOW + 10_000}
    return msgspec.convert(draft(**{**window, **changes}), CampaignIn)


def _broken(campaign: CampaignIn, terms: rules.Terms = rules.PRODUCTION) -> set[str]:
    try:
        rules.check(campaign, SKUS, {"store_a"}, (), terms, NOW)
    except Unprocessable as error:
        errors = error.extra["errors"]
        assert isinstance(errors, list)
        return {wrong.field for wrong in errors}
    return set()


def _offer(**changes: Any) -> list[dict[str, Any]]:
    offer = {"sku_id": "sku_tea", "total": 1, "prices": [{"price_fen": 1}], **changes}
    return [offer]


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({}, set()),
        ({"ends_at_ms": NOW}, {"ends_at_ms"}),
        ({"starts_at_ms": 1, "ends_at_ms": NOW - 1}, {"ends_at_ms"}),
        ({"hold_ms": 59_999, "pay_ms": 900_001}, {"hold_ms", "pay_ms"}),
        ({"hold_ms": None, "pay_ms": None}, set()),
        ({"split_plan": {**PLAN, "cap_bps": 999}}, {"split_plan"}),
        ({"split_plan": {**PLAN, "store_bps": -1}}, {"split_plan"}),
        ({"offers": _offer(sku_id="sku_none")}, {"offers[0].sku_id"}),
        ({"offers": _offer(prices=[{"price_fen": 1_799}])}, set()),
        ({"offers": _offer(prices=[{"price_fen": 1_800}])}, {"offers[0].prices[0].price_fen"}),
        (
            {"offers": _offer(sku_id="sku_cup", prices=[{"price_fen": 900}])},
            {"offers[0].prices[0].price_fen"},
        ),
        ({"offers": _offer(per_order_max=2)}, {"offers[0].per_order_max"}),
        (
            {"offers": _offer(per_order_max=5, per_buyer_max=5)},
            {"offers[0].per_order_max"},
        ),
        (
            {"offers": _offer(prices=[{"price_fen": 1, "from_ms": NOW + 1}])},
            {"offers[0].prices[0].from_ms"},
        ),
        (
            {"offers": _offer(prices=[{"price_fen": 1}, {"price_fen": 2, "from_ms": NOW + 5_000}])},
            set(),
        ),
        (
            {
                "offers": _offer(
                    prices=[
                        {"price_fen": 1},
                        {"price_fen": 2, "from_ms": NOW},
                        {"price_fen": 3, "from_ms": NOW + 10_000},
                    ]
                )
            },
            {"offers[0].prices[1].from_ms", "offers[0].prices[2].from_ms"},
        ),
    ],
)
def test_broken_rules_are_named(changes: dict[str, Any], fields: set[str]) -> None:
    assert _broken(_draft(**changes)) == fields


def test_development_may_be_short_and_production_may_not() -> None:
    short = _draft(hold_ms=200, pay_ms=300)
    assert _broken(short, rules.DEVELOPMENT) == set()
    assert _broken(short) == {"hold_ms", "pay_ms"}


def test_moves_are_those_of_the_table() -> None:
    actions: list[Action] = ["edit", "submit", "approve", "reject", "publish", "cancel"]
    states = {"draft", "in_review", "rejected", "approved", "scheduled", "cancelled"}
    for state in states:
        for action in actions:
            wanted = MOVES.get((state, action))
            if wanted is not None:
                assert move(state, action) == wanted
                continue
            with pytest.raises(Conflict) as refused:
                move(state, action)
            possible = refused.value.extra["possible"]
            assert possible == sorted(act for from_state, act in MOVES if from_state == state)
    ways_out = {step: after for (before, step), after in MOVES.items() if before == "scheduled"}
    assert ways_out == {"cancel": "cancelled"}  # what is published changes in no other way
    assert not [step for before, step in MOVES if before == "cancelled"]


def test_running_and_ended_follow_from_the_clock() -> None:
    assert [shown("scheduled", 10, 20, now) for now in (9, 10, 19, 20)] == [
        "scheduled",
        "running",
        "running",
        "ended",
    ]
    assert shown("draft", 10, 20, 30) == "draft"
