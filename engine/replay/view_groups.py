"""The hot store's keys about teams as plain values; what each holds, `engine.keys.groups` says."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from engine.replay.state import Team


class Groups(NamedTuple):
    """As the fields of `View` that have the same names."""

    teams: dict[str, Team]
    seats: dict[tuple[str, str], str]
    joinable: dict[tuple[str, str], int]
    openers: dict[tuple[str, str], str]
    newcomers: dict[tuple[str, str], str]
    undecided: frozenset[str]


def read_groups(found: Mapping[str, Mapping[str, Any]]) -> Groups:
    """`found` are the keys' values by what comes behind the prefix."""
    pairs: dict[str, dict[tuple[str, str], str]] = {
        **{"joinable": {}, "openers": {}, "newcomers": {}, "seats": {}}
    }
    teams: dict[str, Team] = {}
    for name, values in found.items():
        head, _, rest = name.partition(":")
        if head in ("joinable", "openers", "newcomers"):
            pairs[head].update({(rest, one): value for one, value in values.items()})
        elif rest == "seats":
            pairs["seats"].update({(head, one): value for one, value in values.items()})
        elif name != "deadlines":
            teams[name] = msgspec.convert({**values, "team_id": name}, Team, strict=False)
    return Groups(
        teams=teams,
        seats=pairs["seats"],
        joinable={one: int(score) for one, score in pairs["joinable"].items()},
        openers=pairs["openers"],
        newcomers=pairs["newcomers"],
        undecided=frozenset(found.get("deadlines", {})),
    )
