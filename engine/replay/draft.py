"""A decision in the making: events one by one on a copy of the state, as a script emits them.

What a seat's coming and going makes of its team is said here, for all commands that move seats.
"""

from typing import Any, NamedTuple

from engine.events import (
    AnyEvent,
    ClaimReleased,
    CrowdFailed,
    CrowdFormed,
    CrowdProgress,
    CrowdReached,
    CrowdSeatLeft,
    SeatFilled,
    SeatLeft,
    TeamFailed,
    TeamFormed,
)
from engine.inventory import Reply
from engine.replay.seats import successor
from engine.replay.shard import Shard

_ENDS: dict[tuple[str, str], type[AnyEvent]] = {
    ("team", "formed"): TeamFormed,
    ("team", "failed"): TeamFailed,
    ("crowd", "formed"): CrowdFormed,
    ("crowd", "failed"): CrowdFailed,
}


class Outcome(NamedTuple):
    """What a command answers, and what it appends; no events mean: nothing changed."""

    reply: Reply
    events: tuple[AnyEvent, ...] = ()


def say(what: str, *details: str | int) -> Outcome:
    """An answer that changes nothing."""
    return Outcome(Reply(what, tuple(str(detail) for detail in details)))


class Draft:
    """`shard` is a copy that has taken all `events` so far."""

    def __init__(self, shard: Shard, now_ms: int) -> None:
        self.shard = shard.fork()
        self.now_ms = now_ms
        self.events: list[AnyEvent] = []

    def done(self, what: str, *details: str | int) -> Outcome:
        """The outcome with this reply."""
        return Outcome(say(what, *details).reply, tuple(self.events))

    def emit(self, kind: type[AnyEvent], **fields: Any) -> None:
        """Append the next event; the copy takes it."""
        event = kind(seq=self.shard.seq + 1, at_ms=self.now_ms, **fields)
        self.events.append(event)
        self.shard.apply(event)

    def release(self, claim_id: str, why: str, attempt_id: str) -> None:
        """Units, limits and seat of a held or paying claim come free."""
        claim = self.shard.claims[claim_id]
        sat = claim.seat == "1"
        self.emit(
            ClaimReleased,
            claim_id=claim_id,
            offer_id=claim.offer_id,
            why=why,
            attempt_id=attempt_id,
            units=claim.units,
        )
        if sat:
            self.left(claim.team_id, claim_id, why)

    def left(self, team_id: str, claim_id: str, why: str) -> None:
        """A claim has left its seat, or does so with this event (`unpaid`)."""
        team, buyer_id = self.shard.teams[team_id], self.shard.claims[claim_id].buyer_id
        captain = team.captain_id
        if team.kind == "team" and captain == buyer_id:
            captain = successor(self.shard, team_id, without=claim_id)
        self.emit(
            CrowdSeatLeft if team.kind == "crowd" else SeatLeft,
            team_id=team_id,
            offer_id=team.offer_id,
            claim_id=claim_id,
            why=why,
            paid=team.paid,
            captain_id=captain,
        )
        if team.kind == "team" and team.taken == team.subsidy:
            self.end(team_id, "failed", "empty")

    def filled(self, claim_id: str) -> None:
        """A seat counts as paid from now on."""
        team = self.shard.teams[self.shard.claims[claim_id].team_id]
        self.emit(
            CrowdProgress if team.kind == "crowd" else SeatFilled,
            team_id=team.team_id,
            offer_id=team.offer_id,
            claim_id=claim_id,
            paid=team.paid,
        )
        if team.kind == "crowd":
            self._climb(team.team_id)
        else:
            self.form_if_full(team.team_id)

    def form_if_full(self, team_id: str) -> None:
        """A team whose seats are all paid or subsidised is formed."""
        team = self.shard.teams[team_id]
        if team.paid + team.subsidy >= team.size:
            self.end(team_id, "formed", "full")

    def end(self, team_id: str, state: str, why: str) -> None:
        """Decide it."""
        team = self.shard.teams[team_id]
        self.emit(
            _ENDS[team.kind, state],
            team_id=team_id,
            offer_id=team.offer_id,
            why=why,
            paid=team.paid,
            subsidy=team.subsidy,
            step=team.step,
        )

    def _climb(self, team_id: str) -> None:
        team = self.shard.teams[team_id]
        rules = self.shard.configs[team.offer_id].team
        assert rules is not None
        for step, (least, price_id, fen) in enumerate(rules.steps, 1):
            if step > team.step and team.paid >= least:
                self.emit(
                    CrowdReached,
                    team_id=team_id,
                    offer_id=team.offer_id,
                    step=step,
                    price_id=price_id,
                    price_fen=fen,
                    paid=team.paid,
                )
