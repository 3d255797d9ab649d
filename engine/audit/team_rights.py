"""Who may sit where, at which price, and who leads: what the walk asks of single events. Pure.

Each question yields (law, holds, text). Prices are those in force; a late payment lands as far as
its campaign declared, in a team that still takes seats; a rescue takes who agreed from a team that
would fail to one that takes them; the merchant keeps to the offer's budget.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from engine.audit.team_states import WalkClaim, WalkTeam
from engine.events import ClaimHeld, ClaimPaid, SeatMoved, TeamSubsidised
from engine.offers import OfferConfig

LawName = Literal["I9", "T1", "T2", "T3", "T4", "T6", "T7"]
Asked = Iterator[tuple[LawName, bool, str]]
_FAR = {"refund": 0, "seat": 1, "other": 2, "new": 3}  # how far a landing goes


def held(event: ClaimHeld, team: WalkTeam, config: OfferConfig) -> Asked:
    """The captain's price for who opens, the step in force in a crowd, else the interval's."""
    rules = config.team
    assert rules is not None
    if rules.captain_price and team.state == "opening" and not team.seats:
        right = rules.captain_price
    elif team.step and rules.charging == "low":
        right = rules.steps[team.step - 1][1:]
    else:
        begun = [price for price in config.prices if price[2] <= event.at_ms]
        right = max(begun, key=lambda price: price[2])[:2]
    name, price = f"claim {event.claim_id}", (event.price_id, event.price_fen)
    yield "I9", price == right, f"{name} has price {price}, not {right}"
    fits = rules.seat_qty in (0, event.qty)
    yield "T3", fits, f"{name} has {event.qty} units, a seat has {rules.seat_qty}"


def landed(event: ClaimPaid, claim: WalkClaim, team: WalkTeam, config: OfferConfig | None) -> Asked:
    """A late payment's seat: its own, of another team if they agreed, of a new one of theirs."""
    how, name = event.landed, f"late claim {event.claim_id} landed ({event.landed})"
    where = f"{name} in team {event.team_id}"
    yield "T6", event.at_ms < team.deadline_ms, f"{where}, which ended at {team.deadline_ms}"
    is_own = event.team_id == claim.team_id
    if how == "new":
        right = not is_own and team.state == "opening" and team.opener_id == claim.buyer_id
    else:
        right = team.state in ("forming", "reached") and is_own == (how == "seat")
    if how == "other":
        right = right and claim.consent
    yield "T3", right and team.offer_id == claim.offer_id, f"{where}, which is not its place"
    if config is not None:
        declared = _FAR.get(how, 4) <= _FAR.get(config.late, 0)
        yield "T3", declared, f"{name}, its campaign declared {config.late}"


def moved(
    event: SeatMoved, claim: WalkClaim, teams: Mapping[str, WalkTeam], paying: set[str]
) -> Asked:
    """A rescue; `paying` are teams in which somebody is paying."""
    source, target = teams[event.from_team_id], teams[event.team_id]
    text = f"claim {event.claim_id} was moved to team {event.team_id}"
    right = claim.consent and claim.state == "paid" and claim.team_id == event.from_team_id
    needed = (source.state, source.offer_id) == ("closing", target.offer_id)
    yield "T3", right and needed, f"{text} without consent, payment or need"
    waits = event.from_team_id in paying
    yield "T3", not waits, f"{text}, and somebody was still paying in {event.from_team_id}"
    if target.state == "closing":  # of two that would fail one is made
        yield "T3", event.team_id not in paying, f"{text}, where somebody was still paying"
    else:
        yield "T3", target.state == "forming", f"{text}, which is {target.state}"
        in_time = event.at_ms < target.deadline_ms
        yield "T6", in_time, f"{text}, which ended at {target.deadline_ms}"


def subsidised(
    event: TeamSubsidised, team: WalkTeam, config: OfferConfig | None, filled: int
) -> Asked:
    """`filled` seats of the offer, these among them; those that honour a word are not counted."""
    text = f"the merchant filled {event.seats} seats of team {event.team_id}"
    yield "T3", team.state in ("forming", "closing"), f"{text}, which is {team.state}"
    if config is not None and config.team is not None and not event.honour:
        most = config.team.subsidy_max
        yield "T3", filled <= most, f"{text}: {filled} of its offer, which may have {most}"


def led(team_id: str, team: WalkTeam, leaver: str, said: str) -> Asked:
    """After `leaver` has left: the captain stays, else one who has paid leads before others."""
    text = f"team {team_id} is led by {said or 'nobody'}"
    if team.captain not in (leaver, None):
        yield "T3", said == team.captain, f"{text}, its captain {team.captain} is there"
    elif not team.seats:
        yield "T3", said == "", f"{text}, and nobody sits there"
    elif team.captain is not None:
        claim_id = team.seats.get(said)
        best = claim_id is not None and (claim_id in team.paid or not team.paid)
        yield "T3", best, f"{text} when {leaver} leaves, who is not next"
