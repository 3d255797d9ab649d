"""Who signs in: staff with a password, customers with a code sent to their phone.

Customers may join by phone: the right code of an unknown number makes a member. Answers do not
tell whether a login or a number is known.
"""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.people.models import Guide, Member, Staff
from campaigns.people.passwords import Passwords
from campaigns.people.phones import PhoneKeys, require_phone
from campaigns.sign_in.codes import OneTimeCodes
from engine.db import Database
from engine.errors import BadInput, NotSignedIn
from engine.ids import new_id, now_ms

LOGIN_CHARS_MAX = 200


class Traits(NamedTuple):
    """What a token says of a customer: `new` = without a paid order, `traits` as in Access."""

    new: bool
    traits: str


class SignedIn(NamedTuple):
    """A customer who signed in: `joined` just now; the rest is for the token."""

    member: Member
    joined: bool
    new: bool
    traits: str


class NewStaff(NamedTuple):
    """Someone to be seeded; `role` as in access tokens. A guide's account names its guide."""

    login: str
    name: str
    role: str
    password: str
    guide_id: str | None = None


async def sign_in_staff(db: Database, passwords: Passwords, login: str, password: str) -> Staff:
    """The staff member; NotSignedIn `wrong_login` whether the login or the password is wrong.

    Takes the database, not a session: no connection is held while the password is hashed.
    """
    known = "\x00" not in login and len(login) <= LOGIN_CHARS_MAX  # PostgreSQL takes no NUL
    async with db.begin() as session:
        staff = await session.scalar(select(Staff).where(Staff.login == login)) if known else None
    right = await passwords.verify(staff.password_hash if staff else None, password)
    if staff is None or not right:
        raise NotSignedIn("wrong_login", "This login or password is not right.")
    return staff


async def send_code(codes: OneTimeCodes, phone: str) -> str | None:
    """Send a code to a phone as typed in; the code itself only in development mode.

    Raises BadInput `bad_phone`, TooMany `too_many_codes`, Unavailable `no_text_messages`.
    """
    return await codes.send(require_phone(phone))


async def sign_in_customer(
    db: Database, codes: OneTimeCodes, phones: PhoneKeys, phone: str, code: str
) -> SignedIn:
    """The member with this phone, made now when there is none; the code is used up.

    Raises BadInput `bad_phone`, NotSignedIn `wrong_code`.
    """
    number = require_phone(phone)
    await codes.redeem(number, code)
    return await member_of_phone(db, phones, number)


async def member_of_phone(db: Database, phones: PhoneKeys, number: str) -> SignedIn:
    """The member with this normal number, made now when there is none."""
    sealed = phones.seal(number)
    fresh = {
        "id": new_id("mbr"),
        "nickname": f"用户{number[-4:]}",
        "phone_hash": sealed.hash,
        "phone_cipher": sealed.cipher,
        "phone_shown": sealed.shown,
    }
    by_phone = select(Member).where(Member.phone_hash == sealed.hash)
    async with db.begin() as session:
        member = await session.scalar(by_phone)
        joined = member is None
        if member is None:
            # Two sign-ins of one new number at once: the unique hash lets one row in.
            await session.execute(insert(Member).values(fresh).on_conflict_do_nothing())
            member = (await session.scalars(by_phone)).one()
            joined = member.id == fresh["id"]
        known = (await traits_of(session, [member.id]))[member.id]
        return SignedIn(member, joined, *known)


_TRAITS = text(
    """
    SELECT m.id, m.imported, EXISTS (
      SELECT FROM orders o WHERE o.buyer_id = m.id AND o.paid_at_ms IS NOT NULL
    ), (
      SELECT b.guide_id FROM bindings b WHERE b.member_id = m.id AND b.from_ms <= :now
      ORDER BY b.from_ms DESC LIMIT 1
    ) IS NOT NULL
    FROM members m WHERE m.id = ANY(CAST(:ids AS text[]))
    """
)


async def traits_of(session: AsyncSession, member_ids: Sequence[str]) -> dict[str, Traits]:
    """What tokens of these members say now.

    `new`: no paid order (a refunded one still counts as paid once). `m`: on the retailer's own
    list of members, or not new; who has only joined by phone is not yet one. `b`: has a guide.
    """
    rows = await session.execute(_TRAITS, {"ids": list(member_ids), "now": now_ms()})
    return {
        member_id: Traits(not paid, ("m" if imported or paid else "") + ("b" if bound else ""))
        for member_id, imported, paid, bound in rows
    }


async def seed_staff(
    db: Database, passwords: Passwords, people: Sequence[NewStaff], *, actor: str = "system"
) -> int:
    """Add those whose login is not there yet; the number added. Existing ones stay as they are.

    BadInput `bad_password` when one is too short or too long, `unknown_guide` when an account is
    for a guide who is not there.
    """
    await _check_guides(db, {person.guide_id for person in people if person.guide_id})
    async with db.begin() as session:
        logins = [person.login for person in people]
        known = set(await session.scalars(select(Staff.login).where(Staff.login.in_(logins))))
    rows = [
        {
            "id": new_id("stf"),
            "login": person.login,
            "name": person.name,
            "role": person.role,
            "guide_id": person.guide_id,
            "password_hash": await passwords.hash(person.password),
        }
        for person in people
        if person.login not in known
    ]
    if not rows:
        return 0
    async with db.begin() as session:
        added = await session.execute(
            insert(Staff)
            .values(rows)
            .on_conflict_do_nothing()
            .returning(Staff.login, Staff.role, Staff.guide_id)
        )
        found = added.all()
        for login, role, guide_id in found:
            whose = {"guide_id": guide_id} if guide_id else {}
            record_change(session, actor, "staff.add", login, role=role, **whose)
        return len(found)


async def _check_guides(db: Database, guide_ids: set[str]) -> None:
    async with db.begin() as session:
        known = set(await session.scalars(select(Guide.id).where(Guide.id.in_(guide_ids))))
    missing = ", ".join(sorted(guide_ids - known))
    if missing:
        raise BadInput("unknown_guide", f"There is no guide {missing}.", "Import the guides first.")
