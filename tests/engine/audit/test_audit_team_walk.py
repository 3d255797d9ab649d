"""Planted events: what no script of ours may ever say is named by its law."""

from typing import Any

import pytest

from engine.audit.team_walk import TeamWalk
from engine.events import decode
from engine.offers import OfferConfig
from tests.engine.hotshard import config
from tests.engine.seats import CROWD_ID, crowd_rules, team_rules

DEADLINE = 1_000
TEAM = config(kind="team", team=team_rules(size=2, captain_price=("prc_cap", 900), subsidy_max=1))
CROWD = config(kind="crowd", team=crowd_rules(), prices=(("prc_low", 800, 0),))


class Told:
    """A walk that is told events one after the other."""

    def __init__(self) -> None:
        configs: dict[str, OfferConfig] = {"ofr_t": TEAM, "ofr_c": CROWD}
        self.walk, self.seq, self.epoch = TeamWalk(configs), 0, 1

    def say(self, kind: str, at_ms: int = 10, **fields: Any) -> "Told":
        """The next event; `offer_id` is the team offer's if none is named."""
        self.seq += 1
        texts = {"offer_id": "ofr_t", **fields}
        event = decode(
            self.seq, {"kind": kind, "at_ms": str(at_ms), **{k: str(v) for k, v in texts.items()}}
        )
        self.walk.read(event, 0, self.epoch)
        return self

    def opened(self, team_id: str = "t1", opener: str = "cap", **fields: Any) -> "Told":
        given: dict[str, Any] = {"campaign_id": "c", "version": 1, "team_kind": "team", "size": 2}
        given |= {"team_id": team_id, "opener_id": opener, "deadline_ms": DEADLINE}
        return self.say("team.opened", **{**given, **fields})

    def crowd(self) -> "Told":
        return self.opened(CROWD_ID, "", team_kind="crowd", size=0, offer_id="ofr_c")

    def held(self, buyer: str, team_id: str = "t1", *, at_ms: int = 10, **fields: Any) -> "Told":
        given: dict[str, Any] = {"campaign_id": "c", "version": 1, "qty": 1, "key": "k"}
        given |= {"claim_id": f"clm-{buyer}", "buyer_id": buyer, "team_id": team_id, "touch": ""}
        given |= {"expires_at_ms": DEADLINE, "body_hash": "h", "consent": "1"}
        given |= {"price_id": "prc_1", "price_fen": 1_000}
        if team_id == CROWD_ID:
            given |= {"price_id": "prc_low", "price_fen": 800, "offer_id": "ofr_c"}
        elif buyer == "cap":
            given |= {"price_id": "prc_cap", "price_fen": 900}
        return self.say("claim.held", at_ms, **{**given, **fields})

    def paid(self, buyer: str, count: int, team_id: str = "t1", **fields: Any) -> "Told":
        """Paid, and its seat with it."""
        offer = "ofr_c" if team_id == CROWD_ID else "ofr_t"
        given: dict[str, Any] = {"claim_id": f"clm-{buyer}", "fact_id": "f", "attempt_id": "a"}
        given |= {"units": 1, "retaken": 0, "team_id": team_id, "offer_id": offer}
        self.say("claim.paid", **{**given, **fields})
        kind = "crowd.progress" if team_id == CROWD_ID else "team.seat_filled"
        claim_id = f"clm-{buyer}"
        return self.say(kind, team_id=team_id, claim_id=claim_id, paid=count, offer_id=offer)

    def seat(self, buyer: str, count: int, team_id: str = "t1") -> "Told":
        return self.held(buyer, team_id).paid(buyer, count, team_id)

    def decided(self, state: str, paid: int, team_id: str = "t1", **fields: Any) -> "Told":
        given: dict[str, Any] = {"why": "deadline", "paid": paid, "subsidy": 0, "step": 0}
        given["team_id"] = team_id
        return self.say(f"team.{state}", **{**given, **fields})

    def closing(self, paid: int, team_id: str = "t1") -> "Told":
        return self.say("team.closing", DEADLINE, team_id=team_id, paying=0, paid=paid)

    @property
    def broken(self) -> set[str]:
        """Laws with a problem, after the last event."""
        self.walk.end()
        return {law for law, problems in self.walk.problems.items() if problems}


def formed() -> Told:
    """A team of two, as in life."""
    return Told().opened().seat("cap", 1).seat("one", 2).decided("formed", 2, why="full")


def leftovers() -> Told:
    """Two closing teams with a paid seat each."""
    told = Told().opened("t1").seat("cap", 1).opened("t2", "two")
    told.held("two", "t2", price_id="prc_cap", price_fen=900).paid("two", 1, "t2")
    return told.closing(1).closing(1, "t2")


def moved(told: Told) -> Told:
    """A rescue as its script tells it."""
    told.say("team.seat_moved", team_id="t2", from_team_id="t1", claim_id="clm-cap")
    fields: dict[str, Any] = {"team_id": "t1", "claim_id": "clm-cap", "captain_id": ""}
    told.say("team.seat_left", why="moved", paid=0, **fields).decided("failed", 0, why="empty")
    told.say("team.seat_filled", team_id="t2", claim_id="clm-cap", paid=2)
    return told.decided("formed", 2, "t2", why="full")


