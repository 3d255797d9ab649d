"""Who is credited for a sale: read from dated rows as of the moment of the claim.

The row in force at t is the one with the latest `from_ms` <= t. Rows are only ever appended, so
the same question about the past always has the same answer, whatever was transferred since.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from campaigns.people.models import Binding, GuideTerm


class Credit(NamedTuple):
    """Promoter = the guide bound then; upline and store = the promoter's, then. None: nobody."""

    promoter_id: str | None
    upline_id: str | None
    store_id: str | None


async def binding_at(session: AsyncSession, member_id: str, at_ms: int) -> Binding | None:
    """The binding in force; None when there never was one (its guide may be None as well)."""
    query = (
        select(Binding)
        .where(Binding.member_id == member_id, Binding.from_ms <= at_ms)
        .order_by(Binding.from_ms.desc())
        .limit(1)
    )
    return await session.scalar(query)


async def guide_term_at(session: AsyncSession, guide_id: str, at_ms: int) -> GuideTerm | None:
    """The guide's store and recruiter then; None before their first term."""
    query = (
        select(GuideTerm)
        .where(GuideTerm.guide_id == guide_id, GuideTerm.from_ms <= at_ms)
        .order_by(GuideTerm.from_ms.desc())
        .limit(1)
    )
    return await session.scalar(query)


# Both inner look-ups walk the primary keys backwards and stop at the first row.
_CREDITS = text(
    """
    SELECT asked.member_id, asked.at_ms, b.guide_id, t.recruiter_id, t.store_id
    FROM unnest(CAST(:member_ids AS text[]), CAST(:at_ms AS bigint[])) AS asked(member_id, at_ms)
    LEFT JOIN LATERAL (
      SELECT guide_id FROM bindings
      WHERE member_id = asked.member_id AND from_ms <= asked.at_ms
      ORDER BY from_ms DESC LIMIT 1
    ) b ON true
    LEFT JOIN LATERAL (
      SELECT store_id, recruiter_id FROM guide_terms
      WHERE guide_id = b.guide_id AND from_ms <= asked.at_ms
      ORDER BY from_ms DESC LIMIT 1
    ) t ON true
    """
)


async def credits_at(
    session: AsyncSession | AsyncConnection, asked: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], Credit]:
    """The credit of each (member id, at ms), in one query for all of them.

    Each pair asked is a key of the answer; an unknown or unbound member has None throughout.
    """
    if not asked:
        return {}
    distinct = list(dict.fromkeys(asked))
    rows = await session.execute(
        _CREDITS,
        {"member_ids": [pair[0] for pair in distinct], "at_ms": [pair[1] for pair in distinct]},
    )
    return {
        (member_id, at_ms): Credit(promoter_id, upline_id, store_id)
        for member_id, at_ms, promoter_id, upline_id, store_id in rows
    }
