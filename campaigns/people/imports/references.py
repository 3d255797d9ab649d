"""Checks across rows, files and what is stored: keys once, references known, no circles."""

from collections.abc import Mapping

from campaigns.people.imports.cells import is_masked
from campaigns.people.imports.kinds import KINDS
from campaigns.people.imports.known import Known
from campaigns.people.imports.problems import Problems
from campaigns.people.imports.reading import Row

Rows = Mapping[str, list[Row]]


def check_duplicates(rows: Rows, problems: Problems) -> None:
    """Each key, and each phone number, stands in one row of all files."""
    for kind in KINDS:
        _once(rows.get(kind.name, []), kind.key, problems)
    numbered = [
        row
        for row in rows.get("members", [])
        if "phone" in row.values and not is_masked(row.values["phone"])
    ]
    _once(numbered, ("phone",), problems)


def check_references(rows: Rows, known: Known, problems: Problems) -> None:
    """Each store, guide and SKU that a row names is in the files or stored."""
    ids = {
        "store": _ids(rows, "stores") | known.stores.keys(),
        "guide": _ids(rows, "guides") | known.guides.keys(),
        "SKU": _ids(rows, "skus") | known.skus.keys(),
    }
    for kind, column, what in (
        ("guides", "store_id", "store"),
        ("guides", "recruiter_id", "guide"),
        ("members", "guide_id", "guide"),
        ("stock", "sku_id", "SKU"),
        ("stock", "store_id", "store"),
    ):
        for row in rows.get(kind, []):
            value = row.values.get(column)
            if value is not None and value not in ids[what]:
                row.complain(
                    problems, column, f'"{value}" is no {what} of these files or of earlier imports'
                )


def check_recruiters(rows: Rows, known: Known, problems: Problems) -> None:
    """Following recruiters upwards always ends: nobody recruited themselves, not even in a ring."""
    recruiter = {guide_id: term.recruiter_id for guide_id, term in known.terms.items()}
    named: dict[str, Row] = {}
    for row in rows.get("guides", []):
        if "id" in row.values and "recruiter_id" in row.values:
            recruiter[row.values["id"]] = row.values["recruiter_id"]
            named[row.values["id"]] = row
    settled: set[str] = set()
    for start, row in named.items():
        path: list[str] = []
        on_path: set[str] = set()
        guide: str | None = start
        while guide is not None and guide not in settled and guide not in on_path:
            path.append(guide)
            on_path.add(guide)
            guide = recruiter.get(guide)
        if guide is not None and guide in on_path:
            ring = path[path.index(guide) :]
            shown = " → ".join([*ring[:6], *(["…"] if len(ring) > 6 else []), ring[0]])
            place = next((named[member] for member in ring if member in named), row)
            place.complain(problems, "recruiter_id", f"recruiters form a circle: {shown}")
        settled.update(path)


def check_phones(rows: Rows, hashes: Mapping[str, str], known: Known, problems: Problems) -> None:
    """A number belongs to one member; a masked one only repeats what is stored.

    `hashes` gives each plain number's hash.
    """
    members = {row.values["id"]: row for row in rows.get("members", []) if "id" in row.values}
    for member_id, row in members.items():
        phone = row.values.get("phone")
        if phone is None:
            continue
        stored = known.members.get(member_id)
        if is_masked(phone):
            if stored is None or stored.phone_shown != phone:
                row.complain(
                    problems, "phone", "is masked: give the whole number of a new or changed member"
                )
            continue
        owner = known.phone_owners.get(hashes[phone])
        if owner is None or owner == member_id or _moves_away(members.get(owner), hashes, known):
            continue
        row.complain(
            problems,
            "phone",
            f"is the number of member {owner}; use that member's id here if they are one person",
        )


def _moves_away(row: Row | None, hashes: Mapping[str, str], known: Known) -> bool:
    """Whether this row gives the number's owner another number in the same import."""
    phone = row.values.get("phone") if row is not None else None
    if row is None or phone is None or is_masked(phone):
        return False
    return hashes[phone] != known.members[row.values["id"]].phone_hash


def _once(rows: list[Row], columns: tuple[str, ...], problems: Problems) -> None:
    first: dict[tuple[object, ...], Row] = {}
    for row in rows:
        if not all(column in row.values for column in columns):
            continue
        earlier = first.setdefault(tuple(row.values[column] for column in columns), row)
        if earlier is not row:
            place = "" if earlier.file == row.file else f"{earlier.file} "
            row.complain(problems, columns[0], f"stands already in {place}line {earlier.line}")


def _ids(rows: Rows, kind: str) -> set[str]:
    return {row.values["id"] for row in rows.get(kind, []) if "id" in row.values}
