"""The sandbox's ordinary evening: prepay, pay, query, close, refunds and the bill."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator

import httpx
import pytest
import pytest_asyncio

from campaigns.payment.provider import PaymentStatus, Prepay, ProviderRefused, RefundStatus
from campaigns.payment.sandbox_client import SandboxClient
from engine.ids import new_id, now_ms
from tests.sandbox import SECRET, SandboxServer, pay, running_sandbox

NOWHERE = "http://127.0.0.1:9/callback"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest_asyncio.fixture
async def client(sandbox: SandboxServer) -> AsyncIterator[SandboxClient]:
    await sandbox.switch()
    async with sandbox.client() as client:
        yield client


async def announce(client: SandboxClient, attempt_id: str, amount_fen: int = 990) -> Prepay:
    return await client.prepay(attempt_id, amount_fen, "一杯奶茶", now_ms() + 60_000, NOWHERE)


async def paid(client: SandboxClient, amount_fen: int = 990) -> tuple[str, str]:
    """A paid attempt: its id and transaction."""
    attempt_id = new_id("att")
    prepay = await announce(client, attempt_id, amount_fen)
    answer = await pay(prepay.pay_url)
    assert answer.status_code == 200, answer.text
    return attempt_id, answer.json()["transaction_id"]


async def refused(call: Awaitable[object]) -> str:
    with pytest.raises(ProviderRefused) as caught:
        await call
    return caught.value.code


async def test_an_attempt_is_announced_paid_and_known(client: SandboxClient) -> None:
    attempt_id = new_id("att")
    assert await client.query(attempt_id) == PaymentStatus(state="unknown")
    prepay = await announce(client, attempt_id)
    assert (await client.query(attempt_id)).state == "pending"
    first = await pay(prepay.pay_url)
    again = await pay(prepay.pay_url)
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    status = await client.query(attempt_id)
    assert status.state == "paid"
    assert status.payment is not None
    assert status.payment.transaction_id == first.json()["transaction_id"]
    assert (status.payment.amount_fen, status.payment.currency) == (990, "CNY")


async def test_prepay_repeats_its_answer_and_refuses_another_question(
    client: SandboxClient,
) -> None:
    attempt_id, expires_at_ms = new_id("att"), now_ms() + 60_000
    first = await client.prepay(attempt_id, 990, "tea", expires_at_ms, NOWHERE)
    assert await client.prepay(attempt_id, 990, "tea", expires_at_ms, NOWHERE) == first
    differs = client.prepay(attempt_id, 991, "tea", expires_at_ms, NOWHERE)
    assert await refused(differs) == "ATTEMPT_DIFFERS"
    await client.close(attempt_id)
    closed = client.prepay(attempt_id, 990, "tea", expires_at_ms, NOWHERE)
    assert await refused(closed) == "ATTEMPT_CLOSED"


async def test_closing(client: SandboxClient) -> None:
    attempt_id = new_id("att")
    assert (await client.close(attempt_id)).state == "unknown"
    prepay = await announce(client, attempt_id)  # the close of an unknown one left no trace
    assert (await client.close(attempt_id)).state == "closed"
    assert (await client.close(attempt_id)).state == "closed"
    assert (await pay(prepay.pay_url)).json()["code"] == "CLOSED"
    assert (await client.query(attempt_id)).state == "closed"
    paid_id, transaction_id = await paid(client)
    result = await client.close(paid_id)
    assert result.state == "already_paid"
    assert result.payment is not None
    assert result.payment.transaction_id == transaction_id


async def test_pay_and_close_at_once_have_one_winner(client: SandboxClient) -> None:
    for _ in range(10):
        attempt_id = new_id("att")
        prepay = await announce(client, attempt_id)
        answer, result = await asyncio.gather(pay(prepay.pay_url), client.close(attempt_id))
        assert (answer.status_code, result.state) in ((200, "already_paid"), (409, "closed"))
        is_paid = (await client.query(attempt_id)).state == "paid"
        assert is_paid == (answer.status_code == 200)


async def test_paying_after_the_expiry_is_refused(client: SandboxClient) -> None:
    attempt_id = new_id("att")
    prepay = await client.prepay(attempt_id, 990, "tea", now_ms() + 300, NOWHERE)
    await asyncio.sleep(0.35)
    assert (await pay(prepay.pay_url)).json()["code"] == "EXPIRED"
    assert (await client.query(attempt_id)).state == "pending"  # until somebody closes it
    past = client.prepay(new_id("att"), 990, "tea", now_ms() - 1, NOWHERE)
    assert await refused(past) == "EXPIRED"


async def test_a_refund_number_is_one_refund(client: SandboxClient) -> None:
    _, transaction_id = await paid(client)
    _, other_id = await paid(client)
    number = new_id("ref")
    assert await client.query_refund(number) == RefundStatus(refund_no=number, state="unknown")
    answers = await asyncio.gather(
        *(client.refund(number, transaction_id, 300, 990, "late") for _ in range(8))
    )
    assert len(set(answers)) == 1
    assert answers[0].state == "success"
    assert answers[0] == await client.query_refund(number)
    differs = client.refund(number, transaction_id, 301, 990, "late")
    assert await refused(differs) == "REFUND_DIFFERS"
    elsewhere = client.refund(number, other_id, 300, 990, "late")
    assert await refused(elsewhere) == "REFUND_DIFFERS"
    total = client.refund(number, transaction_id, 300, 991, "late")
    assert await refused(total) == "TOTAL_DIFFERS"


async def test_refunds_sum_to_at_most_what_was_paid(client: SandboxClient) -> None:
    _, transaction_id = await paid(client, 100)
    for fen in (60, 40):
        status = await client.refund(new_id("ref"), transaction_id, fen, 100, "part")
        assert status.state == "success"
    over = client.refund(new_id("ref"), transaction_id, 1, 100, "over")
    assert await refused(over) == "NOT_ENOUGH"
    unknown = client.refund(new_id("ref"), new_id("txn"), 1, 100, "who")
    assert await refused(unknown) == "UNKNOWN_TRANSACTION"


async def test_racing_refunds_never_exceed_the_payment(client: SandboxClient) -> None:
    _, transaction_id = await paid(client, 100)

    async def one() -> int:
        try:
            await client.refund(new_id("ref"), transaction_id, 30, 100, "race")
        except ProviderRefused:
            return 0
        return 30

    assert sum(await asyncio.gather(*(one() for _ in range(10)))) == 90


async def test_a_payment_has_at_most_fifty_refunds(
    client: SandboxClient, sandbox: SandboxServer
) -> None:
    _, transaction_id = await paid(client, 100)
    numbers = [new_id("ref") for _ in range(50)]
    await sandbox.switch(refunds={"fail_next": 1})
    for number in numbers:
        await client.refund(number, transaction_id, 1, 100, "one fen")
    more = client.refund(new_id("ref"), transaction_id, 1, 100, "one more")
    assert await refused(more) == "TOO_MANY_REFUNDS"
    assert (await client.query_refund(numbers[0])).state == "failed"
    # The first one failed; trying it again is no new refund.
    assert (await client.refund(numbers[0], transaction_id, 1, 100, "again")).state == "success"


async def test_the_bill_is_what_happened(client: SandboxClient, sandbox: SandboxServer) -> None:
    await client.close_period(await client.open_period())
    period = await client.open_period()
    assert await refused(client.bill(period)) == "PERIOD_OPEN"
    attempt_id, transaction_id = await paid(client, 500)
    number = new_id("ref")
    await client.refund(number, transaction_id, 200, 500, "part")
    await client.refund(number, transaction_id, 200, 500, "part")
    following = await client.close_period(period)
    assert await client.close_period(period) == following
    later_id, _ = await paid(client)
    rows = (await client.bill(period)).rows
    assert [(row.kind, row.attempt_id, row.refund_no, row.amount_fen) for row in rows] == [
        ("payment", attempt_id, None, 500),
        ("refund", attempt_id, number, 200),
    ]
    assert {row.transaction_id for row in rows} == {transaction_id}
    await client.close_period(following)
    async with SandboxClient(sandbox.url, SECRET, timeout_ms=5_000, bill_page_max=1) as paging:
        assert (await paging.bill(period)).rows == rows
    assert [row.attempt_id for row in (await client.bill(following)).rows] == [later_id]
    assert await refused(client.close_period("999")) == "PERIOD_NOT_OPEN"


async def test_only_the_merchant_is_heard(client: SandboxClient, sandbox: SandboxServer) -> None:
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as http:
        for method, path in [
            ("POST", "/v1/prepay"),
            ("GET", "/v1/attempts/att_1"),
            ("POST", "/v1/attempts/att_1/close"),
            ("POST", "/v1/refunds"),
            ("GET", "/v1/refunds/ref_1"),
            ("GET", "/v1/bills/1"),
            ("POST", "/v1/periods/1/close"),
        ]:
            answer = await http.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (401, "SIGNATURE"), path
    stranger = SandboxClient(sandbox.url, "another secret of 16", timeout_ms=5_000)
    async with stranger:
        assert await refused(stranger.query("att_1")) == "SIGNATURE"


async def test_malformed_requests_change_nothing(
    client: SandboxClient, sandbox: SandboxServer
) -> None:
    soon = now_ms() + 60_000
    for amount_fen in (0, -1, 2**63, True, 1.0):
        bad = client.prepay(new_id("att"), amount_fen, "tea", soon, NOWHERE)  # type: ignore[arg-type]
        assert await refused(bad) == "BAD_REQUEST"
    for url in ("http://example.com/", "https://127.0.0.1/", "file:///etc/passwd", "http://[", ""):
        bad = client.prepay(new_id("att"), 1, "tea", soon, url)
        assert await refused(bad) in ("BAD_NOTIFY_URL", "BAD_REQUEST"), url
    assert await refused(client.query("../switches")) == "bad_id"
    async with httpx.AsyncClient(base_url=sandbox.url, trust_env=False) as http:
        assert (await http.post("/pay/pre_none")).status_code == 404
        assert (await http.get("/pay/pre_none")).status_code == 405
        assert (await http.get("/nothing")).status_code == 404
        assert (await http.put("/switches", content=b"x" * 70_000)).status_code == 413
        assert (await http.get("/healthz")).json() == {"status": "ok"}
