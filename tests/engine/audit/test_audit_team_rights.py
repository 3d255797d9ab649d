"""Planted events of who sits where, who leads and who fills: each is named by its law."""

from typing import Any

import pytest

from engine.audit.team_walk import TeamWalk
from tests.engine.audit.test_audit_team_walk import DEADLINE, Told, leftovers, moved
from tests.engine.hotshard import config
from tests.engine.seats import team_rules


class Heard(Told):
    """A walk over teams of three with a budget of one seat; late payments land as `late` says."""

    def __init__(self, late: str = "new", **rules: Any) -> None:
        super().__init__()
        team = team_rules(size=3, subsidy_max=1, **rules)
        self.walk = TeamWalk({"ofr_t": config(kind="team", team=team, late=late)})
        self.opened(size=3).held("cap", price_id="prc_1", price_fen=1_000).paid("cap", 1)

    def other(self) -> "Heard":
        """A second team, its captain `two` has paid."""
        self.opened("t2", "two", size=3).held("two", "t2").paid("two", 1, "t2")
        return self

    def paying(self, buyer: str) -> "Heard":
        fields: dict[str, Any] = {"attempt_id": "a", "pay_expires_at_ms": DEADLINE}
        self.say("claim.paying", claim_id=f"clm-{buyer}", **fields)
        return self

    def left(self, buyer: str, paid: int, captain: str, why: str = "lapsed") -> "Heard":
        fields: dict[str, Any] = {"team_id": "t1", "why": why, "captain_id": captain}
        self.say("team.seat_left", claim_id=f"clm-{buyer}", paid=paid, **fields)
        return self

    def late(self, consent: str = "1") -> "Heard":
        """`x` held a seat of the first team, which lapsed."""
        self.held("x", consent=consent)
        fields: dict[str, Any] = {"why": "lapsed", "attempt_id": "", "units": 1}
        self.say("claim.released", claim_id="clm-x", **fields)
        return self.left("x", 1, "cap")

    def lands(self, how: str, team_id: str = "t1", count: int = 2, **fields: Any) -> "Heard":
        self.paid("x", count, team_id, landed=how, retaken=1, **fields)
        return self

    def filled(self, seats: int, command_id: str = "tcm", **fields: Any) -> "Heard":
        given: dict[str, Any] = {"team_id": "t1", "command_id": command_id, "seats": seats}
        self.say("team.subsidised", **{**given, **fields})
        return self


def test_what_is_right_breaks_nothing() -> None:
    assert Heard().late().lands("seat").broken == set()
    assert Heard().late().other().lands("other", "t2").broken == set()
    anew = Heard().late()
    anew.opened("t2", "x", size=3)
    assert anew.lands("new", "t2", 1).broken == set()
    assert Heard().filled(1).broken == set()
    left = Heard().held("x").paid("x", 2).held("y")
    assert isinstance(left, Heard)
    assert left.left("y", 2, "cap").left("cap", 1, "x", "refunded").broken == set()
    alone = Heard().left("cap", 0, "", "refunded")
    assert alone.decided("failed", 0, why="empty").broken == set()


def _spent_again(first: str) -> Heard:
    """A seat was filled in the first team, which is decided; then one in the second."""
    told = Heard().other().filled(1)
    if first == "failed":
        told.left("cap", 0, "", "refunded").decided("failed", 0, why="empty", subsidy=1)
    else:
        told.held("x").paid("x", 2).decided("formed", 2, why="full", subsidy=1)
    return told.filled(1, "tcm2", team_id="t2")


def test_the_budget_of_a_failed_team_can_be_spent_again() -> None:
    assert _spent_again("failed").broken == set()
    assert _spent_again("formed").broken == {"T3"}


def _not_waited_for() -> Told:
    told = Heard().held("x")
    assert isinstance(told, Heard)
    return told.paying("x").closing(1).decided("failed", 1)


def _deposed() -> Told:
    told = Heard().held("x")
    assert isinstance(told, Heard)
    return told.left("x", 1, "x")


def _led_by_who_left() -> Told:
    told = Heard().held("x").paid("x", 2)
    assert isinstance(told, Heard)
    return told.left("cap", 1, "cap", "refunded")


def _led_by_who_has_not_paid() -> Told:
    told = Heard().held("x").paid("x", 2).held("y")
    assert isinstance(told, Heard)
    return told.left("cap", 1, "y", "refunded")


def _led_by_somebody() -> Told:
    return Heard().left("cap", 0, "cap", "refunded").decided("failed", 0, why="empty")


def _anew_for_another() -> Told:
    told = Heard().late()
    told.opened("t2", "two", size=3)
    return told.lands("new", "t2", 1)


def _rescued(*, paying: str = "", ended: bool = False) -> Told:
    told = Heard().other()
    told.held("y", "t2" if paying == "t2" else "t1")
    if paying:
        told.paying("y")
    else:
        told.left("y", 1, "cap")
    told.closing(1)
    if paying == "t2":
        told.closing(1, "t2")
    at_ms = DEADLINE if ended else 10
    fields: dict[str, Any] = {"team_id": "t2", "from_team_id": "t1", "claim_id": "clm-cap"}
    return told.say("team.seat_moved", at_ms, **fields)


FAULTS = {
    "two units on a seat of one": (Heard().held("x", qty=2), {"T3"}),
    "failing while somebody is paying": (_not_waited_for(), {"T3"}),
    "a team that outlives its offer": (Heard().opened("t2", "two", deadline_ms=2**52), {"T6"}),
    "a captain who is deposed": (_deposed(), {"T3"}),
    "a captain who has left": (_led_by_who_left(), {"T3"}),
    "a captain who has not paid": (_led_by_who_has_not_paid(), {"T3"}),
    "a captain of nobody": (_led_by_somebody(), {"T3"}),
    "landing after the end": (Heard().late().lands("seat", at_ms=DEADLINE), {"T6"}),
    "landing elsewhere without consent": (
        Heard().late(consent="").other().lands("other", "t2"),
        {"T3"},
    ),
    "landing elsewhere and saying it is the same": (
        Heard().late().other().lands("seat", "t2"),
        {"T3"},
    ),
    "landing in a new team of somebody else": (_anew_for_another(), {"T3"}),
    "landing beyond what was declared": (
        Heard("seat").late().other().lands("other", "t2"),
        {"T3"},
    ),
    "landing where refunds were declared": (Heard("refund").late().lands("seat"), {"T3"}),
    "moving out while somebody pays": (_rescued(paying="t1"), {"T3"}),
    "moving in while somebody pays": (_rescued(paying="t2"), {"T3"}),
    "moving into what has ended": (_rescued(ended=True), {"T6"}),
    "filling beyond the budget": (Heard().filled(2), {"T1", "T3"}),
    "filling twice within it": (Heard().filled(1).filled(1, "tcm2"), {"T1", "T3"}),
    "filling before the captain paid": (
        Heard()
        .opened("t2", "two", size=3)
        .say("team.subsidised", team_id="t2", command_id="tcm", seats=1),
        {"T3"},
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_by_its_law(name: str) -> None:
    told, laws = FAULTS[name]
    assert told.broken == laws, told.walk.problems


def test_the_rescue_of_before_is_right() -> None:
    assert moved(leftovers()).broken == set()
