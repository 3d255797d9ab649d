"""Over the running house: what is not exactly right is a clear problem and changes nothing.

Both stores are compared whole, row by row and key by key, before and after.
"""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest

from campaigns.models import metadata
from campaigns.problems import MEDIA_TYPE
from engine.ids import now_ms
from engine.tokens import TokenKeys
from loadtests.lean import Answer, LeanClient, Lost
from tests.system.house import House, Sale
from tests.waiting import eventually

pytestmark = pytest.mark.slow

BAD_NUMBERS = ("1.0", '"1"', "true", "9223372036854775808", "null", "0", "-1", "1e0", "[1]", "100")
BODIES_MAX = 65_536


async def dump(house: House) -> dict[str, Any]:
    """Every row of every table and every key of the hot store."""
    found: dict[str, Any] = {}
    for table in metadata.sorted_tables:
        if table.name == "law_checks":  # written on a timer, whoever asks for what
            continue
        rows = await house.rows(f'SELECT t::text FROM "{table.name}" t ORDER BY 1')
        found[table.name] = [row[0] for row in rows]
    names = sorted(await house.ask("KEYS", "*"))
    found["hot"] = {name: await house.ask("DUMP", name) for name in names}
    return found


class Prober:
    """Sends what is wrong, from a new connection each time, so that both processes get it."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.sent = 0

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, token: str = "", key: str = "key-of-bad"
    ) -> Answer:
        client = LeanClient(self.house.settings.public_url)
        try:
            self.sent += 1
            return await client.request(
                method, path, body=body, token=token, headers={"idempotency-key": key}
            )
        finally:
            await client.close()

    async def refused(
        self, status: int, code: str, method: str, path: str, body: bytes = b"", **more: str
    ) -> None:
        """It must be this problem, as a document that says so in words."""
        answer = await self.ask(method, path, body, **more)
        assert answer.headers["content-type"] == MEDIA_TYPE, answer
        document = json.loads(answer.body)
        assert (answer.status, document["code"]) == (status, code), (path, body[:80], document)
        assert document["status"] == status
        assert document["title"]


async def a_paid_order(house: House, sale: Sale, name: str) -> tuple[str, str]:
    """Claim id and order id of somebody's paid order."""
    buyer = house.buyer(name)
    _, told = await buyer.try_claim(sale.offer_id, sale.price_id, key=f"key-{name}")
    page = await buyer.begin_pay(told["claim_id"])
    assert page is not None
    assert await buyer.pay(page, told["claim_id"])

    async def is_paid() -> str:
        seen = await buyer.look(told["claim_id"])
        return str(seen["order_id"]) if seen["state"] == "paid" else ""

    return told["claim_id"], await eventually(is_paid)


async def test_wrong_bodies_change_nothing(house: House) -> None:
    sale = await house.sale(10, per_order_max=2, per_buyer_max=2)
    _, order_id = await a_paid_order(house, sale, "mbr_neat")
    await house.settled()
    mine, probe = house.token("mbr_neat"), Prober(house)
    claims, refunds = f"/v1/offers/{sale.offer_id}/claims", f"/v1/orders/{order_id}/refunds"
    before = await dump(house)
    for bad in BAD_NUMBERS:
        body = f'{{"qty": {bad}, "price_id": "{sale.price_id}"}}'.encode()
        await probe.refused(400, "invalid_body", "POST", claims, body, token=mine)
        body = f'{{"units": {bad}}}'.encode()
        if bad != "0":  # a refund of an amount only
            await probe.refused(400, "invalid_body", "POST", refunds, body, token=mine)
    good = {"qty": 1, "price_id": sale.price_id}
    wrong: list[Any] = [{**good, "price_fen": 1}, {"qty": 1}, {**good, "buyer_id": "mbr_x"}, [], 7]
    for what in wrong:
        body = json.dumps(what).encode()
        await probe.refused(400, "invalid_body", "POST", claims, body, token=mine)
    for raw in (b"{", b'{"qty": 1', b"\x00", b"\xff\xfe", json.dumps(good).encode() + b"x"):
        await probe.refused(400, "malformed_json", "POST", claims, raw, token=mine)
    huge = b" " * BODIES_MAX + json.dumps(good).encode()
    for path in (claims, refunds, "/v1/payments/callback", "/v1/sign-in/customer"):
        await probe.refused(413, "body_too_large", "POST", path, huge, token=mine)
    for key in ("", "short", "k" * 65, "with space"):
        body = json.dumps(good).encode()
        code = (400, "bad_idempotency_key")
        await probe.refused(*code, "POST", claims, body, token=mine, key=key)
    assert await dump(house) == before


