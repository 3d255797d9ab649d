"""The board's figures out of PostgreSQL, each query bounded in time, rows and milliseconds.

Orders are found by a block-range index on their times: next to nothing for the settler to keep,
and a day of orders is read without walking through all the years before it.
"""

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.board.schemas import LawLight, Mark, Second
from engine.audit.run import LAWS

SERIES_S = 600
MARKS_MAX = 50
QUERY_MS_MAX = 3_000  # a board that takes longer is not worth a database's time

_LIMIT = text(f"SET LOCAL statement_timeout = {QUERY_MS_MAX}")
_TILES = text(
    """
    SELECT count(*) FILTER (WHERE claimed_at_ms >= :since AND state <> 'rejected') AS orders,
           count(*) FILTER (WHERE paid_at_ms >= :since) AS paid,
           coalesce(sum(paid_fen) FILTER (WHERE paid_at_ms >= :since), 0)::bigint AS gmv_fen
    FROM orders WHERE claimed_at_ms >= :since OR paid_at_ms >= :since
    """
)
_REFUNDS = text(
    "SELECT coalesce(sum(amount_fen), 0)::bigint FROM refunds"
    " WHERE state = 'done' AND done_at_ms >= :since"
)
_CLAIMS = text(
    "SELECT claimed_at_ms / 1000 AS second, count(*) AS n FROM orders"
    " WHERE claimed_at_ms >= :since AND claimed_at_ms < :until GROUP BY 1"
)
_PAID = text(
    "SELECT paid_at_ms / 1000 AS second, count(*) AS n FROM orders"
    " WHERE paid_at_ms >= :since AND paid_at_ms < :until GROUP BY 1"
)
_DONE = text(
    """
    SELECT c.created_at_ms AS at_ms, c.kind, r.title, c.event ->> 'offer_id' AS offer_id
    FROM room_commands c JOIN rooms r ON r.id = c.room_id
    WHERE c.kind IN ('live', 'pause', 'end', 'pin') AND c.created_at_ms >= :since
    ORDER BY c.id DESC LIMIT :most
    """
)
_LAWS = text("SELECT law, ok, checked, detail, at_ms FROM law_checks")


async def bound(session: AsyncSession) -> None:
    """From here on no query of this transaction takes longer than QUERY_MS_MAX."""
    await session.execute(_LIMIT)


async def tiles(session: AsyncSession, since_ms: int) -> Row[int, int, int]:
    """orders, paid, gmv_fen since then."""
    return (await session.execute(_TILES, {"since": since_ms})).one()


async def refunds_fen(session: AsyncSession, since_ms: int) -> int:
    """Money that went back since then."""
    return int(await session.scalar(_REFUNDS, {"since": since_ms}) or 0)


async def series(session: AsyncSession, now_ms: int) -> tuple[Second, ...]:
    """One entry for each of the last SERIES_S whole seconds, oldest first."""
    last = now_ms // 1000
    first = last - SERIES_S
    asked = {"since": first * 1000, "until": last * 1000}
    claims, paid = Counter[int](), Counter[int]()
    for counter, query in ((claims, _CLAIMS), (paid, _PAID)):
        for second, n in await session.execute(query, asked):
            counter[second] = n
    return tuple([Second(at * 1000, claims[at], paid[at]) for at in range(first, last)])


async def marks_of_rooms(session: AsyncSession, since_ms: int) -> Sequence[tuple[Mark, str | None]]:
    """What hosts did since then, with the offer's id of a pin."""
    rows = await session.execute(_DONE, {"since": since_ms, "most": MARKS_MAX})
    return [
        (Mark(row.at_ms, row.kind, row.title), row.offer_id)
        for row in rows
        if row.kind != "pin" or row.offer_id
    ]


async def laws(session: AsyncSession, now_ms: int) -> tuple[tuple[LawLight, ...], tuple[str, ...]]:
    """The last checks in the order of the audit, and the laws that were never checked here."""
    found = {row.law: row for row in await session.execute(_LAWS)}
    lights = tuple(
        [
            LawLight(
                law=name,
                ok=found[name].ok,
                checked=found[name].checked,
                age_ms=max(0, now_ms - found[name].at_ms),
                detail=found[name].detail,
            )
            for name, _ in LAWS
            if name in found
        ]
    )
    return lights, tuple([name for name, _ in LAWS if name not in found])
