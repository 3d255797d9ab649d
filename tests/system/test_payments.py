"""Each trouble of a payment ends as the design says, also while the shard cannot be reached.

The provider's bill is the witness: every payment on it is exactly one of standing order or
fully refunded. A callback is answered with success as soon as its fact is committed.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest

from campaigns.payment.sandbox_client import SandboxClient
from cli.audit import sandbox_bill
from tests.sandbox import TLS
from tests.system.house import House, Sale, kaituan
from tests.waiting import eventually

pytestmark = pytest.mark.slow

PAY_MS = 4_000
# Trouble → (claim's last state, cause of the refund or "").
ENDS: dict[str, tuple[str, str]] = {
    "": ("paid", ""),
    "delayed": ("paid", ""),
    "lost": ("paid", ""),
    "doubled": ("paid", ""),
    "forged": ("paid", ""),
    "out_of_order": ("paid", ""),
    "wrong_amount": ("released", "wrong_amount"),
    "paid_after_close": ("released", "late"),
}


class Customer(NamedTuple):
    """Who pays, and with which trouble."""

    name: str
    trouble: str
    claim_id: str
    page: dict[str, Any]


async def customers(house: House, sale: Sale, names: str) -> list[Customer]:
    """Two per trouble, all at the same time, each on their payment page."""

    async def one(name: str, trouble: str) -> Customer:
        buyer = house.buyer(name)
        status, told = await buyer.try_claim(sale.offer_id, sale.price_id, key=f"key-{name}")
        assert status == 201, told
        page = await buyer.begin_pay(told["claim_id"])
        assert page is not None
        return Customer(name, trouble, told["claim_id"], page)

    troubles = [*ENDS] * 2
    return list(
        await asyncio.gather(*(one(f"{names}_{n}", trouble) for n, trouble in enumerate(troubles)))
    )


async def notices(house: House, customer: Customer) -> list[dict[str, Any]]:
    """What the provider tells of the callbacks of a payment."""
    url = f"{house.settings.provider_url}/notices/{customer.page['attempt_id']}"
    async with httpx.AsyncClient(trust_env=False, verify=TLS) as http:
        found: list[dict[str, Any]] = (await http.get(url)).raise_for_status().json()
    return found


async def pay_all(house: House, everybody: list[Customer]) -> None:
    """Those who pay in time, each with their trouble."""
    in_time = [one for one in everybody if one.trouble != "paid_after_close"]
    taken = await asyncio.gather(
        *(
            house.buyer(one.name).pay(one.page, one.claim_id, (one.trouble,) * bool(one.trouble))
            for one in in_time
        )
    )
    assert all(taken)


async def pay_late(house: House, everybody: list[Customer], closed: str) -> None:
    """Those who pay when the provider has closed their page: money goes out all the same."""
    late = [one for one in everybody if one.trouble == "paid_after_close"]
    attempts = [one.page["attempt_id"] for one in late]

    async def are_closed() -> bool:
        return bool(await house.scalar(closed, attempts) == len(late))

    await eventually(are_closed)
    for one in late:
        assert await house.buyer(one.name).pay(one.page, one.claim_id, ("paid_after_close",))


async def ends_as_declared(house: House, everybody: list[Customer]) -> None:
    """Each claim and each refund as the table says; forged callbacks were refused."""
    for one in everybody:
        state, cause = ENDS[one.trouble]

        async def is_over(one: Customer = one, state: str = state) -> bool:
            seen = await house.buyer(one.name).look(one.claim_id)
            told = "SELECT count(*) FROM payment_facts WHERE claim_id = $1 AND outcome IS NOT NULL"
            # The hot state comes first, its settlement a moment later.
            return bool(seen["state"] == state and await house.scalar(told, one.claim_id) == 1)

        await eventually(is_over, every_s=0.2)
        rows = await house.rows(
            "SELECT f.id, f.amount_fen, f.outcome, o.state AS order_state, o.payment_id FROM"
            " payment_facts f JOIN orders o ON o.claim_id = f.claim_id WHERE f.claim_id = $1",
            one.claim_id,
        )
        assert len(rows) == 1, (one.trouble, rows)
        stands = rows[0]["payment_id"] == rows[0]["id"]
        assert stands == (state == "paid"), (one.trouble, rows)
        refunds = await house.rows(
            "SELECT cause, amount_fen FROM refunds WHERE payment_id = $1", rows[0]["id"]
        )
        wanted = [(cause, rows[0]["amount_fen"])] if cause else []
        assert [tuple(row) for row in refunds] == wanted, one.trouble
        if one.trouble == "forged":
            kinds = {notice["kind"]: notice["state"] for notice in await notices(house, one)}
            forged = [kinds.pop(kind) for kind in list(kinds) if kind.startswith("forged")]
            assert forged == ["refused"] * 3
            assert kinds == {"paid": "delivered"}


async def witnessed(house: House, everybody: list[Customer]) -> None:
    """Every payment on the provider's bill: its order stands, or it is refunded to the fen."""
    await house.lawful("T8", "M1", "M3", "M4", "M9", "S1", "I4", "I5")
    ours = {one.page["attempt_id"] for one in everybody}
    bill = await sandbox_bill(house.settings, complete=True)
    paid = {row.transaction_id: row for row in bill.rows if row.kind == "payment"}
    back: dict[str, int] = {}
    for row in bill.rows:
        if row.kind == "refund":
            back[row.transaction_id] = back.get(row.transaction_id, 0) + row.amount_fen
    standing = {
        row["payment_id"]
        for row in await house.rows("SELECT payment_id FROM orders WHERE state = 'paid'")
    }
    assert {row.attempt_id for row in paid.values()} >= ours
    for transaction, row in paid.items():
        if row.attempt_id in ours:
            assert (transaction in standing) != (back.get(transaction) == row.amount_fen), row


