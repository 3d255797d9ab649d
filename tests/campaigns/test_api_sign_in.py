"""Signing in over HTTP, and what the token then opens."""

import asyncio

from campaigns.people.passwords import Passwords
from campaigns.sign_in.service import NewStaff, seed_staff
from tests.campaigns.server import World


async def test_a_customer_signs_in_with_a_code(api: World) -> None:
    sent = await api.http.post("/v1/sign-in/customer/code", json={"phone": "138 0013 8000"})
    assert sent.status_code == 202, sent.text
    code = sent.json()["sandbox_code"]
    entered = {"phone": "+86 138-0013-8000", "code": code}
    session = await api.http.post("/v1/sign-in/customer", json=entered)
    assert session.status_code == 200, session.text
    body = session.json()
    assert (body["role"], body["subject"], "joined" in body) == ("customer", "mbr_seeded", False)
    mine = {"Authorization": f"Bearer {body['access_token']}"}
    assert (await api.http.get("/v1/orders", headers=mine)).status_code == 200
    assert (await api.http.get("/v1/balances", headers=mine)).status_code == 403
    again = await api.http.post("/v1/sign-in/customer", json=entered)
    assert (again.status_code, again.json()["code"]) == (401, "wrong_code")


async def test_an_unknown_number_joins(api: World) -> None:
    phone = "13911112222"
    sent = await api.http.post("/v1/sign-in/customer/code", json={"phone": phone})
    known = await api.http.post("/v1/sign-in/customer/code", json={"phone": "13800138000"})
    assert sent.json().keys() == known.json().keys()
    entered = {"phone": phone, "code": sent.json()["sandbox_code"]}
    session = (await api.http.post("/v1/sign-in/customer", json=entered)).json()
    assert session["joined"] is True
    assert phone not in str(session)


async def test_codes_are_limited_per_number(api: World) -> None:
    answers = [
        await api.http.post("/v1/sign-in/customer/code", json={"phone": "13933334444"})
        for _ in range(api.settings.code_sends_max + 1)
    ]
    assert [answer.status_code for answer in answers[:-1]] == [202] * (len(answers) - 1)
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "too_many_codes")
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_staff_sign_in_and_may_draft(api: World) -> None:
    passwords = Passwords()
    await seed_staff(api.db, passwords, [NewStaff("boss", "老板", "hq", "correct horse")])
    await asyncio.to_thread(passwords.close)
    good = {"login": "boss", "password": "correct horse"}
    session = (await api.http.post("/v1/sign-in/staff", json=good)).json()
    hq = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await api.http.get("/v1/campaigns", headers=hq)).status_code == 200
    assert (await api.http.get("/v1/refunds/rfd_none", headers=hq)).status_code == 404
    wrong = await api.http.post("/v1/sign-in/staff", json={**good, "password": "wrong horse"})
    nobody = await api.http.post("/v1/sign-in/staff", json={**good, "login": "nobody"})
    assert (wrong.status_code, wrong.json()) == (401, nobody.json())


async def test_a_guide_signs_in_as_that_guide_and_no_more(api: World) -> None:
    passwords = Passwords()
    guide = NewStaff("wangfang", "王芳", "guide", "correct horse", "gd_wang")
    await seed_staff(api.db, passwords, [guide])
    await asyncio.to_thread(passwords.close)
    good = {"login": "wangfang", "password": "correct horse"}
    session = (await api.http.post("/v1/sign-in/staff", json=good)).json()
    assert (session["role"], session["guide_id"]) == ("guide", "gd_wang")
    mine = {"Authorization": f"Bearer {session['access_token']}"}
    room = {"title": "晚八点", "store_id": "store_a", "starts_at_ms": 0}
    made = await api.http.post("/v1/rooms", json=room, headers=mine)
    assert made.json()["host"] == {"guide_id": "gd_wang", "name": "王芳"}
    assert (await api.http.get("/v1/board", headers=mine)).status_code == 403
    assert (await api.http.get("/v1/orders", headers=mine)).status_code == 403
