"""Write a book's teams back: new ones and changed ones, one statement each."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from workers.settle.book import Book, TeamNow

# column → array type; the order of the statements' parameters
_FIXED: dict[str, str] = {
    "id": "text",
    "offer_id": "text",
    "campaign_id": "text",
    "version": "int",
    "kind": "text",
    "opener_id": "text",
    "size": "int",
    "opened_at_ms": "bigint",
}
_CHANGED: dict[str, str] = {
    "captain_id": "text",
    "deadline_ms": "bigint",
    "state": "text",
    "why": "text",
    "paid": "int",
    "subsidy": "int",
    "step": "int",
    "decided_at_ms": "bigint",
    "booked_at_ms": "bigint",
    "reached_at_ms": "bigint",
    "guarantee_due": "boolean",
}
_ALL = {**_FIXED, **_CHANGED}


def _unnest(columns: dict[str, str]) -> str:
    return "unnest({})".format(
        ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in columns.items())
    )


_INSERT = text(
    f"INSERT INTO teams (shard, {', '.join(_ALL)})"  # noqa: S608
    f" SELECT CAST(:shard AS smallint), given.* FROM {_unnest(_ALL)} AS given"
)
_UPDATE = text(
    f"UPDATE teams SET {', '.join(f'{name} = given.{name}' for name in _CHANGED)}"  # noqa: S608
    f" FROM {_unnest({'id': 'text', **_CHANGED})} AS given(id, {', '.join(_CHANGED)})"
    " WHERE teams.id = given.id"
)


async def write_teams(session: AsyncSession, book: Book) -> None:
    """The book's new and changed teams; the caller's transaction makes them one with the rest."""
    teams = [book.teams[team_id] for team_id in sorted(book.touched_teams)]
    fresh = [team for team in teams if team.fresh]
    changed = [team for team in teams if not team.fresh]
    if fresh:
        await session.execute(_INSERT, {"shard": book.shard, **_columns(fresh, _ALL)})
    if changed:
        columns = {"id": "text", **_CHANGED}
        await session.execute(_UPDATE, _columns(changed, columns))


def _columns(teams: Sequence[TeamNow], columns: dict[str, str]) -> dict[str, list[Any]]:
    return {name: [getattr(team, name) for team in teams] for name in columns}