_CLOSED_AND_RELEASED = (
    "SELECT count(*) FROM payment_attempts WHERE id = ANY($1) AND state = 'closed'"
    " AND released_seq IS NOT NULL"
)
_CLOSED = "SELECT count(*) FROM payment_attempts WHERE id = ANY($1) AND state = 'closed'"


async def test_every_trouble_ends_as_declared(house: House) -> None:
    sale = await house.sale(40, pay_ms=PAY_MS)
    everybody = await customers(house, sale, "open")
    await pay_all(house, everybody)
    await pay_late(house, everybody, _CLOSED_AND_RELEASED)
    await ends_as_declared(house, everybody)
    await witnessed(house, everybody)
    stands = sum(state == "paid" for state, _ in ENDS.values()) * 2
    assert await house.stock(sale) == {
        "total": 40,
        "available": 40 - stands,
        "held": 0,
        "sold": stands,
    }


async def test_a_late_payment_takes_its_units_again_where_the_campaign_says_so(
    house: House,
) -> None:
    sale = await house.sale(20, pay_ms=PAY_MS, late="retake")
    everybody = await customers(house, sale, "retake")
    late = [one for one in everybody if one.trouble == "paid_after_close"]
    await pay_late(house, late, _CLOSED_AND_RELEASED)

    async def stand_again() -> bool:
        seen = [await house.buyer(one.name).look(one.claim_id) for one in late]
        return all(one["state"] == "paid" for one in seen)

    await eventually(stand_again, every_s=0.2)
    await witnessed(house, late)


@contextmanager
def unreachable(house: House) -> Iterator[None]:
    """The hot store is in a new life that nobody has opened yet: every script refuses."""
    with house.frozen("settle"):
        house.kill("valkey")
        yield


async def test_callbacks_that_arrive_while_the_shard_reopens_are_kept(house: House) -> None:
    sale = await house.sale(40, pay_ms=PAY_MS)
    everybody = await customers(house, sale, "closed")
    await house.settled()
    old = house.pid("valkey")
    with unreachable(house):
        await pay_all(house, everybody)
        told = [one for one in everybody if one.trouble not in ("lost", "paid_after_close")]

        async def all_answered() -> bool:
            for one in told:
                states = {
                    row["state"] for row in await notices(house, one) if row["kind"] == "paid"
                }
                if states != {"delivered"}:
                    return False
            return True

        await eventually(all_answered, every_s=0.2)
        # Success was answered, so the fact is there; what it means is not decided yet.
        facts = await house.rows(
            "SELECT outcome FROM payment_facts WHERE claim_id = ANY($1)",
            [one.claim_id for one in told],
        )
        assert [row["outcome"] for row in facts] == [None] * len(told)
        await house.until_back("valkey", old)
        assert (await house.ready()).status == 503
        await pay_late(house, everybody, _CLOSED)
    await house.until_ready()
    # Their release and their payment race now; both ends are lawful, the witness tells.
    await ends_as_declared(house, [one for one in everybody if one.trouble != "paid_after_close"])
    await witnessed(house, everybody)


async def test_a_callback_that_nobody_signed_changes_nothing(house: House) -> None:
    before = await house.rows("SELECT count(*) FROM payment_facts")
    body = json.dumps({"attempt_id": "att_x", "transaction_id": "txn_x", "amount_fen": 1})
    client = house.client()
    for path in ("/v1/payments/callback", "/v1/payments/callback/sandbox"):
        answer = await client.request("POST", path, body=body.encode())
        assert (answer.status, json.loads(answer.body)["code"]) == (401, "bad_signature")
    assert await house.rows("SELECT count(*) FROM payment_facts") == before


async def test_what_only_the_bill_knows_is_refunded(house: House) -> None:
    """Paid after the close, and the callback lost: an operator reads the closed bill."""
    sale = await house.sale(2, pay_ms=PAY_MS)
    buyer = house.buyer("untold")
    status, told = await buyer.try_claim(sale.offer_id, sale.price_id, key="key-untold")
    assert status == 201, told
    page = await buyer.begin_pay(told["claim_id"])
    assert page is not None

    async def is_released() -> bool:
        return bool((await buyer.look(told["claim_id"]))["state"] == "released")

    await eventually(is_released, every_s=0.2)
    assert await buyer.pay(page, told["claim_id"], ("paid_after_close", "lost"))
    async with SandboxClient.from_settings(house.settings) as client:
        period = await client.open_period()
        too_early = await kaituan(house.environ, "reconcile", period)
        assert (too_early.code, "not closed yet" in too_early.text) == (1, True), too_early.text
        await client.close_period(period)
    facts = "SELECT count(*) FROM payment_facts WHERE claim_id = $1"
    assert await house.scalar(facts, told["claim_id"]) == 0
    for found in (1, 0):  # running it again changes nothing
        said = await kaituan(house.environ, "reconcile", period)
        assert said.code == 0, said.text
        assert f"Bill {period}: {found} payments" in said.text

    async def is_refunded() -> bool:
        refunds = "SELECT state FROM refunds WHERE claim_id = $1"
        return bool(await house.scalar(refunds, told["claim_id"]) == "done")

    await eventually(is_refunded, every_s=0.2)
    await house.lawful("T8", "M3", "M9")
