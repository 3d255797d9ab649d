"""`kaituan staff add LOGIN`: an account for HQ, without which nobody can publish anything; with
`--guide GUIDE_ID` one for a guide, who can then host rooms.
"""

import asyncio
import os
import re

import click

from campaigns.people.passwords import Passwords
from campaigns.sign_in.service import NewStaff, seed_staff
from cli.imports import reachable_settings
from cli.words import in_words
from engine.db import Database
from engine.errors import BadInput, Conflict
from engine.settings import Settings


@click.group("staff")
def staff_group() -> None:
    """Accounts of people at HQ and of guides."""


@staff_group.command("add")
@click.argument("login")
@click.option("--name", required=True, help="What the person is called, as others see it.")
@click.password_option(help="Better left out: it is asked for, and then not in your history.")
@click.option("--guide", "guide_id", help="The guide (by id) whose account this is; not HQ's.")
def add_command(login: str, name: str, password: str, guide_id: str | None) -> None:
    """Open an HQ account; they sign in with LOGIN and the password that is asked for.

    With --guide it is that guide's account, for hosting rooms and nothing else.
    """
    role = "guide" if guide_id else "hq"
    person = NewStaff(login, name, role, password, guide_id or None)
    with in_words():
        asyncio.run(_add(reachable_settings(), person))
    where = f"as guide {guide_id}" if guide_id else "at HQ"
    click.echo(f"{login} can sign in {where} now.")


async def _add(settings: Settings, person: NewStaff) -> None:
    login, name = person.login, person.name
    if not re.fullmatch(r"\S{1,64}", login) or not login.isprintable() or not name.strip():
        raise BadInput("bad_login", "A login is one word of up to 64 characters, a name is a name.")
    db, passwords = Database(settings.database_url, pool_max=1), Passwords()
    try:
        if not await seed_staff(db, passwords, [person], actor=f"cli:uid-{os.getuid()}"):
            raise Conflict(
                "login_taken", f"There is already an account {login}.", "Nothing was changed."
            )
    finally:
        passwords.close()
        await db.close()
