"""Orders, refunds and balances over HTTP: pages by key, CSV that no spreadsheet runs."""

import csv
import io
from collections.abc import AsyncIterator

import pytest_asyncio

from engine.ids import now_ms
from engine.ledger import chart
from engine.ledger.entries import payment_received
from engine.ledger.models import LedgerAccount
from engine.ledger.post import post
from tests.campaigns.orders import write_paid_order
from tests.campaigns.server import World

HQ_CSV = {"Accept": "text/csv"}


@pytest_asyncio.fixture(scope="module")
async def seven(api: World) -> AsyncIterator[list[str]]:
    """Seven paid orders of mbr_seven, two of them claimed in the same millisecond."""
    now = now_ms()
    yield [
        await write_paid_order(
            api,
            "mbr_seven",
            number,
            claimed_at_ms=now + max(number, 2),
            reason='=HYPERLINK("http://elsewhere")' if number == 3 else "",
        )
        for number in range(1, 8)
    ]


async def test_pages_neither_repeat_nor_skip(api: World, seven: list[str]) -> None:
    mine = api.auth("mbr_seven")
    for limit in (1, 2, 3, 7, 100):
        seen: list[str] = []
        after = ""
        while True:
            page = (await api.http.get(f"/v1/orders?limit={limit}{after}", headers=mine)).json()
            seen += [order["order_id"] for order in page["orders"]]
            assert "buyer_id" not in page["orders"][0]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert len(seen) == 7
        assert set(seen) == set(seven)


async def test_hq_filters(api: World, seven: list[str]) -> None:
    hq = api.auth("stf_hq", "hq")

    async def count(query: str) -> int:
        return len((await api.http.get(f"/v1/orders?{query}", headers=hq)).json()["orders"])

    assert await count("buyer_id=mbr_seven") == 7
    assert await count("buyer_id=mbr_seven&state=open") == 0
    assert await count(f"buyer_id=mbr_seven&from_ms={now_ms() + 3_600_000}") == 0
    one = (await api.http.get(f"/v1/orders/{seven[0]}", headers=hq)).json()
    assert (one["buyer_id"], one["credit"]["credit"]) == ("mbr_seven", {})


async def test_csv_is_whole_and_harmless(api: World, seven: list[str]) -> None:
    hq = api.auth("stf_hq", "hq")
    by_path = await api.http.get("/v1/orders.csv?buyer_id=mbr_seven", headers=hq)
    by_accept = await api.http.get("/v1/orders?buyer_id=mbr_seven", headers={**hq, **HQ_CSV})
    assert by_path.text == by_accept.text
    assert by_path.headers["content-type"].startswith("text/csv")
    assert "orders.csv" in by_path.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(by_path.text.removeprefix("\ufeff"))))
    assert {row["order_id"] for row in rows} == set(seven)
    reasons = {row["reason"] for row in rows}
    assert reasons == {"", '\'=HYPERLINK("http://elsewhere")'}
    assert {row["paid_fen"] for row in rows} == {"2000"}
    customers = await api.http.get("/v1/orders", headers={**api.auth("mbr_seven"), **HQ_CSV})
    assert customers.headers["content-type"] == "application/json"


async def test_a_customer_refunds_whole_units_once_per_key(api: World) -> None:
    order_id = await write_paid_order(api, "mbr_back", 100)
    url, mine = f"/v1/orders/{order_id}/refunds", api.auth("mbr_back", key="refund-00001")
    first = await api.http.post(url, json={"units": 1}, headers=mine)
    assert first.status_code == 201, first.text
    assert (first.json()["amount_fen"], first.json()["state"]) == (1_000, "due")
    again = await api.http.post(url, json={"units": 1}, headers=mine)
    assert again.json() == first.json()
    other = await api.http.post(url, json={"units": 2}, headers=mine)
    assert other.status_code == 422
    said = await api.http.post(url, json={"units": 1, "amount_fen": 1}, headers=mine)
    assert (said.status_code, said.json()["code"]) == (400, "amount_not_yours")
    too_many = await api.http.post(
        url, json={"units": 2}, headers=api.auth("mbr_back", key="refund-00002")
    )
    assert (too_many.status_code, too_many.json()["code"]) == (409, "refund_exceeds_units")
    listed = (await api.http.get(url, headers=mine)).json()["refunds"]
    assert listed == [first.json()]
    one = await api.http.get(f"/v1/refunds/{first.json()['refund_id']}", headers=mine)
    assert one.json() == first.json()


async def test_hq_may_refund_an_amount(api: World) -> None:
    order_id = await write_paid_order(api, "mbr_price", 200)
    hq = api.auth("stf_hq", "hq", key="refund-of-price")
    answer = await api.http.post(
        f"/v1/orders/{order_id}/refunds", json={"amount_fen": 123}, headers=hq
    )
    assert (answer.status_code, answer.json()["amount_fen"]) == (201, 123)
    assert answer.json()["units"] == 0


async def test_balances_page_and_csv(api: World) -> None:
    async with api.db.begin() as session:
        await post(session, [payment_received("pay_bal", "sandbox", 5_000, None, now_ms())])
        for guide in ("g1", "g2", "g3"):
            session.add(LedgerAccount(name=chart.promoter_pending(guide), balance_fen=0, version=0))
        session.add(LedgerAccount(name=chart.store("s1"), balance_fen=0, version=0))
    hq = api.auth("stf_hq", "hq")
    first = (await api.http.get("/v1/balances?limit=3", headers=hq)).json()
    house = {one["kind"]: one["balance_fen"] for one in first["house"]}
    assert (house["escrow"], house["clearing"]) == (5_000, -5_000)
    rest = (await api.http.get(f"/v1/balances?after={first['next']}", headers=hq)).json()
    assert rest["house"] == []
    names = [one["account"] for one in first["accounts"] + rest["accounts"]]
    assert names == [f"promoter:g{n}:pending" for n in (1, 2, 3)] + ["store:s1"]
    stores = (await api.http.get("/v1/balances?kind=store", headers=hq)).json()["accounts"]
    assert [one["owner"] for one in stores] == ["s1"]
    rows = (await api.http.get("/v1/balances.csv", headers=hq)).text.splitlines()
    assert rows[0] == "\ufeffaccount,kind,owner,balance_fen"
    assert "clearing:sandbox,clearing,sandbox,-5000" in rows
    assert len(rows) == 1 + 6 + 4
