"""The demo's group buys: who plays which story, what HQ publishes, what the summary says."""

import asyncio
import io
import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from campaigns.campaign.kind_rules import check_kind
from campaigns.campaign.rules import DEVELOPMENT
from campaigns.campaign.schemas import OfferIn
from cli.demo.groups import GroupFigures, group_lines, told
from cli.demo.headquarters import WINDOW_MS, group_offers
from cli.demo.parties import (
    DRIFTERS_APART_MS,
    STORIES,
    Link,
    group_plan,
    guests_of,
    part_of,
)
from cli.demo.plan import GroupOffer, Tally
from cli.demo.summary import Summary, show

_PAIR, _TRIO, _CROWD = [
    GroupOffer(offer_id=f"ofr_{size}", size=size, price_id="p") for size in (2, 3, 0)
]
_PHONES = [f"p{number}" for number in range(240)]


@given(st.integers(0, 400), st.integers(0, 50), st.integers(1, 4))
def test_nobody_plays_two_parts(guests: int, seed: int, processes: int) -> None:
    phones = [f"p{number}" for number in range(guests)]
    plan = group_plan(phones, _PAIR, _TRIO, _CROWD, seed)
    assert plan == group_plan(phones, _PAIR, _TRIO, _CROWD, seed), "a seed plays the same habits"
    parts = [part_of(plan, number, processes) for number in range(processes)]
    playing = Counter(
        [one.phone for part in parts for one in part.joiners]
        + [phone for part in parts for party in part.parties for phone in party.phones]
    )
    assert set(playing) <= set(phones)
    assert all(count == 1 for count in playing.values())
    assert guests_of(plan) == playing.total()
    assert guests - guests_of(plan) < 5, "only those who make no whole party stay at home"


def test_an_evening_has_every_story() -> None:
    plan = group_plan(_PHONES, _PAIR, _TRIO, _CROWD, 1)
    played = Counter(party.story for party in plan.parties)
    assert set(played) == {story for story, _, _ in STORIES}
    lonely = [party for party in plan.parties if party.story == "drifter"]
    for before, after in zip(lonely[::2], lonely[1::2], strict=False):
        assert after.after_ms - before.after_ms == DRIFTERS_APART_MS
    # Each team ends before the sale does, so that its ending is seen.
    offers = {offer["sku_id"]: offer for offer in group_offers(240)}
    longest = max(offer.get("term_ms", 0) for offer in offers.values())
    assert max(party.after_ms for party in plan.parties) + longest < WINDOW_MS


@pytest.mark.parametrize("guests", [60, 240, 1_000])
def test_what_hq_publishes_keeps_the_rules_of_its_kind(guests: int) -> None:
    for offer in group_offers(guests):
        read = msgspec.convert(offer, OfferIn)
        assert list(check_kind("offers[0]", read, DEVELOPMENT.team)) == []


async def test_friends_hear_of_a_team_or_that_there_will_be_none() -> None:
    link, none = Link(), Link()
    friends = [asyncio.create_task(one.opened()) for one in (link, link, none)]
    await asyncio.sleep(0)
    for team_id in ("tem_1", None):
        link.share(team_id)
    none.share(None)
    assert await asyncio.gather(*friends) == ["tem_1", "tem_1", None]


def test_moves_and_landings_are_counted_from_the_archive() -> None:
    rng = random.Random(1)
    mine = [
        {"kind": "team.seat_moved", "offer_id": "ofr_2"},
        {"kind": "claim.paid", "offer_id": "ofr_2", "landed": "new"},
        {"kind": "claim.paid", "offer_id": "ofr_2", "landed": ""},
        {"kind": "claim.paid", "offer_id": "ofr_2"},
        {"kind": "team.seat_moved", "offer_id": "ofr_other"},
        {"kind": "claim.released", "offer_id": "ofr_3"},
    ]
    rng.shuffle(mine)
    payload = msgspec.msgpack.encode(list(enumerate(mine, 1)))
    assert Counter(told(payload, frozenset({"ofr_2", "ofr_3"}))) == {"moved": 1, "new": 1}


def test_the_summary_says_what_became_of_the_teams() -> None:
    figures = GroupFigures(
        formed=5,
        failed=2,
        rescued=1,
        landed={"seat": 3},
        crowd_state="formed",
        crowd_step=2,
        crowd_seats=40,
        crowd_price_fen=4_190,
        refunded_fen={"team_failed": 5_580},
    )
    assert figures.ended
    assert not msgspec.structs.replace(figures, undecided=1).ended
    assert not GroupFigures(crowd_state="closing").ended
    summary = Summary(
        ok=True,
        seed=1,
        customers=msgspec.to_builtins(Tally()),
        groups=figures,
        balances_fen={},
        laws={},
        seconds=1,
    )
    out = io.StringIO()
    show(Console(file=out, width=120), summary)
    for words, figure in group_lines(figures):
        assert words in out.getvalue()
        assert figure in out.getvalue()
    assert "3 / 0 / 0" in out.getvalue()
    assert "¥55.80" in out.getvalue()
