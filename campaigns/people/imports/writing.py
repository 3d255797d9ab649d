"""Writes what differs, in bulk; what changes over time gets a new dated row instead.

Rows that the files do not name stay as they are: an import adds and changes, it never deletes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import func, insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.people.imports.cells import is_masked
from campaigns.people.imports.known import Known
from campaigns.people.models import Binding, Guide, GuideTerm, Member, Store
from campaigns.people.phones import PhoneKeys
from campaigns.sku.models import Sku, SkuStock
from engine.db import Base

Values = dict[str, Any]
Stored = dict[tuple[str, ...], Values]


class Counts(msgspec.Struct):
    """Rows of one kind, by what the import did with them."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0


class Writer:
    """One import's writes in its transaction; `now_ms` dates the new terms and bindings."""

    def __init__(
        self, session: AsyncSession, known: Known, phones: PhoneKeys, now_ms: int, batch_max: int
    ) -> None:
        self._session = session
        self._known = known
        self._phones = phones
        self._now_ms = now_ms
        self._batch_max = batch_max

    async def stores(self, rows: Sequence[Values]) -> Counts:
        return await self._plain(Store, rows, _by_key(self._known.stores))

    async def skus(self, rows: Sequence[Values]) -> Counts:
        """A file without floor prices leaves them as they are."""
        stored = self._known.skus
        whole = [
            {"floor_price_fen": stored.get(row["id"], {}).get("floor_price_fen"), **row}
            for row in rows
        ]
        return await self._plain(Sku, whole, _by_key(stored))

    async def stock(self, rows: Sequence[Values]) -> Counts:
        stored: Stored = {
            key: {"sku_id": key[0], "store_id": key[1], "units": units}
            for key, units in self._known.stock.items()
        }
        return await self._plain(SkuStock, rows, stored, key=("sku_id", "store_id"))

    async def guides(self, rows: Sequence[Values]) -> Counts:
        """Names are changed in place; a new store or recruiter appends a term from now on."""
        counts = Counts()
        new: list[Values] = []
        renamed: list[Values] = []
        terms: list[Values] = []
        for row in rows:
            was = self._known.terms.get(row["id"])
            name = self._known.guides.get(row["id"])
            moved = was is None or was[1:] != (row["store_id"], row["recruiter_id"])
            if moved:
                terms.append(
                    {
                        "guide_id": row["id"],
                        "from_ms": self._from_ms(was.from_ms if was else None),
                        "store_id": row["store_id"],
                        "recruiter_id": row["recruiter_id"],
                    }
                )
            if name is None:
                new.append({"id": row["id"], "name": row["name"]})
            elif name != row["name"]:
                renamed.append({"id": row["id"], "name": row["name"]})
            _count(counts, created=name is None, changed=moved or name != row["name"])
        await self._insert(Guide, new)
        await self._update(Guide, renamed)
        await self._insert(GuideTerm, terms)
        return counts

    async def members(self, rows: Sequence[Values], hashes: Mapping[str, str]) -> Counts:
        """Nickname and number are changed in place; another guide appends a binding from now on.

        `imported` is only who is new here: an export that is read again makes nobody a member who
        has joined by phone.
        """
        counts = Counts()
        new: list[Values] = []
        renamed: list[Values] = []
        renumbered: list[Values] = []
        bindings: list[Values] = []
        for row in rows:
            member_id, phone, guide_id = row["id"], row["phone"], row["guide_id"]
            was = self._known.members.get(member_id)
            bound = self._known.bindings.get(member_id)
            numbered = not is_masked(phone) and (not was or hashes[phone] != was.phone_hash)
            sealed = self._sealed(member_id, phone) if numbered else {}
            if was is None:
                new.append({"nickname": row["nickname"], "imported": True, **sealed})
            elif was.nickname != row["nickname"]:
                renamed.append({"id": member_id, "nickname": row["nickname"]})
            if was is not None and numbered:
                renumbered.append(sealed)
            moved = guide_id != (bound.guide_id if bound else None)
            if moved:
                from_ms = self._from_ms(bound.from_ms if bound else None)
                bindings.append({"member_id": member_id, "from_ms": from_ms, "guide_id": guide_id})
            renames = was is not None and was.nickname != row["nickname"]
            _count(counts, created=was is None, changed=renames or numbered or moved)
        await self._free_numbers([row["id"] for row in renumbered])
        await self._insert(Member, new)
        await self._update(Member, renamed)
        await self._update(Member, renumbered)
        await self._insert(Binding, bindings)
        return counts

    async def _free_numbers(self, member_ids: Sequence[str]) -> None:
        # Two members may swap numbers, and the unique key is checked row by row: first let go.
        for ids in _batches(member_ids, self._batch_max):
            await self._session.execute(
                update(Member)
                .where(Member.id.in_(ids))
                .values(phone_hash=func.concat("moving:", Member.id))
                .execution_options(synchronize_session=False)
            )

    async def _plain(
        self,
        table: type[Base],
        rows: Sequence[Values],
        stored: Stored,
        key: tuple[str, ...] = ("id",),
    ) -> Counts:
        counts = Counts()
        new: list[Values] = []
        changed: list[Values] = []
        for row in rows:
            was = stored.get(tuple(row[column] for column in key))
            if was is None:
                new.append(row)
            elif was != row:
                changed.append(row)
            _count(counts, created=was is None, changed=was != row)
        await self._insert(table, new)
        await self._update(table, changed)
        return counts

    async def _insert(self, table: type[Base], rows: Sequence[Values]) -> None:
        for batch in _batches(rows, self._batch_max):
            await self._session.execute(insert(table), batch)

    async def _update(self, table: type[Base], rows: Sequence[Values]) -> None:
        for batch in _batches(rows, self._batch_max):
            await self._session.execute(update(table), batch)

    def _sealed(self, member_id: str, phone: str) -> Values:
        sealed = self._phones.seal(phone)
        return {
            "id": member_id,
            "phone_hash": sealed.hash,
            "phone_cipher": sealed.cipher,
            "phone_shown": sealed.shown,
        }

    def _from_ms(self, latest_ms: int | None) -> int:
        # Always after the latest row, also within one ms or when the clock was set back.
        return self._now_ms if latest_ms is None else max(self._now_ms, latest_ms + 1)


def _count(counts: Counts, *, created: bool, changed: bool) -> None:
    if created:
        counts.created += 1
    elif changed:
        counts.changed += 1
    else:
        counts.unchanged += 1


def _by_key(stored: Mapping[str, Values]) -> Stored:
    return {(key,): row for key, row in stored.items()}


def _batches(rows: Sequence[Any], batch_max: int) -> Iterator[list[Any]]:
    for start in range(0, len(rows), batch_max):
        yield list(rows[start : start + batch_max])
