"""The keys of a shard's teams, from their rows and the orders that sit in them.

A seat counts by its claim's state while its team is undecided; a decided team is as it was
decided. Written like the rest of a rebuild; what stands in the rows has been mended before.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, text

from engine import keys
from engine.offers import OfferConfig

Command = list[str]

TEAMS = text(
    "SELECT id, offer_id, campaign_id, version, kind, opener_id, captain_id, size, state, paid,"
    " subsidy, step, deadline_ms, decided_at_ms,"
    " coalesce((SELECT sum(c.seats) FROM team_commands c WHERE c.team_id = teams.id"
    " AND c.kind = 'honour' AND c.applied_seq IS NOT NULL), 0) AS honoured"
    " FROM teams WHERE shard = :shard ORDER BY opened_at_ms DESC, id"
)
_PLAIN = (
    *("kind", "state", "offer_id", "campaign_id", "version", "opener_id", "captain_id", "size"),
    *("deadline_ms", "subsidy", "step", "honoured"),
)
_LIVE = ("held", "paying", "paid")


class RebuiltTeams:
    """Teams of the offers that are kept; `seat` is told of every order, `commands` come last."""

    def __init__(self, shard: int, rows: Sequence[RowMapping], kept: Collection[str]) -> None:
        self._groups = keys.groups(shard)
        self._deadlines = self._groups + "deadlines"
        self._rows = {row["id"]: row for row in rows if row["offer_id"] in kept}
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)

    def seat(self, order: Mapping[str, Any], state: str) -> tuple[dict[str, str], list[Command]]:
        """The claim's fields, and what else its seat is, and its right of a new customer; `state`
        as the claim comes back."""
        team_id, sits = order["team_id"], [order["buyer_id"], order["claim_id"]]
        newcomers = f"{self._groups}newcomers:{order['campaign_id']}"
        right = [["HSET", newcomers, *sits]] if order["newcomer"] and state in _LIVE else []
        if team_id is None:
            return ({"newcomer": "1"}, right) if order["newcomer"] else ({}, [])
        taken = order["seat"] == "taken"
        fields = {
            "team_id": team_id,
            "consent": "1" if order["consent"] else "",
            "newcomer": "1" if order["newcomer"] else "",
            "seat": "1" if taken else "",
            "taken_at_ms": str(order["claimed_at_ms"]),
        }
        if order["paid_at_ms"] is not None:
            fields["paid_at_ms"] = str(order["paid_at_ms"])
        if not taken:
            return fields, []
        self._counts[team_id][state] += 1
        return fields, [["HSET", f"{self._groups}{team_id}:seats", *sits], *right]

    def offer_fields(self, offer_id: str, config: OfferConfig) -> dict[str, str]:
        """What the offer's teams make of its hash: the seats filled, a crowd's price."""
        fields = {}
        mine = [row for row in self._rows.values() if row["offer_id"] == offer_id]
        held = [row for row in mine if row["state"] != "failed"]  # what failed gave them back
        if subsidised := sum(row["subsidy"] - row["honoured"] for row in held):
            fields["subsidised"] = str(subsidised)
        rules = config.team
        if rules is not None and rules.charging == "low":
            step = max((row["step"] for row in mine), default=0)
            if step:
                _, price_id, fen = rules.steps[step - 1]
                fields["prices"] = f"{price_id}|{fen}|0"
        return fields

    def commands(self, configs: Mapping[str, OfferConfig]) -> list[Command]:
        """All about the teams themselves, once every order has been told."""
        return [
            command
            for row in self._rows.values()
            for command in self._team(row, str(configs[row["offer_id"]].keep_until_ms))
        ]

    def _team(self, row: RowMapping, keep: str) -> list[Command]:
        team_id, counts = row["id"], self._counts[row["id"]]
        key = self._groups + team_id
        undecided = row["decided_at_ms"] is None
        fields = {name: str(row[name]) for name in _PLAIN} | {"keep_until_ms": keep}
        for name in _LIVE:
            fields[name] = str(counts[name] if undecided else 0)
        if not undecided:
            fields["paid"] = str(row["paid"])
        commands = [["HSET", key, *(part for pair in fields.items() for part in pair)]]
        if not undecided:
            ends = [["PEXPIREAT", key, keep], ["PEXPIREAT", f"{key}:seats", keep]]
            return [*commands, *ends]
        # A cancelled campaign lets it close before its time: nobody waits for that to come.
        deadline = str(row["deadline_ms"])
        closing = row["state"] == "closing"
        if row["kind"] == "crowd":
            return [*commands, ["ZADD", self._deadlines, "0" if closing else deadline, team_id]]
        taken = row["subsidy"] + sum(counts[name] for name in _LIVE)
        # Its end was lost with the store: nobody waits for the deadline to hear of it, either.
        full = counts["paid"] + row["subsidy"] >= row["size"]
        is_over = taken == row["subsidy"] or full or closing
        commands.append(["ZADD", self._deadlines, "0" if is_over else deadline, team_id])
        if row["state"] == "forming" and taken < row["size"]:
            commands.append(
                ["ZADD", f"{self._groups}joinable:{row['offer_id']}", deadline, team_id]
            )
        if row["opener_id"] == row["captain_id"] and taken > row["subsidy"]:
            opened = f"{self._groups}openers:{row['offer_id']}"
            commands.append(["HSETNX", opened, row["opener_id"], team_id])
        return commands
