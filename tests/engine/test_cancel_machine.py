"""Teams whose offers are cancelled early in the evening: the real scripts against the pure model.

The machine of teams (test_teams_machine.py) cancels late, so that most of its evenings are about
teams that are open; here most are about those that end before their time.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from engine.replay.shard import Contradiction
from engine.scripts import Script
from tests.engine.hotshard import SCRIPTS
from tests.engine.parity import World
from tests.engine.seats import CROWD_ID
from tests.engine.seats_machine import OFFERS, places
from tests.engine.teams_machine import TeamScripts
from tests.engine.test_teams_machine import planted

EFFECTS = ("finish", "refund", "honour")


class CancelledTeams(TeamScripts):
    """As ever, but somebody pulls the switch early, and whoever may end then does."""

    @precondition(lambda self: self.model.seq >= 14)
    @rule(offer_id=st.sampled_from(OFFERS))
    def cancels(self, offer_id: str) -> None:
        if self.model.offers[offer_id].state == "open":
            self.offer_closes(offer_id=offer_id, state="cancelled")

    @precondition(lambda self: self.undecided())
    @rule(place=places, honour=st.booleans())
    def ends_early(self, place: int, honour: bool) -> None:
        """Held seats are let go, teams close, one is decided, one is filled."""
        team = self.pick(self.undecided(), place)
        assert team is not None
        if self.model.offers[team.offer_id].state == "cancelled":
            for claim_id in self.claims(lambda one: one.state == "held"):
                if self.model.claims[claim_id].team_id == team.team_id:
                    self._release(claim_id, "", "campaign_cancelled")
        self._close(9, 0, early=[team.team_id])
        if honour:
            self._subsidise(team.team_id, 1, self.fresh("cmd"), True)
        self._decide(team.team_id, [])


def play(url: str, scripts: dict[str, Script], budget: settings) -> None:
    """Run the machine with these scripts."""
    world = World(url, scripts)
    try:
        machine = type("CancelledHere", (CancelledTeams,), {"world": world})
        run_state_machine_as_test(machine, settings=budget)
    finally:
        world.close()


@pytest.mark.fuzz
def test_cancelled_teams_do_what_the_model_says(valkey_url: str) -> None:
    budget = settings(
        max_examples=settings().max_examples // 4, suppress_health_check=list(HealthCheck)
    )
    play(valkey_url, SCRIPTS, budget)


FORGOTTEN = [
    ("offer_close", "if before == 'cancelled' then", "if false then"),
    ("seat", "if opens and state == 'finishing' then return { 'closed' } end", ""),
    ("pay_begin", "and selling ~= 'cancelled'", ""),
    ("pay_confirm", "if state == 'cancelled' then return 'cancelled' end", ""),
    ("team_close", "and is_cancelled(t) then", "then"),
    ("team_close", "ends = math.min(now_ms + term, tonumber(t.deadline_ms))", ""),
    ("team_decide", "elseif is_honoured(t) then", "elseif false then"),
    ("team_decide", "is_cancelled(t) and 'cancelled' or", ""),
    ("team_move", " or selling == 'cancelled'", ""),
    ("team_subsidise", "(t.paying ~= '0' or not is_honoured(t))", "false"),
]


@pytest.mark.parametrize(("name", "line", "instead"), FORGOTTEN)
def test_an_evening_notices_a_forgotten_line(
    valkey_url: str, name: str, line: str, instead: str
) -> None:
    """A checker that cannot fail proves nothing; one of three evenings knows each line."""
    scripts = {**SCRIPTS, name: planted(name, line, instead)}
    with pytest.raises((AssertionError, Contradiction)):
        evenings(valkey_url, scripts)


@pytest.mark.parametrize("on_cancel", EFFECTS)
def test_an_evening_ends_as_the_model_says(valkey_url: str, on_cancel: str) -> None:
    evening(valkey_url, SCRIPTS, on_cancel)


def evenings(url: str, scripts: dict[str, Script]) -> None:
    """One for each effect."""
    for on_cancel in EFFECTS:
        evening(url, scripts, on_cancel)


def evening(url: str, scripts: dict[str, Script], on_cancel: str) -> None:
    """Everything is cancelled while seats are held, being paid, paid and given up."""
    world = World(url, scripts)
    try:
        one = type("Evening", (CancelledTeams,), {"world": world})()
        one.begin(
            totals=(7, 7, 5), late="new", closing_max_ms=0, charging="low", on_cancel=on_cancel
        )
        played(one)
        one.hot_state_is_the_models()
    finally:
        world.close()


def played(one: CancelledTeams) -> None:
    """In this order; each command is checked against the model."""
    two, other, three = [team.team_id for team in one.model.teams.values() if team.kind == "team"]
    given: dict[str, Any] = {"consent": True, "newcomer": True}
    gone = one._seat("ofr_2", "mbr_5", "", "prc_captain", **given).details[0]
    one._release(gone, "", "cancelled")
    paying = one._seat("ofr_3", "mbr_4", three, "prc_1", **given).details[0]
    one._pay_begin(paying, "att_1")
    held = one._seat("ofr_2", "mbr_4", two, "prc_1", **given).details[0]
    in_crowd = one._seat("ofr_c", "mbr_1", CROWD_ID, "prc_low").details[0]
    one._confirm(in_crowd, one.fresh("fct"), "ok")
    everybody = [two, other, three, CROWD_ID]
    one._close(9, 0, early=everybody)
    for state in ("cancelled", "closed", "frozen"):
        for offer_id in dict.fromkeys(OFFERS):
            one.offer_closes(offer_id=offer_id, state=state)
        if state == "cancelled":
            one._seat("ofr_2", "mbr_5", "", "prc_captain", **given)
    one._pay_begin(held, "att_1")
    one._confirm(gone, one.fresh("fct"), "ok")
    one._close(9, 0, early=everybody)
    one._subsidise(three, 1, one.fresh("cmd"), True)
    one._release(held, "att_1", "closed")
    one._release(held, "", "campaign_cancelled")
    one._release(paying, "att_1", "campaign_cancelled")
    one._close(9, 0, early=everybody)
    captains = one.claims(lambda claim: claim.buyer_id == "mbr_2" and claim.state == "paid")
    one._move(captains[0], two)
    one._confirm(paying, one.fresh("fct"), "ok")
    for team_id in everybody:
        for _ in range(2):
            one._decide(team_id, [])
            one._subsidise(team_id, 1, one.fresh("cmd"), True)
