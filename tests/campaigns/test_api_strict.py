"""What is not exactly right changes nothing and is told clearly; dumps are compared."""

import json
import secrets
from typing import Any

import httpx
import pytest

from campaigns.pages import NOT_BUILT
from campaigns.problems import MEDIA_TYPE
from engine.ids import now_ms
from engine.tokens import TokenKeys
from tests.campaigns.orders import write_paid_order
from tests.campaigns.server import World, draft

BAD_NUMBERS = [
    "1.0",
    '"1"',
    "true",
    "9223372036854775808",
    "null",
    "-1",
    "0",
    "1e0",
    "[1]",
    "1e999",
]


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The document of an answer that must be this problem."""
    assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/problems/{code}"
    assert body["status"] == status
    assert body["title"]
    return body


@pytest.mark.parametrize("slash", ["", "/"])
async def test_a_claims_body_is_strict(api: World, slash: str) -> None:
    offer = (await api.campaign())["offers"][0]
    url = f"/v1/offers/{offer['offer_id']}/claims{slash}"
    good = json.dumps({"qty": 1, "price_id": offer["price_ids"][0]})
    wrong = [
        *((good.replace('"qty": 1', f'"qty": {bad}'), "invalid_body") for bad in BAD_NUMBERS[:8]),
        (good.replace('"qty": 1', '"qty": 100'), "invalid_body"),
        (good.replace("}", ', "price_fen": 1}'), "invalid_body"),
        ('{"qty": 1}', "invalid_body"),
        ("[]", "invalid_body"),
        ("", "malformed_json" if not slash else "invalid_body"),
        ("{", "malformed_json"),
        (good + "x", "malformed_json"),
        ("\x00", "malformed_json"),
        (good.replace("prc_", "prc \\u0000"), "invalid_body"),
    ]
    before = await api.dump()
    headers = api.auth("mbr_a", key="key-of-strictness")
    for body, code in wrong:
        answer = await api.http.post(url, content=body.encode(), headers=headers)
        problem(answer, 400, code)
    not_utf8 = await api.http.post(url, content=b'{"qty":1,"price_id":"\xff\xfe"}', headers=headers)
    problem(not_utf8, 400, "malformed_json")
    for huge in (b" " * 70_000 + good.encode(), b"9" * 1_000_000, b"[" * 60_000):
        answer = await api.http.post(url, content=huge, headers=headers)
        assert answer.status_code in (400, 413), answer.text
        assert answer.headers["content-type"] == MEDIA_TYPE
    assert await api.dump() == before


async def test_a_huge_body_is_refused_however_it_comes(api: World) -> None:
    offer = (await api.campaign())["offers"][0]
    before = await api.dump()

    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * 4_096

    for path in (f"/v1/offers/{offer['offer_id']}/claims", "/v1/sign-in/staff"):
        answer = await api.http.post(
            path, content=chunks(), headers=api.auth("mbr_a", key="key-of-hugeness")
        )
        problem(answer, 413, "body_too_large")
    assert await api.dump() == before


async def test_a_claim_needs_a_proper_key(api: World) -> None:
    offer = (await api.campaign())["offers"][0]
    url = f"/v1/offers/{offer['offer_id']}/claims"
    body = {"qty": 1, "price_id": offer["price_ids"][0]}
    before = await api.dump()
    for key in ("", "short", "k" * 65, "with space", "colon:colon", "key\u00e9key\u00e9"):
        headers = httpx.Headers(api.auth("mbr_a"), encoding="utf-8")
        if key:
            headers["Idempotency-Key"] = key
        answer = await api.http.post(url, json=body, headers=headers)
        problem(answer, 400, "bad_idempotency_key")
    assert await api.dump() == before


async def test_tokens_that_are_not_ours_open_nothing(api: World) -> None:
    offer = (await api.campaign())["offers"][0]
    others = TokenKeys.from_setting("the secret of somebody else")
    genuine = api.token("mbr_a")
    forged = others.sign("mbr_a", "customer", expires_at_ms=now_ms() + 60_000)
    payload, _, signature = genuine.partition(".")
    tokens = {
        "": "no_token",
        "nonsense": "bad_token",
        forged: "bad_token",
        f"{payload}.": "bad_token",
        f"{payload}.{signature[:-1]}": "bad_token",
        f"{api.token('mbr_b').partition('.')[0]}.{signature}": "bad_token",
        api.token("mbr_a", for_ms=-1): "token_expired",
        secrets.token_urlsafe(4_000): "bad_token",
    }
    before = await api.dump()
    for token, code in tokens.items():
        headers = {"Idempotency-Key": "key-of-tokens"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        claim = await api.http.post(
            f"/v1/offers/{offer['offer_id']}/claims",
            json={"qty": 1, "price_id": offer["price_ids"][0]},
            headers=headers,
        )
        problem(claim, 401, code)
        problem(await api.http.get("/v1/orders", headers=headers), 401, code)
        problem(await api.http.post("/v1/campaigns", json={}, headers=headers), 401, code)
    assert await api.dump() == before


async def test_money_in_bodies_is_strict(api: World) -> None:
    order_id = await write_paid_order(api, "mbr_a", 901)
    hq = api.auth("stf_hq", "hq", key="key-of-money")
    good = json.dumps(draft())
    before = await api.dump()
    for bad in BAD_NUMBERS:
        body = good.replace('"price_fen": 1000', f'"price_fen": {bad}')
        assert body != good
        answer = await api.http.post("/v1/campaigns", content=body, headers=hq)
        if bad == "1e999":
            assert answer.status_code == 400
            continue
        found = problem(answer, 400, "invalid_body")
        assert found["errors"][0]["field"] == "offers[0].prices[0].price_fen"
        if bad != "null":
            refund = await api.http.post(
                f"/v1/orders/{order_id}/refunds", content=f'{{"amount_fen": {bad}}}', headers=hq
            )
            problem(refund, 400, "invalid_body")
    unknown = await api.http.post("/v1/campaigns", json={**draft(), "discount": 1}, headers=hq)
    assert "discount" in problem(unknown, 400, "invalid_body")["detail"]
    empty = await api.http.post("/v1/campaigns", headers=hq)
    problem(empty, 400, "invalid_body")
    assert await api.dump() == before


async def test_parameters_are_checked(api: World) -> None:
    mine = api.auth("mbr_a")
    for query in ("limit=0", "limit=201", "limit=x", "from_ms=-1", "to_ms=1.5", "after=x"):
        answer = await api.http.get(f"/v1/orders?{query}", headers=mine)
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == MEDIA_TYPE
    found = problem(await api.http.get("/v1/orders?limit=x", headers=mine), 400, "invalid_request")
    assert found["errors"][0]["field"] == "limit"
    wrong_kind = await api.http.get("/v1/balances?kind=all", headers=api.auth("s", "hq"))
    problem(wrong_kind, 400, "invalid_request")


async def test_addresses_that_are_not_there(api: World) -> None:
    problem(await api.http.get("/v1/nothing"), 404, "route_not_found")
    problem(await api.http.get("/schema/swagger"), 404, "route_not_found")
    missing = await api.http.delete("/v1/orders", headers=api.auth("mbr_a"))
    problem(missing, 405, "method_not_allowed")
    assert "GET" in missing.headers["allow"]
    problem(await api.http.get("/v1/offers/ofr_x/claims"), 405, "method_not_allowed")


async def test_without_a_build_a_sentence_says_so(api: World) -> None:
    answer = await api.http.get("/")
    assert (answer.status_code, answer.text) == (200, NOT_BUILT)
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    for path in ("/hq", "/r/rm_1", "/docs", "/v1/demo/doors"):
        problem(await api.http.get(path), 404, "route_not_found")


async def test_a_nul_reaches_no_store(api: World) -> None:
    """PostgreSQL takes none, so it must not get as far."""
    mine, hq = api.auth("mbr_a"), api.auth("stf_hq", "hq")
    for path in ("/v1/offers/%00", "/v1/orders/%00", "/v1/orders?after=1.%00", "/v1/claims/%00"):
        problem(await api.http.get(path, headers=mine), 404, "route_not_found")
    before = await api.dump()
    named = await api.http.post("/v1/campaigns", json=draft(name="a\0b"), headers=hq)
    problem(named, 400, "invalid_body")
    surrogate = json.dumps(draft()).replace("\\u665a", "\\ud800")
    assert "\\ud800" in surrogate
    half = await api.http.post("/v1/campaigns", content=surrogate, headers=hq)
    assert half.status_code == 400, half.text
    assert await api.dump() == before
