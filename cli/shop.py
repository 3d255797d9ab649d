"""A sample shop: the sample chain imported, accounts for HQ and guides, for demo, load and tests.

`doors.json` in the data folder (0600) keeps the demo's sign-ins, which the API shows on its
landing page in development mode, and only there.
"""

import os
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import select

from campaigns.people.imports.service import ImportFile, import_files
from campaigns.people.models import Guide, GuideTerm, Member
from campaigns.people.passwords import Passwords
from campaigns.people.phones import PhoneKeys
from campaigns.sign_in.service import NewStaff, seed_staff
from cli.sample import FILES
from engine.db import Database
from engine.settings import Settings

HQ_LOGIN = "hq"
GUIDE_IDS = ("G001", "G002", "G003")
SHOWN_CUSTOMERS = 3
DOORS = "doors.json"


class Keys(NamedTuple):
    """The passwords of the sample shop's accounts."""

    hq: str
    guide: str


class Host(msgspec.Struct, frozen=True):
    """A guide who can sign in, and their store."""

    guide_id: str
    name: str
    store_id: str
    login: str


class Shop(msgspec.Struct, frozen=True):
    """Who can sign in where."""

    hosts: tuple[Host, ...]
    customers: tuple[tuple[str, str], ...]  # phone, nickname


def sample_phone(number: int) -> str:
    """The phone number of the sample chain's member `number`, from 1 on."""
    return f"199{number:08d}"


async def open_shop(settings: Settings, keys: Keys) -> Shop:
    """Import the sample chain and open accounts; a second time changes nothing."""
    db = Database(settings.database_url, pool_max=2)
    passwords = Passwords()
    phones = PhoneKeys(settings.phone_secret)
    try:
        files = [ImportFile(path.name, path.read_bytes()) for path in FILES]
        await import_files(db, settings, phones, files, actor="sample")
        shop = await _shop(db, phones)
        guides = [
            NewStaff(host.login, host.name, "guide", keys.guide, host.guide_id)
            for host in shop.hosts
        ]
        await seed_staff(db, passwords, [NewStaff(HQ_LOGIN, "总部运营", "hq", keys.hq), *guides])
        return shop
    finally:
        passwords.close()
        await db.close()


async def _shop(db: Database, phones: PhoneKeys) -> Shop:
    hosts = (
        select(Guide.id, Guide.name, GuideTerm.store_id)
        .join(GuideTerm, GuideTerm.guide_id == Guide.id)
        .where(Guide.id.in_(GUIDE_IDS))
        .order_by(Guide.id, GuideTerm.from_ms)
    )
    numbers = {
        phones.hash(phone): phone for phone in map(sample_phone, range(1, SHOWN_CUSTOMERS + 1))
    }
    members = select(Member.phone_hash, Member.nickname).where(Member.phone_hash.in_(numbers))
    async with db.begin() as session:
        found = {row.id: row for row in await session.execute(hosts)}  # the latest term stands
        names = {numbers[row.phone_hash]: row.nickname for row in await session.execute(members)}
    return Shop(
        tuple(Host(row.id, row.name, row.store_id, row.id.lower()) for row in found.values()),
        tuple(sorted(names.items())),
    )


def keep_doors(folder: Path, shop: Shop, keys: Keys) -> None:
    """Write down the demo's sign-ins where the API of this place finds them."""
    doors = {
        "hq": {"login": HQ_LOGIN, "password": keys.hq},
        "guides": [
            {"login": host.login, "password": keys.guide, "name": host.name} for host in shop.hosts
        ],
        "customers": [{"phone": phone, "nickname": name} for phone, name in shop.customers],
    }
    fresh = folder / f"{DOORS}.new"
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.encode(doors))
    os.replace(fresh, folder / DOORS)
