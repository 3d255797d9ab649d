"""Open incidents are resolved by a person's word, which the audit log keeps; a gap is not."""

import pytest
from sqlalchemy import text

from cli.incidents import open_incidents, resolve_incident
from engine.db import Database
from engine.errors import Conflict, Missing
from engine.incidents import record_incident


async def test_a_guard_incident_is_resolved_once_and_logged(db: Database) -> None:
    async with db.begin() as session:
        for _ in range(2):
            await record_incident(
                session, cause="guard:c1", kind="guard", shard=1, detail={"held": 1}
            )
    async with db.begin() as session:
        assert [one.cause for one in await open_incidents(session)] == ["guard:c1"]
        await resolve_incident(session, "guard:c1", "counted again", actor="me")
    async with db.begin() as session:
        assert await open_incidents(session) == []
        logged = await session.execute(text("SELECT actor, action, subject FROM audit_log"))
        assert [tuple(row) for row in logged] == [("me", "incident.resolve", "guard:c1")]
        with pytest.raises(Missing):
            await resolve_incident(session, "guard:c1", "again", actor="me")


async def test_a_gap_is_not_talked_away(db: Database) -> None:
    async with db.begin() as session:
        await record_incident(session, cause="gap:1:1:5", kind="gap", shard=1, detail={})
    with pytest.raises(Conflict, match="--past-gap"):
        async with db.begin() as session:
            await resolve_incident(session, "gap:1:1:5", "fine", actor="me")
    async with db.begin() as session:
        assert len(await open_incidents(session)) == 1
