"""What others may know of a team's people: nicknames, and which store a captain belongs to."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.people.attribution import credits_at
from campaigns.people.models import Member
from engine.ids import now_ms
from engine.room_events import without_personal

NOBODY = "顾客"  # whose row is gone, or not imported


async def nicknames(session: AsyncSession, member_ids: Collection[str]) -> dict[str, str]:
    """member id → nickname, with numbers in it hidden."""
    found = await session.execute(
        select(Member.id, Member.nickname).where(Member.id.in_(member_ids))
    )
    known = {member_id: without_personal(nickname) for member_id, nickname in found}
    return {member_id: known.get(member_id, NOBODY) for member_id in member_ids}


async def stores_of(session: AsyncSession, member_ids: Collection[str]) -> dict[str, str | None]:
    """member id → the store of the guide whom they belong to now."""
    now = now_ms()
    credits = await credits_at(session, [(member_id, now) for member_id in member_ids])
    return {member_id: credit.store_id for (member_id, _), credit in credits.items()}
