"""Signing in: staff by password, customers by a one-time code in the hot store."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from campaigns.people.models import Binding
from campaigns.people.passwords import Passwords
from campaigns.people.phones import PhoneKeys
from campaigns.sign_in.codes import OneTimeCodes
from campaigns.sign_in.service import (
    NewStaff,
    member_of_phone,
    seed_staff,
    send_code,
    sign_in_customer,
    sign_in_staff,
    traits_of,
)
from engine import keys
from engine.db import Database
from engine.errors import BadInput, KaituanError, NotSignedIn, TooMany, Unavailable
from engine.ids import now_ms
from engine.settings import Settings

PHONES = PhoneKeys("a secret of the tests")
PHONE = "19900000001"
SANDBOX = Settings(mode="development")


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    pool = Passwords()
    yield pool
    pool.close()


@pytest.fixture
def codes(hot: Redis) -> OneTimeCodes:
    return OneTimeCodes(hot, SANDBOX, PHONES)


async def sent(codes: OneTimeCodes, phone: str = PHONE) -> str:
    code = await send_code(codes, phone)
    assert code is not None
    assert len(code) == 6
    return code


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


async def test_staff_sign_in(db: Database, passwords: Passwords) -> None:
    people = [NewStaff("hq", "总部", "hq", "a good password")]
    assert await seed_staff(db, passwords, people) == 1
    assert await seed_staff(db, passwords, people) == 0
    staff = await sign_in_staff(db, passwords, "hq", "a good password")
    assert (staff.login, staff.name, staff.role) == ("hq", "总部", "hq")
    answers = set()
    for login, password in (
        ("hq", "bad"),
        ("nobody", "a good password"),
        ("", ""),
        ("x" * 9_000, "x"),
        ("hq\x00", "a good password"),
    ):
        with pytest.raises(NotSignedIn) as caught:
            await sign_in_staff(db, passwords, login, password)
        answers.add((caught.value.code, caught.value.title, caught.value.detail))
    assert len(answers) == 1


async def test_an_unknown_number_with_the_right_code_joins_once(
    db: Database, codes: OneTimeCodes
) -> None:
    code = await sent(codes, "+86 199-0000-0001")
    first = await sign_in_customer(db, codes, PHONES, " 199 0000 0001", code)
    assert (first.joined, first.new, first.member.nickname) == (True, True, "用户0001")
    assert first.member.phone_shown == "199****0001"
    second = await sign_in_customer(db, codes, PHONES, PHONE, await sent(codes))
    assert (second.joined, second.member.id) == (False, first.member.id)


async def test_a_token_knows_who_is_new_who_is_a_member_and_who_has_a_guide(db: Database) -> None:
    """A member is on the retailer's list or has bought; who only joined by phone is not yet one."""
    joined = (await member_of_phone(db, PHONES, PHONE)).member.id
    async with db.begin() as session:
        await session.execute(
            text(
                "INSERT INTO members (id, nickname, phone_hash, phone_cipher, phone_shown,"
                " imported) VALUES ('M1', '某', 'h', 'c', '138', true)"
            )
        )
        await session.execute(text("INSERT INTO guides (id, name) VALUES ('g1', '甲')"))

    async def known() -> tuple[tuple[bool, str], tuple[bool, str]]:
        async with db.begin() as session:
            found = await traits_of(session, [joined, "M1"])
        return found[joined], found["M1"]

    assert await known() == ((True, ""), (True, "m"))
    at = now_ms()
    await _bind(db, joined, at - 2, "g1")
    assert await known() == ((True, "b"), (True, "m"))
    await _bind(db, joined, at - 1, None)  # since then nobody's
    await _bind(db, "M1", at + 3_600_000, "g1")  # not yet
    assert await known() == ((True, ""), (True, "m"))
    async with db.begin() as session:
        await session.execute(_ORDER, {"buyer": joined})
    assert await known() == ((False, "m"), (True, "m"))


async def _bind(db: Database, member_id: str, from_ms: int, guide_id: str | None) -> None:
    async with db.begin() as session:
        session.add(Binding(member_id=member_id, from_ms=from_ms, guide_id=guide_id))


_ORDER = text(
    "INSERT INTO orders (id, claim_id, shard, offer_id, campaign_id, version, buyer_id, qty, units,"
    " price_id, unit_price_fen, amount_fen, state, claim_state, reason, claimed_at_ms,"
    " expires_at_ms, idem_key, body_hash, paid_at_ms, paid_fen, refunded_fen, credit, touch,"
    " release_due) VALUES ('ord', 'clm', 0, 'ofr', 'cmp', 1, :buyer, 1, 0, 'p', 5, 5, 'refunded',"
    " 'returned', '', 1, 2, 'k', 'h', 3, 5, 5, '{}', '', false)"
)


