"""What each kind of group buy must say: every broken rule is named, all at once."""

from typing import Any

import msgspec
import pytest

from campaigns.campaign import rules
from campaigns.campaign.group_terms import CLOSING_MAX_MS, group_terms
from campaigns.campaign.schemas import CampaignIn, OfferIn
from engine.errors import Unprocessable
from tests.campaigns.server import HOUR_MS, crowd_offer, draft, team_offer

SKUS = {"sku_tea": rules.Reference(2_000, 1_800)}
NOW = 1_000_000
TEAM = team_offer(term_ms=HOUR_MS)
CROWD = crowd_offer((2, 900), (5, 800))
REGULAR = {"kind": "regular"}


def _broken(offer: dict[str, Any], terms: rules.Terms = rules.PRODUCTION, **more: Any) -> set[str]:
    window = {"starts_at_ms": NOW, "ends_at_ms": NOW + HOUR_MS}
    campaign = msgspec.convert(draft(offer=offer, **{**window, **more}), CampaignIn)
    try:
        rules.check(campaign, SKUS, {"store_a"}, (), terms, NOW)
    except Unprocessable as error:
        errors = error.extra["errors"]
        assert isinstance(errors, list)
        return {wrong.field.removeprefix("offers[0].") for wrong in errors}
    return set()


@pytest.mark.parametrize(
    ("offer", "fields"),
    [
        (REGULAR, set()),
        ({**REGULAR, "ready_after_days": 5, "late": "retake"}, set()),
        ({**REGULAR, "late": "seat"}, {"late"}),
        ({**REGULAR, "coupons": True, "points": True}, {"coupons", "points"}),
        ({**REGULAR, "launch": "host", "duration_ms": 1_000}, {"launch", "duration_ms"}),
        ({"kind": "flash", "coupons": True, "points": True}, set()),
        ({"kind": "flash", "prices": []}, {"prices"}),
        ({"kind": "flash", "ready_after_days": 1}, {"ready_after_days"}),
        (
            {**REGULAR, "size": 2, "term_ms": HOUR_MS, "steps": [{"seats": 2, "price_fen": 1}]},
            {"size", "term_ms", "steps"},
        ),
        (TEAM, set()),
        ({**TEAM, "size": 3, "captain_price_fen": 999, "subsidy_max": 5, "late": "other"}, set()),
        ({**TEAM, "size": None, "term_ms": None}, {"size", "term_ms"}),
        ({**TEAM, "term_ms": HOUR_MS - 1}, {"term_ms"}),
        ({**TEAM, "term_ms": 72 * HOUR_MS, "closing_max_ms": HOUR_MS}, set()),
        ({**TEAM, "closing_max_ms": HOUR_MS + 1}, {"closing_max_ms"}),
        ({**TEAM, "closing_max_ms": 59_999}, {"closing_max_ms"}),
        ({**TEAM, "captain_price_fen": 1_000}, {"captain_price_fen"}),
        ({**TEAM, "seat_qty": 2}, set()),
        ({**TEAM, "seat_qty": 3}, {"seat_qty"}),
        ({**TEAM, "total": 1}, {"total"}),
        ({**TEAM, "seat_qty": 2, "total": 3}, {"total"}),
        ({**TEAM, "late": "retake"}, {"late"}),
        ({**TEAM, "coupons": True}, {"coupons"}),
        (
            {**TEAM, "steps": [{"seats": 2, "price_fen": 900}], "regular_price_fen": 1_100},
            {"steps", "regular_price_fen"},
        ),
        ({**TEAM, "prices": [{"price_fen": 1_800}]}, {"prices[0].price_fen"}),
        (CROWD, set()),
        ({**CROWD, "late": "other"}, {"late"}),
        ({**CROWD, "points": True}, {"points"}),
        ({**CROWD, "steps": []}, {"steps"}),
        ({**CROWD, "prices": [{"price_fen": 900}]}, {"prices"}),
        (crowd_offer((1, 900)), {"steps[0].seats"}),
        (crowd_offer((2, 1_800)), {"steps[0].price_fen"}),
        (crowd_offer((3, 900), (3, 900)), {"steps[1].seats", "steps[1].price_fen"}),
        (crowd_offer((2, 900), (101, 800)), {"steps[1].seats"}),
        ({**crowd_offer((2, 900), (50, 800)), "seat_qty": 2}, set()),
        ({**crowd_offer((2, 900), (51, 800)), "seat_qty": 2}, {"steps[1].seats"}),
        ({**CROWD, "regular_price_fen": 1_000}, {"regular_price_fen"}),
        ({**CROWD, "charging": "pay_regular_return_difference"}, {"regular_price_fen"}),
        (
            {
                **CROWD,
                "charging": "pay_regular_return_difference",
                "regular_price_fen": 1_799,
            },
            set(),
        ),
        (
            {
                **CROWD,
                "charging": "pay_regular_return_difference",
                "regular_price_fen": 1_800,
            },
            {"regular_price_fen"},
        ),
    ],
)
def test_broken_rules_are_named(offer: dict[str, Any], fields: set[str]) -> None:
    assert _broken(offer) == fields


def test_development_may_be_short() -> None:
    short = {**TEAM, "term_ms": 200, "closing_max_ms": 200}
    assert _broken(short, rules.DEVELOPMENT) == set()
    assert _broken(short) == {"term_ms", "closing_max_ms"}


def test_stores_are_known_and_named_once() -> None:
    assert _broken({}, stores=["store_a"]) == set()
    assert _broken({}, stores=["store_a", "store_x", "store_a"]) == {"stores[1]", "stores[2]"}


def test_what_the_hot_store_is_told() -> None:
    def terms(offer: dict[str, Any]) -> Any:
        (sent,) = draft(offer=offer)["offers"]
        return group_terms("ofr_x", msgspec.convert(sent, OfferIn))

    prices, team = terms({**TEAM, "size": 3, "captain_price_fen": 900})
    assert [price[1:] for price in prices] == [(1_000, 0)]
    assert (team.size, team.seat_qty, team.term_ms) == (3, 1, HOUR_MS)
    assert (team.closing_max_ms, team.captain_price[1]) == (CLOSING_MAX_MS, 900)
    low, crowd = terms(CROWD)
    # The first step is the price from the start, under the same id: reaching it changes nothing.
    assert low == ((*crowd.steps[0][1:], 0),)
    assert (crowd.crowd_id, crowd.charging, crowd.seat_qty) == ("tem-c-ofr_x", "low", 0)
    assert [(seats, fen) for seats, _, fen in crowd.steps] == [(2, 900), (5, 800)]
    high, crowd = terms(
        {**CROWD, "charging": "pay_regular_return_difference", "regular_price_fen": 1_200}
    )
    assert [price[1:] for price in high] == [(1_200, 0)]
    assert crowd.charging == "regular"
    assert high[0][0] not in [price_id for _, price_id, _ in crowd.steps]
    assert terms(REGULAR)[1] is None
