"""A team and a seat's claim while the archive is walked, and how a new epoch mends them."""

from collections.abc import Callable, Mapping

import msgspec

DECIDED = ("formed", "failed")
FOREVER = 2**53


class WalkTeam(msgspec.Struct):
    """A team so far; `seats` are buyer → claim. Of a decided one the seats stay as they were."""

    kind: str
    offer_id: str
    opener_id: str
    size: int
    deadline_ms: int
    state: str
    shard: int = 0
    seats: dict[str, str] = {}
    paid: set[str] = set()
    subsidy: int = 0
    budgeted: int = 0  # of these, within the offer's budget
    step: int = 0
    owes: str = ""  # the event that must come next, if it must
    captain: str | None = ""  # None: whoever a rebuild made it
    closed_at_ms: int = 0  # at its deadline, not because of a cancelled campaign
    full: list[list[int]] = []  # from when to when no seat was free; the last may go on

    def note_full(self, at_ms: int) -> None:
        """After an event at `at_ms` that took or freed seats, or decided it."""
        taken = len(self.seats) + self.subsidy
        is_full = self.kind == "team" and taken >= self.size
        goes_on = bool(self.full) and self.full[-1][1] == FOREVER
        if is_full and not goes_on:
            self.full.append([at_ms, FOREVER])
        elif goes_on and not is_full:
            self.full[-1][1] = at_ms

    def was_full(self, from_ms: int, to_ms: int) -> bool:
        """Whether at any time between these no seat was free."""
        return any(begin <= to_ms and from_ms <= end for begin, end in self.full)


class WalkClaim(msgspec.Struct):
    """A claim of a seat. `held_in` names the epoch that saw it held."""

    buyer_id: str
    team_id: str
    offer_id: str
    consent: bool
    state: str = "held"
    held_in: int = 0
    seat: str = "taken"
    moving: str = ""


def mend(
    teams: Mapping[str, WalkTeam],
    claims: Mapping[str, WalkClaim],
    shard: int,
    due_step: Callable[[WalkTeam], int],
) -> None:
    """What a store that was lost took with it of its last script; without a loss, nothing.

    A rebuild makes the same of the rows: who sits follows from the claims, and the counts, the
    ladder's step and the state from who sits.
    """
    here = {name: one for name, one in teams.items() if one.shard == shard}
    for claim_id, claim in claims.items():
        team = here.get(claim.team_id)
        if team is None or team.state in DECIDED or claim.seat != "taken":
            continue
        if claim.moving in here:
            _leave(team, claim_id, claim)
            team = here[claim.moving]
            claim.team_id, claim.moving = claim.moving, ""
            team.seats[claim.buyer_id] = claim_id
        if claim.state in ("released", "returned"):
            _leave(team, claim_id, claim)
            claim.seat = "left"
        elif claim.state == "paid":
            team.paid.add(claim_id)
    for team in here.values():
        if team.state in DECIDED:
            continue
        team.owes = ""
        if team.kind == "crowd":
            team.step = max(team.step, due_step(team))
            team.state = "reached" if team.step and team.state == "forming" else team.state
        if team.kind == "team" and team.captain not in team.seats:
            team.captain = None if team.seats else ""
        if team.kind == "team" and not team.seats:
            team.state = "closing"
        elif team.state == "opening" and team.paid:
            team.state = "forming"


def _leave(team: WalkTeam, claim_id: str, claim: WalkClaim) -> None:
    if team.seats.get(claim.buyer_id) == claim_id:
        del team.seats[claim.buyer_id]
    team.paid.discard(claim_id)