async def test_two_first_sign_ins_at_once_make_one_member(db: Database) -> None:
    found = await asyncio.gather(*[member_of_phone(db, PHONES, PHONE) for _ in range(8)])
    assert len({signed_in.member.id for signed_in in found}) == 1
    assert sum(signed_in.joined for signed_in in found) == 1


async def test_a_code_works_once_and_only_for_its_number(codes: OneTimeCodes) -> None:
    code = await sent(codes)
    with pytest.raises(NotSignedIn):
        await codes.redeem("19900000002", code)
    await codes.redeem(PHONE, code)
    with pytest.raises(NotSignedIn):
        await codes.redeem(PHONE, code)


async def test_of_many_uses_at_once_one_is_right(codes: OneTimeCodes) -> None:
    code = await sent(codes)
    answers = await asyncio.gather(
        *[codes.redeem(PHONE, code) for _ in range(50)], return_exceptions=True
    )
    assert sum(answer is None for answer in answers) == 1


async def test_tries_are_bounded_also_at_once(codes: OneTimeCodes, hot: Redis) -> None:
    code = await sent(codes)
    guesses = [codes.redeem(PHONE, wrong(code)) for _ in range(50)]
    await asyncio.gather(*guesses, return_exceptions=True)
    with pytest.raises(NotSignedIn):
        await codes.redeem(PHONE, code)
    code = await sent(codes)  # a new code has its own tries
    for _ in range(SANDBOX.code_tries_max - 1):
        with pytest.raises(NotSignedIn):
            await codes.redeem(PHONE, wrong(code))
    await codes.redeem(PHONE, code)


async def test_a_new_code_replaces_the_earlier_one(codes: OneTimeCodes) -> None:
    first, second = await sent(codes), await sent(codes)
    if first != second:
        with pytest.raises(NotSignedIn):
            await codes.redeem(PHONE, first)
    await codes.redeem(PHONE, second)


async def test_sends_are_bounded_per_number(codes: OneTimeCodes, hot: Redis) -> None:
    asked = [codes.send(PHONE) for _ in range(20)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, str) for answer in answers) == SANDBOX.code_sends_max
    refused = [answer for answer in answers if isinstance(answer, TooMany)]
    assert len(refused) == 20 - SANDBOX.code_sends_max
    retry_after_ms = refused[0].extra["retry_after_ms"]
    assert isinstance(retry_after_ms, int)
    assert 0 < retry_after_ms <= SANDBOX.code_window_ms
    assert await sent(codes, "19900000002")


async def test_everything_lapses_by_itself_and_no_number_or_code_is_stored(
    codes: OneTimeCodes, hot: Redis
) -> None:
    code = await sent(codes)
    found = PHONES.hash(PHONE)
    assert 0 < await hot.pttl(keys.code(found)) <= SANDBOX.code_ttl_ms
    assert 0 < await hot.pttl(keys.code_sends(found)) <= SANDBOX.code_window_ms
    for key in await hot.keys("*"):
        stored = await hot.dump(key)
        assert PHONE.encode() not in key
        assert stored is not None
        assert PHONE.encode() not in stored
        assert code.encode() not in stored
    await hot.pexpire(keys.code(found), 0)
    with pytest.raises(NotSignedIn):
        await codes.redeem(PHONE, code)
    assert await hot.exists(keys.code(found)) == 0  # a guess leaves nothing behind


async def test_production_needs_a_text_message_service_and_never_tells_the_code(
    hot: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Unavailable):
        await OneTimeCodes(hot, Settings(), PHONES).send(PHONE)
    assert await hot.keys("*") == []
    delivered: list[tuple[str, str]] = []

    async def deliver(phone: str, code: str) -> None:
        delivered.append((phone, code))

    caplog.set_level(logging.DEBUG)
    codes = OneTimeCodes(hot, Settings(), PHONES, deliver)
    assert await codes.send(PHONE) is None
    assert delivered[0][0] == PHONE
    await codes.redeem(*delivered[0])
    assert PHONE not in caplog.text
    assert delivered[0][1] not in caplog.text


@pytest.mark.parametrize("code", ["", "abcdef", "1" * 100_000, "＊", "\x00"])
async def test_odd_codes_and_numbers_are_refused_alike(
    db: Database, codes: OneTimeCodes, code: str
) -> None:
    await sent(codes)
    answers = []
    for phone in (PHONE, "19900000002"):
        with pytest.raises(KaituanError) as caught:
            await sign_in_customer(db, codes, PHONES, phone, code)
        answers.append(str(caught.value))
    assert answers[0] == answers[1]
    with pytest.raises(BadInput):
        await sign_in_customer(db, codes, PHONES, code, "123456")
    async with db.begin() as session:
        assert (await session.execute(text("SELECT count(*) FROM members"))).scalar_one() == 0
