"""Who is credited as of a moment: the row in force, in one query for many pairs."""

from random import Random

import pytest
from sqlalchemy import event, insert, text
from sqlalchemy.exc import DBAPIError

from campaigns.people.attribution import Credit, binding_at, credits_at, guide_term_at
from campaigns.people.models import Binding, Guide, GuideTerm, Member, Store
from engine.db import Database

TERMS = [
    ("G1", 100, "S1", None),
    ("G2", 100, "S1", "G1"),
    ("G2", 300, "S2", "G3"),
    ("G3", 200, "S2", None),
]
BINDINGS = [("M1", 100, "G1"), ("M1", 250, "G2"), ("M1", 400, None), ("M2", 150, "G3")]


@pytest.fixture
async def people(db: Database) -> Database:
    async with db.begin() as session:
        await session.execute(
            insert(Store),
            [
                {"id": i, "name": i, "city": "", "address": "", "latitude": 0.0, "longitude": 0.0}
                for i in ("S1", "S2")
            ],
        )
        await session.execute(insert(Guide), [{"id": f"G{i}", "name": "x"} for i in (1, 2, 3)])
        await session.execute(
            insert(Member),
            [
                {"id": f"M{i}", "nickname": "x", "phone_hash": str(i), "phone_shown": ""}
                | {"phone_cipher": b""}
                for i in (1, 2, 3)
            ],
        )
        await session.execute(
            insert(GuideTerm),
            [
                dict(zip(("guide_id", "from_ms", "store_id", "recruiter_id"), row, strict=True))
                for row in TERMS
            ],
        )
        await session.execute(
            insert(Binding),
            [dict(zip(("member_id", "from_ms", "guide_id"), row, strict=True)) for row in BINDINGS],
        )
    return db


def expected(member_id: str, at_ms: int) -> Credit:
    """The same by a plain walk over the rows."""
    guide = [g for m, t, g in BINDINGS if m == member_id and t <= at_ms][-1:]
    if not guide or guide[0] is None:
        return Credit(None, None, None)
    term = [(s, r) for g, t, s, r in TERMS if g == guide[0] and t <= at_ms][-1:]
    return Credit(guide[0], term[0][1], term[0][0]) if term else Credit(guide[0], None, None)


async def test_credits_are_those_in_force_at_each_moment(people: Database) -> None:
    random = Random(7)
    asked = [(f"M{random.randint(1, 4)}", random.choice(range(50, 500, 10))) for _ in range(600)]
    asked += [("M1", t) for t in (99, 100, 249, 250, 299, 300, 399, 400)]
    statements: list[str] = []
    async with people.begin() as session:
        event.listen(
            people.engine.sync_engine,
            "before_cursor_execute",
            lambda *args: statements.append(args[2]),
        )
        found = await credits_at(session, asked)
    assert found == {pair: expected(*pair) for pair in asked}
    assert len(statements) == 1
    assert found["M1", 100] == Credit("G1", None, "S1")
    assert found["M1", 299] == Credit("G2", "G1", "S1")
    assert found["M1", 300] == Credit("G2", "G3", "S2")
    assert found["M2", 150] == Credit("G3", None, None)  # bound before the guide's first term
    async with people.begin() as session:
        assert await credits_at(session, []) == {}


async def test_single_rows(people: Database) -> None:
    async with people.begin() as session:
        assert await binding_at(session, "M1", 99) is None
        bound = await binding_at(session, "M1", 250)
        assert bound is not None
        assert bound.guide_id == "G2"
        assert await guide_term_at(session, "G2", 99) is None
        term = await guide_term_at(session, "G2", 300)
        assert term is not None
        assert (term.store_id, term.recruiter_id) == ("S2", "G3")


@pytest.mark.parametrize("table", ["bindings", "guide_terms"])
async def test_the_past_cannot_be_changed(people: Database, table: str) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        async with people.begin() as session:
            await session.execute(text(f"UPDATE {table} SET from_ms = 1"))
