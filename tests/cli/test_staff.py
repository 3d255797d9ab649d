"""`kaituan staff add`: whoever starts without the demo must be able to sign in at HQ."""

import asyncio

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from campaigns.people.models import Guide
from campaigns.people.passwords import Passwords
from campaigns.sign_in.service import sign_in_staff
from cli.main import main
from engine.db import Database
from engine.models import AuditRow
from tests.conftest import DbUrls

PASSWORD = "a good password"


async def _add(urls: DbUrls, login: str, password: str = PASSWORD, *more: str) -> Result:
    """In a thread, since the command runs an event loop of its own."""
    return await asyncio.to_thread(
        CliRunner().invoke,
        main,
        ["staff", "add", login, "--name", "王店长", *more],
        input=f"{password}\n{password}\n",
        env={"KAITUAN_DATABASE_URL": urls.app},
    )


async def test_an_account_is_added_once_and_noted(db: Database, db_urls: DbUrls) -> None:
    first = await _add(db_urls, "wang")
    assert first.exit_code == 0, first.output
    assert PASSWORD not in first.output
    again = await _add(db_urls, "wang", "another password")
    assert again.exit_code == 1
    assert "There is already an account wang. Nothing was changed." in again.output
    passwords = Passwords()
    staff = await sign_in_staff(db, passwords, "wang", PASSWORD)
    passwords.close()
    assert (staff.name, staff.role) == ("王店长", "hq")
    async with db.begin() as session:
        rows = (await session.scalars(select(AuditRow).where(AuditRow.subject == "wang"))).all()
    assert [(row.action, row.detail) for row in rows] == [("staff.add", {"role": "hq"})]


@pytest.mark.parametrize(("login", "password"), [("two words", PASSWORD), ("wang", "short")])
async def test_what_cannot_be_used_is_said(db_urls: DbUrls, login: str, password: str) -> None:
    done = await _add(db_urls, login, password)
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit), done.exception


async def test_a_guide_gets_an_account_of_the_own(db: Database, db_urls: DbUrls) -> None:
    unknown = await _add(db_urls, "wang", PASSWORD, "--guide", "G001")
    assert unknown.exit_code == 1
    assert "There is no guide G001." in unknown.output
    async with db.begin() as session:
        session.add(Guide(id="G001", name="夏予安"))
    added = await _add(db_urls, "wang", PASSWORD, "--guide", "G001")
    assert added.exit_code == 0, added.output
    assert "wang can sign in as guide G001 now." in added.output
    passwords = Passwords()
    staff = await sign_in_staff(db, passwords, "wang", PASSWORD)
    passwords.close()
    assert (staff.role, staff.guide_id) == ("guide", "G001")
    async with db.begin() as session:
        row = await session.scalar(select(AuditRow).where(AuditRow.subject == "wang"))
    assert row is not None
    assert row.detail == {"role": "guide", "guide_id": "G001"}
