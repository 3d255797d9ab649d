"""What is stored already: read once per import, under locks that keep it true until the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.people.imports.reading import Row
from campaigns.people.models import Guide, Store
from campaigns.sku.models import Sku


class Term(NamedTuple):
    """The latest term of a guide."""

    from_ms: int
    store_id: str
    recruiter_id: str | None


class Bound(NamedTuple):
    """The latest binding of a member."""

    from_ms: int
    guide_id: str | None


class KnownMember(NamedTuple):
    """A stored member, as far as an import compares it."""

    nickname: str
    phone_hash: str
    phone_shown: str


@dataclass(frozen=True)
class Known:
    """The stored rows that the files may refer to or change; values by column name."""

    stores: dict[str, dict[str, Any]]
    guides: dict[str, str]
    terms: dict[str, Term]
    members: dict[str, KnownMember]
    bindings: dict[str, Bound]
    phone_owners: dict[str, str]  # phone hash -> member id
    skus: dict[str, dict[str, Any]]
    stock: dict[tuple[str, str], int]


async def lock_and_read(
    session: AsyncSession, rows: dict[str, list[Row]], phone_hashes: Sequence[str]
) -> Known:
    """The stored rows; until the transaction ends no one else imports or adds a member.

    The lock lets readers, claims and orders pass, and publishers: these lock the rows of their
    SKUs, as is done here for those that the files name, in the same order. Stores, guides and SKUs
    are read whole (a chain has thousands), members and stock only as the files name them.
    """
    await session.execute(
        text("LOCK TABLE stores, guides, members, skus, sku_stock IN SHARE ROW EXCLUSIVE MODE")
    )
    sku_ids = {row.values["id"] for row in rows.get("skus", []) if "id" in row.values}
    if sku_ids:
        await session.execute(
            text("SELECT id FROM skus WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR UPDATE"),
            {"ids": sorted(sku_ids)},
        )
    member_ids = [row.values["id"] for row in rows.get("members", []) if "id" in row.values]
    members, owners = await _members(session, member_ids, phone_hashes)
    stores = await session.execute(select(*Store.__table__.columns))
    skus = await session.execute(select(*Sku.__table__.columns))
    guides = await session.execute(select(Guide.id, Guide.name))
    terms = await session.execute(
        text(
            "SELECT DISTINCT ON (guide_id) guide_id, from_ms, store_id, recruiter_id "
            "FROM guide_terms ORDER BY guide_id, from_ms DESC"
        )
    )
    bindings = await session.execute(
        text(
            "SELECT DISTINCT ON (member_id) member_id, from_ms, guide_id FROM bindings "
            "WHERE member_id = ANY(CAST(:ids AS text[])) ORDER BY member_id, from_ms DESC"
        ),
        {"ids": member_ids},
    )
    return Known(
        stores={row.id: dict(row._mapping) for row in stores},
        guides={row.id: row.name for row in guides},
        terms={row.guide_id: Term(row.from_ms, row.store_id, row.recruiter_id) for row in terms},
        members=members,
        bindings={row.member_id: Bound(row.from_ms, row.guide_id) for row in bindings},
        phone_owners=owners,
        skus={row.id: dict(row._mapping) for row in skus},
        stock=await _stock(session, rows.get("stock", [])),
    )


async def _members(
    session: AsyncSession, member_ids: Sequence[str], phone_hashes: Sequence[str]
) -> tuple[dict[str, KnownMember], dict[str, str]]:
    found = await session.execute(
        text(
            "SELECT id, nickname, phone_hash, phone_shown FROM members "
            "WHERE id = ANY(CAST(:ids AS text[])) OR phone_hash = ANY(CAST(:hashes AS text[]))"
        ),
        {"ids": list(member_ids), "hashes": list(phone_hashes)},
    )
    members: dict[str, KnownMember] = {}
    owners: dict[str, str] = {}
    for member_id, nickname, phone_hash, phone_shown in found:
        members[member_id] = KnownMember(nickname, phone_hash, phone_shown)
        owners[phone_hash] = member_id
    return members, owners


async def _stock(session: AsyncSession, rows: list[Row]) -> dict[tuple[str, str], int]:
    sku_ids = {row.values["sku_id"] for row in rows if "sku_id" in row.values}
    found = await session.execute(
        text(
            "SELECT sku_id, store_id, units FROM sku_stock "
            "WHERE sku_id = ANY(CAST(:sku_ids AS text[]))"
        ),
        {"sku_ids": list(sku_ids)},
    )
    return {(sku_id, store_id): units for sku_id, store_id, units in found}
