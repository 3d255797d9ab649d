"""Teams of the hot store while it sells, each at one instant, and what the rows say of them."""

from typing import Any, NamedTuple

from sqlalchemy import text

from engine import keys
from engine.audit.hot import ask_many, read_only, scan
from engine.audit.sources import Given, snapshot


class Counts(NamedTuple):
    """What a team's hash counts, its deadline and size with it."""

    size: int
    deadline_ms: int
    held: int
    paying: int
    paid: int
    subsidy: int
    step: int


class HotTeam(NamedTuple):
    """A team as the hot store has it at one instant; no `counts` when one is no number.

    `seats` is how many there are, `seen` how many of their claims are held, paying and paid, and
    `astray` a claim that is of another seat; for a crowd only `seats`.
    """

    shard: int
    team_id: str
    kind: str
    state: str
    offer_id: str
    opener_id: str
    counts: Counts | None
    seats: int
    seen: tuple[int, int, int]
    astray: str


async def hot_teams(given: Given) -> list[HotTeam]:
    """All teams of the hot store; read once per audit."""
    if "hot teams" not in given.kept:
        given.kept["hot teams"] = [
            team for shard in given.shards for team in await _of_shard(given, shard.shard)
        ]
    found: list[HotTeam] = given.kept["hot teams"]
    return found


async def _of_shard(given: Given, shard: int) -> list[HotTeam]:
    prefix = keys.groups(shard)
    ids = {
        name.removeprefix(prefix)
        async for page in scan(given.wire, prefix + "tem*")
        for name in page
        if not name.endswith(":seats")
    }
    commands = [
        read_only(
            "audit_team",
            team=prefix + team_id,
            seats=f"{prefix}{team_id}:seats",
            claims=keys.claims(shard),
            team_id=team_id,
        )
        for team_id in sorted(ids)
    ]
    replies = await ask_many(given.wire, commands)
    return [
        _team(shard, team_id, [part.decode(errors="backslashreplace") for part in raw])
        for team_id, raw in zip(sorted(ids), replies, strict=True)
    ]


def _team(shard: int, team_id: str, raw: list[str]) -> HotTeam:
    kind, state, offer_id, opener_id = raw[:4]
    try:
        counts = Counts._make(map(int, raw[4:11]))
    except ValueError:
        counts = None
    seats, held, paying, paid = map(int, raw[11:15])
    seen = (held, paying, paid)
    return HotTeam(shard, team_id, kind, state, offer_id, opener_id, counts, seats, seen, raw[15])


async def rows_of_hot(given: Given) -> dict[str, tuple[Any, ...]]:
    """team_id → (state, held, paying, paid, subsidy, step) by the rows, for a look at rest."""
    query = text(
        "SELECT t.id, t.state,"
        " count(*) FILTER (WHERE o.claim_state = 'held') AS held,"
        " count(*) FILTER (WHERE o.claim_state = 'paying') AS paying, t.paid, t.subsidy, t.step"
        " FROM teams t LEFT JOIN orders o ON o.team_id = t.id AND o.seat = 'taken'"
        " AND o.state <> 'rejected' GROUP BY t.id"
    )
    async with snapshot(given.db) as session:
        return {row[0]: tuple(row[1:]) for row in await session.execute(query)}
