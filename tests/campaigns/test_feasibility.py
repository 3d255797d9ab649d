"""Feasibility at publish: what channel and floor prices do not allow is named, all at once."""

from typing import Any

import msgspec
import pytest

from campaigns.campaign import rules
from campaigns.campaign.feasibility import Channel, channel_of
from campaigns.campaign.schemas import CampaignIn
from campaigns.problems import FieldError
from engine.errors import Unprocessable
from engine.settings import Settings
from tests.campaigns.server import HOUR_MS, PLAN, crowd_offer, draft, team_offer

NOW = 1_000_000
DAY_MS = 24 * HOUR_MS
# 10 % go to promoter, upline and store.
SKUS = {"sku_tea": rules.Reference(2_000, 1_800, 810)}
CROWD = crowd_offer((2, 1_000), (5, 900))
TEAM = team_offer(term_ms=72 * HOUR_MS)


def errors_of(
    offer: dict[str, Any] | None = None,
    *,
    days: int = 1,
    channel: Channel | None = None,
    **more: Any,
) -> list[FieldError]:
    """What is wrong with a campaign of one offer that runs for so many days."""
    window = {"starts_at_ms": NOW, "ends_at_ms": NOW + days * DAY_MS}
    campaign = msgspec.convert(draft(offer=offer or {}, **{**window, **more}), CampaignIn)
    terms = rules.PRODUCTION._replace(channel=channel or channel_of(Settings()))
    try:
        rules.check(campaign, SKUS, {"store_a"}, (), terms, NOW)
    except Unprocessable as error:
        errors = error.extra["errors"]
        assert isinstance(errors, list)
        return errors
    return []


def broken(offer: dict[str, Any] | None = None, **given: Any) -> set[str]:
    return {error.field.removeprefix("offers[0].") for error in errors_of(offer, **given)}


@pytest.mark.parametrize(
    ("plan", "fields"),
    [
        ({}, set()),
        ({"cap_bps": 3_001}, {"split_plan.cap_bps"}),
        ({"cap_bps": 1_000}, set()),
        ({"cap_bps": 999}, {"split_plan"}),
    ],
)
def test_the_channels_split_cap(plan: dict[str, int], fields: set[str]) -> None:
    assert broken({}, split_plan={**PLAN, **plan}) == fields


def test_the_channels_cap_is_a_setting() -> None:
    wide = channel_of(Settings(channel_split_bps_max=5_000))
    assert broken({}, split_plan={**PLAN, "cap_bps": 5_000}, channel=wide) == set()


@pytest.mark.parametrize(
    ("plan", "most", "fields"),
    [
        ({}, 3, set()),
        ({}, 2, {"split_plan"}),
        ({"level_two": False}, 2, set()),
        ({"upline_bps": 0}, 2, set()),
        ({"promoter_bps": 0, "upline_bps": 0, "store_bps": 0}, 0, set()),
    ],
)
def test_the_receiver_count(plan: dict[str, Any], most: int, fields: set[str]) -> None:
    channel = channel_of(Settings(channel_receivers_max=most))
    assert broken({}, split_plan={**PLAN, **plan}, channel=channel) == fields


@pytest.mark.parametrize(
    ("offer", "fields"),
    [
        ({"prices": [{"price_fen": 899}]}, set()),  # less 89 it is exactly the floor
        ({"prices": [{"price_fen": 898}]}, {"prices[0].price_fen"}),
        ({**TEAM, "captain_price_fen": 898}, {"captain_price_fen"}),
        (crowd_offer((2, 1_000), (5, 898)), {"steps[1].price_fen"}),
        (CROWD, set()),
    ],
)
def test_the_floor_price_is_what_hq_keeps(offer: dict[str, Any], fields: set[str]) -> None:
    assert broken(offer) == fields


def test_without_shares_the_floor_is_the_price_itself() -> None:
    plan = {**PLAN, "promoter_bps": 0, "upline_bps": 0, "store_bps": 0}
    assert broken({"prices": [{"price_fen": 810}]}, split_plan=plan) == set()
    assert broken({"prices": [{"price_fen": 809}]}, split_plan=plan) == {"prices[0].price_fen"}


@pytest.mark.parametrize(
    ("offer", "days", "fields"),
    [
        # 30 days hold the money; 7 are for refunds. A crowd closes for up to an hour.
        (CROWD, 22, set()),
        (CROWD, 23, {"ends_at_ms"}),
        ({**CROWD, "ready_after_days": 12}, 10, set()),
        ({**CROWD, "ready_after_days": 13}, 10, {"ready_after_days"}),
        ({**CROWD, "ready_after_days": 1}, 40, {"ends_at_ms"}),
        ({**TEAM, "ready_after_days": 19}, 90, set()),
        ({**TEAM, "ready_after_days": 20}, 90, {"ready_after_days"}),
        ({"kind": "regular", "ready_after_days": 23}, 90, set()),
        ({"kind": "regular", "ready_after_days": 24}, 90, {"ready_after_days"}),
        ({}, 90, set()),
    ],
)
def test_the_freeze_window(offer: dict[str, Any], days: int, fields: set[str]) -> None:
    assert broken(offer, days=days) == fields


def test_the_freeze_window_is_a_setting() -> None:
    longer = channel_of(Settings(channel_freeze_ms=180 * DAY_MS))
    assert broken(CROWD, days=90, channel=longer) == set()
    strict = channel_of(Settings(refund_window_ms=30 * DAY_MS))
    assert broken({"kind": "regular"}, channel=strict) == set()
    assert broken(TEAM, channel=strict) == {"term_ms"}


def test_a_promised_difference_moves_money_until_its_crowd_has_ended() -> None:
    crowd = {**draft(offer=CROWD)["offers"][0], "upgrade_guarantee": True}
    regular = {**draft(offer={"kind": "regular"})["offers"][0], "prices": [{"price_fen": 1_100}]}
    assert errors_of(days=20, offers=[crowd, regular]) == []
    late = errors_of(days=20, offers=[crowd, {**regular, "ready_after_days": 5}])
    assert [error.field for error in late] == ["offers[1].ready_after_days"]
    alone = {**crowd, "upgrade_guarantee": False}
    assert errors_of(days=20, offers=[alone, {**regular, "ready_after_days": 5}]) == []


def test_all_at_once_in_words() -> None:
    errors = errors_of(crowd_offer((2, 898)), days=23, split_plan={**PLAN, "cap_bps": 3_001})
    assert {error.field: error.message for error in errors} == {
        "split_plan.cap_bps": "The payment channel lets at most 3000 basis points of an order be "
        "given away.",
        "offers[0].steps[0].price_fen": "¥8.98 less all shares leaves ¥8.09, which is below the "
        "floor price ¥8.10.",
        "ends_at_ms": "The first payment of offers[0] would wait 23.1 days until its order "
        "stands, 0 days for the goods and 7 days for refunds; the payment channel holds money "
        "for 30 days.",
    }
