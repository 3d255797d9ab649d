"""Import CSV files of a retailer: all of them in one transaction, or none.

Running the same files again changes nothing. The order of the files does not matter: stores
come before guides, guides before members, SKUs before their stock.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.people.imports.cells import is_masked
from campaigns.people.imports.known import lock_and_read
from campaigns.people.imports.price_guard import check_prices
from campaigns.people.imports.problems import Problems
from campaigns.people.imports.reading import Row, Sheets, read_file
from campaigns.people.imports.references import (
    check_duplicates,
    check_phones,
    check_recruiters,
    check_references,
)
from campaigns.people.imports.writing import Counts, Writer
from campaigns.people.phones import PhoneKeys
from engine.db import Database
from engine.ids import now_ms
from engine.models import AuditRow
from engine.settings import Settings


class ImportFile(NamedTuple):
    """A file as given: its name for messages, and its bytes."""

    name: str
    data: bytes


class ImportSummary(msgspec.Struct, frozen=True):
    """What was done, by kind (`stores guides members skus stock`), for the kinds given."""

    kinds: dict[str, Counts]

    @property
    def written(self) -> int:
        """Rows created or changed; 0 when everything was known already."""
        return sum(counts.created + counts.changed for counts in self.kinds.values())


async def import_files(
    db: Database,
    settings: Settings,
    phones: PhoneKeys,
    files: Sequence[ImportFile],
    *,
    actor: str,
    at_ms: int | None = None,
) -> ImportSummary:
    """Import all `files`, dated `at_ms` (default: now), on behalf of `actor` (audit log).

    Raises BadInput `import_refused` with `problems` (the first sentences) and `total`; then
    nothing at all was written.
    """
    problems = Problems(settings.import_problems_max)
    sheets = _read(files, settings, problems)
    if sheets.unread:
        problems.raise_any()  # else each reference into the unread file would be a false alarm
    rows = sheets.rows
    check_duplicates(rows, problems)
    hashes = {
        phone: phones.hash(phone)
        for row in rows.get("members", [])
        if (phone := row.values.get("phone")) and not is_masked(phone)
    }
    async with db.begin() as session:
        known = await lock_and_read(session, rows, list(hashes.values()))
        check_references(rows, known, problems)
        check_recruiters(rows, known, problems)
        check_phones(rows, hashes, known, problems)
        # By the clock, whatever day the rows are dated: what is on sale is on sale now.
        await check_prices(session, rows, known, problems, now_ms())
        problems.raise_any()
        when = now_ms() if at_ms is None else at_ms
        writer = Writer(session, known, phones, when, settings.import_batch_max)
        summary = await _write(writer, rows, hashes)
        if summary.written:
            await _audit(session, files, summary, actor, when)
    return summary


def _read(files: Sequence[ImportFile], settings: Settings, problems: Problems) -> Sheets:
    sheets = Sheets()
    bytes_left = settings.import_bytes_max
    for file in files:
        bytes_left -= len(file.data)
        if bytes_left < 0:
            problems.add(
                f"makes this import larger than {settings.import_bytes_max} bytes; "
                "use smaller files",
                file.name,
            )
            sheets.unread += 1
            break
        read_file(file.name, file.data, sheets, problems, settings.import_rows_max)
    return sheets


async def _write(
    writer: Writer, rows: dict[str, list[Row]], hashes: dict[str, str]
) -> ImportSummary:
    """In the order of the references: what is referred to is written first."""
    kinds: dict[str, Counts] = {}
    values = {kind: [row.values for row in found] for kind, found in rows.items()}
    if "stores" in values:
        kinds["stores"] = await writer.stores(values["stores"])
    if "guides" in values:
        kinds["guides"] = await writer.guides(values["guides"])
    if "members" in values:
        kinds["members"] = await writer.members(values["members"], hashes)
    if "skus" in values:
        kinds["skus"] = await writer.skus(values["skus"])
    if "stock" in values:
        kinds["stock"] = await writer.stock(values["stock"])
    return ImportSummary(kinds)


async def _audit(
    session: AsyncSession,
    files: Sequence[ImportFile],
    summary: ImportSummary,
    actor: str,
    at_ms: int,
) -> None:
    session.add(
        AuditRow(
            at_ms=at_ms,
            actor=actor,
            action="import",
            subject=", ".join(file.name for file in files)[:500],
            detail=msgspec.to_builtins(summary),
        )
    )
