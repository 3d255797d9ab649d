"""`kaituan staff add LOGIN`: an account for HQ, without which nobody can publish anything."""

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
    """Accounts of people at HQ."""


@staff_group.command("add")
@click.argument("login")
@click.option("--name", required=True, help="What the person is called, as others see it.")
@click.password_option(help="Better left out: it is asked for, and then not in your history.")
def add_command(login: str, name: str, password: str) -> None:
    """Open an HQ account; they sign in with LOGIN and the password that is asked for."""
    with in_words():
        asyncio.run(_add(reachable_settings(), login, name, password))
    click.echo(f"{login} can sign in at HQ now.")


async def _add(settings: Settings, login: str, name: str, password: str) -> None:
    if not re.fullmatch(r"\S{1,64}", login) or not login.isprintable() or not name.strip():
        raise BadInput("bad_login", "A login is one word of up to 64 characters, a name is a name.")
    db, passwords = Database(settings.database_url, pool_max=1), Passwords()
    try:
        person = NewStaff(login, name, "hq", password)
        if not await seed_staff(db, passwords, [person], actor=f"cli:uid-{os.getuid()}"):
            raise Conflict(
                "login_taken", f"There is already an account {login}.", "Nothing was changed."
            )
    finally:
        passwords.close()
        await db.close()
