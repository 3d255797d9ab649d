"""Who is moved where when teams would fail: a pure plan, run by workers/teams.py move by move.

First leftovers make whole teams of each other, since such a team forms at once; then who is left
over fills free seats of teams that are still forming, those with the fewest missing first. Only
paid members who consented are moved, and only out of teams that fail without it, so nobody is
worse off. The script of each move checks all of this again.
"""

from collections.abc import Iterable, Sequence

import msgspec


class Member(msgspec.Struct, frozen=True):
    """A paid member of a team that would fail; `newcomer`: came by the right of a new customer."""

    claim_id: str
    buyer_id: str
    consent: bool
    newcomer: bool = False


class Leftover(msgspec.Struct, frozen=True):
    """A closing team without payments under way, `missing` seats short; members by payment."""

    team_id: str
    missing: int
    members: tuple[Member, ...]


class OpenTeam(msgspec.Struct, frozen=True):
    """A forming team with `free` seats, and who sits in it."""

    team_id: str
    free: int
    deadline_ms: int
    buyers: frozenset[str]


class Move(msgspec.Struct, frozen=True):
    """One `team_move`."""

    claim_id: str
    team_id: str


class Plan(msgspec.Struct, frozen=True):
    """Moves in their order; `put_off` are leftovers with moves beyond this run's most."""

    moves: tuple[Move, ...]
    put_off: frozenset[str]


def plan(
    leftovers: Sequence[Leftover],
    open_teams: Iterable[OpenTeam],
    *,
    newcomers_only: bool,
    moves_max: int,
) -> Plan:
    """The moves of one offer, at most `moves_max`; a team that forms is never planned in part."""
    board = _Board(leftovers, newcomers_only)
    board.complete_each_other()
    board.fill(open_teams)
    moves: list[Move] = []
    put_off: set[str] = set()
    for group, touched in board.groups:
        if put_off or len(moves) + len(group) > moves_max:
            put_off |= touched
        else:
            moves += group
    return Plan(tuple(moves), frozenset(put_off))


class _Board:
    """Who may still move; `groups` are moves that belong together, with the leftovers in them."""

    def __init__(self, leftovers: Sequence[Leftover], newcomers_only: bool) -> None:
        self._leftovers = {one.team_id: one for one in leftovers}
        self._movable = {
            one.team_id: [
                member
                for member in one.members
                if member.consent and (member.newcomer or not newcomers_only)
            ]
            for one in leftovers
        }
        self.groups: list[tuple[list[Move], set[str]]] = []

    def complete_each_other(self) -> None:
        """A leftover whose missing seats others can fill forms; the others may break up for it."""

        def worth(one: Leftover) -> tuple[bool, int, str]:
            # Who may not be moved can only be saved where they sit.
            bound = len(self._movable[one.team_id]) < len(one.members)
            return not bound, one.missing, one.team_id

        broken: set[str] = set()
        for target in sorted(self._leftovers.values(), key=worth):
            if target.team_id in broken or target.team_id not in self._movable:
                continue
            comers = self._comers(target)
            if len(comers) < target.missing:
                continue
            del self._movable[target.team_id]  # it forms: nobody leaves it
            for team_id, member in comers:
                self._movable[team_id].remove(member)
                broken.add(team_id)
            moves = [Move(member.claim_id, target.team_id) for _, member in comers]
            self.groups.append((moves, {target.team_id, *(team_id for team_id, _ in comers)}))

    def _comers(self, target: Leftover) -> list[tuple[str, Member]]:
        """Whom other leftovers can give: first of those that are the farthest from forming."""
        seated = {member.buyer_id for member in target.members}
        comers: list[tuple[str, Member]] = []
        for team_id in sorted(self._movable, key=lambda one: (-self._leftovers[one].missing, one)):
            if team_id == target.team_id:
                continue
            for member in self._movable[team_id]:
                if len(comers) < target.missing and member.buyer_id not in seated:
                    seated.add(member.buyer_id)
                    comers.append((team_id, member))
        return comers

    def fill(self, open_teams: Iterable[OpenTeam]) -> None:
        """Members that are left take free seats, those that complete a team first."""
        for target in sorted(open_teams, key=lambda one: (one.free, one.deadline_ms, one.team_id)):
            seated, free = set(target.buyers), target.free
            for team_id, movable in self._movable.items():
                for member in list(movable):
                    if free > 0 and member.buyer_id not in seated:
                        free -= 1
                        seated.add(member.buyer_id)
                        movable.remove(member)
                        self.groups.append(([Move(member.claim_id, target.team_id)], {team_id}))
