"""A sample shop: the sample chain imported and HQ's account opened, for demo, load and tests."""

from campaigns.people.imports.service import ImportFile, import_files
from campaigns.people.passwords import Passwords
from campaigns.people.phones import PhoneKeys
from campaigns.sign_in.service import NewStaff, seed_staff
from cli.sample import FILES
from engine.db import Database
from engine.settings import Settings

HQ_LOGIN = "hq"


async def open_shop(settings: Settings, password: str) -> None:
    """Import the sample chain and give HQ an account; a second time changes nothing."""
    db = Database(settings.database_url, pool_max=2)
    passwords = Passwords()
    try:
        files = [ImportFile(path.name, path.read_bytes()) for path in FILES]
        await import_files(db, settings, PhoneKeys(settings.phone_secret), files, actor="sample")
        await seed_staff(db, passwords, [NewStaff(HQ_LOGIN, "总部运营", "hq", password)])
    finally:
        passwords.close()
        await db.close()