async def test_what_is_not_ones_own_is_not_there(house: House) -> None:
    sale = await house.sale(10)
    claim_id, order_id = await a_paid_order(house, sale, "mbr_owner")
    buyer = house.buyer("mbr_holder")
    _, held = await buyer.try_claim(sale.offer_id, sale.price_id, key="key-of-the-holder")
    await house.settled()
    probe, other = Prober(house), house.token("mbr_curious")
    before = await dump(house)
    for one in (claim_id, held["claim_id"], "clm-s0-e999-1-0000000000000000", "nonsense"):
        code = (404, "claim_not_found")
        await probe.refused(*code, "GET", f"/v1/claims/{one}", token=other)
        await probe.refused(*code, "POST", f"/v1/claims/{one}/pay", b"{}", token=other)
        await probe.refused(*code, "POST", f"/v1/claims/{one}/cancel", token=other)
    for one in (order_id, "ord-s0-e1-1-0000000000000000"):
        code = (404, "order_not_found")
        await probe.refused(*code, "GET", f"/v1/orders/{one}", token=other)
        body = b'{"units": 1}'
        await probe.refused(*code, "POST", f"/v1/orders/{one}/refunds", body, token=other)
    restock = f"/v1/offers/{sale.offer_id}/restock"
    body = b'{"units": 5, "reason": "mine"}'
    await probe.refused(403, "not_allowed", "POST", restock, body, token=other)
    await probe.refused(403, "not_allowed", "POST", "/v1/campaigns", b"{}", token=other)
    assert await dump(house) == before


async def test_tokens_that_are_forged_or_expired_open_nothing(house: House) -> None:
    sale = await house.sale(10)
    claim_id, order_id = await a_paid_order(house, sale, "mbr_signed")
    await house.settled()
    probe, genuine = Prober(house), house.token("mbr_signed")
    payload, _, signature = genuine.partition(".")
    others = TokenKeys.from_setting("the secret of somebody else")
    tokens = {
        "": "no_token",
        "nonsense": "bad_token",
        others.sign("mbr_signed", "customer", expires_at_ms=now_ms() + 60_000): "bad_token",
        others.sign("stf_hq", "hq", expires_at_ms=now_ms() + 60_000): "bad_token",
        f"{payload}.": "bad_token",
        f"{house.token('mbr_other').partition('.')[0]}.{signature}": "bad_token",
        house.token("mbr_signed", for_ms=-1): "token_expired",
    }
    body = json.dumps({"qty": 1, "price_id": sale.price_id}).encode()
    before = await dump(house)
    for token, code in tokens.items():
        for method, path, sent in (
            ("POST", f"/v1/offers/{sale.offer_id}/claims", body),
            ("GET", f"/v1/claims/{claim_id}", b""),
            ("POST", f"/v1/claims/{claim_id}/pay", b"{}"),
            ("POST", f"/v1/orders/{order_id}/refunds", b'{"units": 1}'),
            ("POST", f"/v1/offers/{sale.offer_id}/restock", b'{"units": 1, "reason": "x"}'),
        ):
            await probe.refused(401, code, method, path, sent, token=token)
    assert await dump(house) == before
    assert (await probe.ask("GET", f"/v1/claims/{claim_id}", token=genuine)).status == 200


async def test_clients_that_break_off_or_talk_nonsense_are_nobodys_trouble(house: House) -> None:
    sale = await house.sale(10)
    await house.settled()
    before = await dump(house)
    host, port = house.settings.api_host, house.settings.api_port
    path, token = f"/v1/offers/{sale.offer_id}/claims", house.token("mbr_rude")
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
    for raw in (
        f"{head}idempotency-key: key-of-the-rude\r\ncontent-length: 50\r\n\r\n{{".encode(),
        f"{head}content-length: -1\r\n\r\n".encode(),
        f"{head}content-length: 99999999999999999999\r\n\r\n".encode(),
        f"{head}transfer-encoding: chunked\r\n\r\nzz\r\n".encode(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"A" * 100_000,
    ):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(raw)
        with suppress(TimeoutError, ConnectionError):
            await writer.drain()
            await asyncio.wait_for(reader.read(65_536), 0.3)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    assert await dump(house) == before
    client = house.client()
    try:
        assert (await client.request("GET", "/healthz")).status == 200
    except Lost as error:
        raise AssertionError("the API went away") from error
    assert not [line for line in house.said if line.startswith("api-")]
