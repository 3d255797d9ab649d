"""`kaituan staff add`: whoever starts without the demo must be able to sign in at HQ."""

import asyncio

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from campaigns.people.passwords import Passwords
from campaigns.sign_in.service import sign_in_staff
from cli.main import main
from engine.db import Database
from engine.models import AuditRow
from tests.conftest import DbUrls

PASSWORD = "a good password"


async def _add(urls: DbUrls, login: str, password: str = PASSWORD) -> Result:
    """In a thread, since the command runs an event loop of its own."""
    return await asyncio.to_thread(
        CliRunner().invoke,
        main,
        ["staff", "add", login, "--name", "王店长"],
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