def test_what_the_scripts_say_breaks_nothing() -> None:
    assert formed().broken == set()
    assert moved(leftovers()).broken == set()
    crowd = Told().crowd().seat("a", 1, CROWD_ID).seat("b", 2, CROWD_ID)
    step: dict[str, Any] = {"team_id": CROWD_ID, "step": 1, "price_id": "prc_low", "price_fen": 800}
    assert crowd.say("crowd.reached", **step, paid=2, offer_id="ofr_c").broken == set()
    assert all(TeamWalk({}).facts[law] == 0 for law in crowd.walk.facts)
    checked = {law for law, count in crowd.walk.facts.items() if count}
    assert {"T1", "T2", "T3", "T4", "T6", "I9"} <= checked


FAULTS = {
    "a third seat of two": (Told().opened().seat("cap", 1).held("x").held("y"), {"T1", "T7"}),
    "a full team that does not form": (Told().opened().seat("cap", 1).seat("x", 2), {"T1"}),
    "a full team that fails": (
        Told().opened().seat("cap", 1).seat("x", 2).decided("failed", 2),
        {"T1"},
    ),
    "a team that forms with a seat free": (
        Told().opened().seat("cap", 1).decided("formed", 1),
        {"T1"},
    ),
    "a buyer twice": (
        Told().opened(size=3).seat("cap", 1).held("x", claim_id="clm-x2").held("x"),
        {"T2"},
    ),
    "two open teams of one buyer": (Told().opened().opened("t2"), {"T2"}),
    "a seat that is filled unpaid": (
        Told()
        .opened()
        .held("cap")
        .say("team.seat_filled", team_id="t1", claim_id="clm-cap", paid=1),
        {"T3"},
    ),
    "a count that is wrong": (Told().opened(size=3).held("cap").paid("cap", 2), {"T3"}),
    "a move without need": (
        Told()
        .opened()
        .seat("cap", 1)
        .opened("t2", "two")
        .say("team.seat_moved", team_id="t2", from_team_id="t1", claim_id="clm-cap"),
        {"T3"},
    ),
    "a seat after the decision": (formed().held("late"), {"T1", "T4", "T7"}),
    "formed and failed": (formed().decided("failed", 2), {"T4"}),
    "opened twice": (Told().opened(opener="").opened(opener=""), {"T4"}),
    "held past the deadline": (
        Told().opened().held("cap", expires_at_ms=DEADLINE + 1),
        {"T6"},
    ),
    "a seat after the deadline": (Told().opened().held("cap", at_ms=DEADLINE), {"T6"}),
    "closing with a seat held": (Told().opened().held("cap").closing(0), {"T6"}),
    "the captain's price for another": (
        Told().opened().seat("cap", 1).held("x", price_id="prc_cap", price_fen=900),
        {"I9"},
    ),
    "a released claim that keeps its seat": (
        Told()
        .opened()
        .held("cap")
        .say("claim.released", claim_id="clm-cap", why="lapsed", attempt_id="", units=1),
        {"T3"},
    ),
    "a threshold that is passed in silence": (
        Told().crowd().seat("a", 1, CROWD_ID).seat("b", 2, CROWD_ID),
        {"T1"},
    ),
    "a threshold reached too early": (
        Told()
        .crowd()
        .seat("a", 1, CROWD_ID)
        .say(
            "crowd.reached",
            team_id=CROWD_ID,
            step=1,
            price_id="prc_low",
            price_fen=800,
            paid=1,
            offer_id="ofr_c",
        ),
        {"T1"},
    ),
    "a subsidy too many": (
        Told()
        .opened()
        .seat("cap", 1)
        .held("x")
        .say("team.subsidised", team_id="t1", command_id="tcm", seats=1),
        {"T1"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_by_its_law(name: str) -> None:
    told, laws = FAULTS[name]
    assert told.broken == laws


def test_a_move_without_consent_is_seen() -> None:
    told = Told().opened("t1").held("cap", consent="").paid("cap", 1).opened("t2", "two")
    told.held("two", "t2", price_id="prc_cap", price_fen=900).paid("two", 1, "t2")
    assert moved(told.closing(1).closing(1, "t2")).broken == {"T3"}


def test_a_new_epoch_mends_what_a_lost_store_took_with_it() -> None:
    """The script that released a claim also said that its seat is free; that was lost."""
    told = Told().opened().seat("cap", 1).held("x")
    told.say("claim.released", claim_id="clm-x", why="lapsed", attempt_id="", units=1)
    told.epoch = 2
    assert told.held("y").broken == set()
    assert told.walk.claims["clm-x"].seat == "left"
    full = Told().opened().seat("cap", 1).seat("x", 2)
    full.epoch = 2
    assert full.decided("formed", 2, why="full").broken == set()
