"""Each switch does what it says, and nothing else; callbacks arrive signed, until answered."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from campaigns.payment.provider import BadSignature, Notification, ProviderUnreachable
from campaigns.payment.sandbox_client import CALLBACK_SUCCESS, SandboxClient
from cli.sandbox.switches import Rule, Switches
from engine.ids import new_id, now_ms
from tests.sandbox import Callback, Receiver, SandboxServer, pay, receiving, running_sandbox
from tests.waiting import eventually


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    with running_sandbox(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest_asyncio.fixture
async def client(sandbox: SandboxServer) -> AsyncIterator[SandboxClient]:
    await sandbox.switch()
    async with sandbox.client() as client:
        yield client


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def paid(client: SandboxClient, receiver: Receiver, *trouble: str) -> str:
    """An attempt of 990 fen, paid with this trouble."""
    attempt_id = new_id("att")
    prepay = await client.prepay(attempt_id, 990, "tea", now_ms() + 60_000, receiver.url)
    answer = await pay(prepay.pay_url, *trouble)
    assert answer.status_code == 200, answer.text
    return attempt_id


def of(receiver: Receiver, attempt_id: str) -> list[Callback]:
    return [got for got in receiver.got if attempt_id.encode() in got.body]


async def states(sandbox: SandboxServer, attempt_id: str) -> list[tuple[str, str]]:
    """(kind, state) of the attempt's notices, oldest first."""
    return [(seen["kind"], seen["state"]) for seen in await sandbox.get(f"/notices/{attempt_id}")]


async def test_a_callback_arrives_signed_and_says_what_the_query_says(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver
) -> None:
    attempt_id = await paid(client, receiver)
    await eventually(lambda: receiver.got)
    note = client.verify_callback(*receiver.got[0])
    payment = (await client.query(attempt_id)).payment
    assert payment is not None
    assert note == Notification(attempt_id=attempt_id, **msgspec.structs.asdict(payment))
    headers, body = receiver.got[0]
    with pytest.raises(BadSignature):
        client.verify_callback(headers, body[:-1] + b" ")
    await eventually(lambda: _ends(sandbox, attempt_id, [("paid", "delivered")]))


async def _ends(sandbox: SandboxServer, attempt_id: str, wanted: list[tuple[str, str]]) -> bool:
    return await states(sandbox, attempt_id) == wanted


@pytest.mark.parametrize(
    "answer",
    [(500, CALLBACK_SUCCESS), (200, b'{"code":"FAIL"}'), (200, b""), (302, CALLBACK_SUCCESS)],
)
async def test_a_callback_is_repeated_until_it_is_answered_with_success(
    client: SandboxClient, receiver: Receiver, sandbox: SandboxServer, answer: tuple[int, bytes]
) -> None:
    receiver.answer = lambda _: (200, CALLBACK_SUCCESS) if len(receiver.got) > 2 else answer
    attempt_id = await paid(client, receiver)
    await eventually(lambda: _ends(sandbox, attempt_id, [("paid", "delivered")]))
    assert len(receiver.got) == 3
    notes = {client.verify_callback(*got) for got in receiver.got}
    assert len(notes) == 1
    assert len({got.headers["pay-nonce"] for got in receiver.got}) == 3


async def test_delayed(sandbox: SandboxServer, client: SandboxClient, receiver: Receiver) -> None:
    await sandbox.switch(delayed={"share_bps": 10_000, "ms": 600})
    started_ms = now_ms()
    await paid(client, receiver)
    assert not receiver.got
    await eventually(lambda: receiver.got)
    assert now_ms() - started_ms >= 600


async def test_lost(sandbox: SandboxServer, client: SandboxClient, receiver: Receiver) -> None:
    lost_id = await paid(client, receiver, "lost")
    other_id = await paid(client, receiver)
    await eventually(lambda: of(receiver, other_id))
    assert not of(receiver, lost_id)
    assert await states(sandbox, lost_id) == [("paid", "lost")]
    assert (await client.query(lost_id)).state == "paid"


async def test_doubled(sandbox: SandboxServer, client: SandboxClient, receiver: Receiver) -> None:
    attempt_id = await paid(client, receiver, "doubled")
    await eventually(lambda: _ends(sandbox, attempt_id, [("paid", "delivered")] * 2))
    notes = [client.verify_callback(*got) for got in receiver.got]
    assert len(notes) == 2
    assert notes[0] == notes[1]


async def test_forged(sandbox: SandboxServer, client: SandboxClient, receiver: Receiver) -> None:
    """One true callback; and one each of a wrong signature, an unknown serial, a recording."""
    reasons = []

    def answer(got: Callback) -> tuple[int, bytes]:
        try:
            client.verify_callback(*got)
        except BadSignature as bad:
            reasons.append(bad.reason)
            return 401, b"{}"
        return 200, CALLBACK_SUCCESS

    receiver.answer = answer
    attempt_id = await paid(client, receiver, "forged")
    ended = [
        ("forged_signature", "refused"),
        ("forged_serial", "refused"),
        ("forged_stale", "refused"),
        ("paid", "delivered"),
    ]
    await eventually(lambda: _ends(sandbox, attempt_id, ended))
    assert sorted(reasons) == ["stale", "unknown_serial", "wrong"]
    assert len({got.body for got in receiver.got}) == 2  # the recording has the true bytes


async def test_a_receiver_that_accepts_a_forged_callback_is_named(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver
) -> None:
    attempt_id = await paid(client, receiver, "forged")
    kinds = ("forged_signature", "forged_serial", "forged_stale")
    ended = [*((kind, "accepted") for kind in kinds), ("paid", "delivered")]
    await eventually(lambda: _ends(sandbox, attempt_id, ended))


async def test_out_of_order_neighbours_are_swapped(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver
) -> None:
    await sandbox.switch(out_of_order={"share_bps": 10_000, "wait_ms": 60_000})
    paid_ids = [await paid(client, receiver) for _ in range(2)]
    await eventually(lambda: len(receiver.got) == 2)
    assert [client.verify_callback(*got).attempt_id for got in receiver.got] == paid_ids[::-1]


async def test_out_of_order_without_a_neighbour_waits_no_longer_than_told(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver
) -> None:
    await sandbox.switch(out_of_order={"share_bps": 10_000, "wait_ms": 300})
    await paid(client, receiver)
    await eventually(lambda: receiver.got)


async def test_wrong_amount(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver
) -> None:
    await sandbox.switch(wrong_amount={"delta_fen": -90, "currency": "USD"})
    period = await client.open_period()
    attempt_id = await paid(client, receiver, "wrong_amount")
    await eventually(lambda: receiver.got)
    note = client.verify_callback(*receiver.got[0])
    assert (note.amount_fen, note.currency) == (900, "USD")
    payment = (await client.query(attempt_id)).payment
    assert payment is not None
    assert (payment.amount_fen, payment.currency) == (900, "USD")
    await client.refund(new_id("ref"), payment.transaction_id, 900, 900, "wrong")
    await client.close_period(period)
    rows = [row for row in (await client.bill(period)).rows if row.attempt_id == attempt_id]
    assert [(row.kind, row.amount_fen) for row in rows] == [("payment", 900), ("refund", 900)]


async def test_paid_after_close(client: SandboxClient, receiver: Receiver) -> None:
    attempt_id = new_id("att")
    prepay = await client.prepay(attempt_id, 990, "tea", now_ms() + 60_000, receiver.url)
    assert (await client.close(attempt_id)).state == "closed"
    assert (await pay(prepay.pay_url)).status_code == 409
    assert (await pay(prepay.pay_url, "paid_after_close")).status_code == 200
    await eventually(lambda: receiver.got)
    assert client.verify_callback(*receiver.got[0]).attempt_id == attempt_id
    assert (await client.query(attempt_id)).state == "paid"
    assert (await client.close(attempt_id)).state == "already_paid"


async def test_slow_answers_come_after_the_work(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver
) -> None:
    await sandbox.switch(slow={"share_bps": 10_000, "ms": 1_500, "operations": ["close"]})
    attempt_id = new_id("att")
    async with sandbox.client(timeout_ms=300) as hasty:
        await hasty.prepay(attempt_id, 990, "tea", now_ms() + 60_000, receiver.url)
        with pytest.raises(ProviderUnreachable) as caught:
            await hasty.close(attempt_id)
    assert caught.value.reason in ("timeout", "ReadTimeout")
    assert (await client.query(attempt_id)).state == "closed"


@pytest.mark.parametrize("how", ["500", "429", "closed"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_failing_before_or_after_the_work(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver, how: str, when: str
) -> None:
    await sandbox.switch(failing={"count": 2, "how": how, "when": when, "operations": ["prepay"]})
    attempt_id, expires_at_ms = new_id("att"), now_ms() + 60_000
    for _ in range(2):
        with pytest.raises(ProviderUnreachable):
            await client.prepay(attempt_id, 990, "tea", expires_at_ms, receiver.url)
    is_known = (await client.query(attempt_id)).state == "pending"
    assert is_known == (when == "after")
    await client.prepay(attempt_id, 990, "tea", expires_at_ms, receiver.url)


async def test_a_refund_whose_answer_was_lost_is_still_one_refund(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver
) -> None:
    attempt_id = await paid(client, receiver)
    payment = (await client.query(attempt_id)).payment
    assert payment is not None
    number = new_id("ref")
    await sandbox.switch(failing={"count": 1, "when": "after", "attempts": [number]})
    with pytest.raises(ProviderUnreachable):
        await client.refund(number, payment.transaction_id, 990, 990, "late")
    assert (await client.refund(number, payment.transaction_id, 990, 990, "late")).state == (
        "success"
    )


async def test_refunds_that_take_their_time_or_fail(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver
) -> None:
    await sandbox.switch(refunds={"processing_ms": 300, "fail_next": 1, "code": "NO_ACCOUNT"})
    attempt_id = await paid(client, receiver)
    payment = (await client.query(attempt_id)).payment
    assert payment is not None
    number = new_id("ref")
    failed = await client.refund(number, payment.transaction_id, 990, 990, "late")
    assert (failed.state, failed.code) == ("failed", "NO_ACCOUNT")
    again = await client.refund(number, payment.transaction_id, 990, 990, "late")
    assert again.state == "processing"

    async def done() -> bool:
        return (await client.query_refund(number)).state == "success"

    await eventually(done)


async def test_a_rule_names_attempts_or_takes_a_share_that_the_seed_repeats(
    sandbox: SandboxServer, client: SandboxClient, receiver: Receiver
) -> None:
    names = [new_id("att") for _ in range(40)]
    wanted = Switches(seed=7, lost=Rule(share_bps=5_000, attempts=(names[0],)))
    await sandbox.switch(**msgspec.to_builtins(wanted))
    for name in names:
        prepay = await client.prepay(name, 990, "tea", now_ms() + 60_000, receiver.url)
        await pay(prepay.pay_url)
    lost = {name for name in names if await states(sandbox, name) == [("paid", "lost")]}
    assert lost == {name for name in names if "lost" in wanted.troubles(name, ())}
    assert names[0] in lost
    assert 2 < len(lost) < 38


@pytest.mark.parametrize(
    "bad",
    [
        {"unknown": {}},
        {"lost": {"share_bps": 10_001}},
        {"lost": {"share_bps": True}},
        {"lost": {"attempts": ["a"] * 1_001}},
        {"delayed": {"ms": 600_001}},
        {"failing": {"count": 10_001}},
        {"failing": {"how": "418"}},
        {"slow": {"operations": ["healthz"]}},
        {"refunds": {"fail_next": -1}},
    ],
)
async def test_switches_have_limits(sandbox: SandboxServer, bad: dict[str, Any]) -> None:
    await sandbox.switch(lost={"attempts": ["att_1"]})
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.put(f"{sandbox.url}/switches", json=bad)
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_REQUEST")
    assert (await sandbox.get("/switches"))["lost"]["attempts"] == ["att_1"]


async def test_many_payments_at_once_all_call_back(
    client: SandboxClient, receiver: Receiver
) -> None:
    paid_ids = await asyncio.gather(
        *(paid(client, receiver, "forged", "doubled") for _ in range(40))
    )
    await eventually(lambda: len(receiver.got) == 40 * 5)
    assert all(len(of(receiver, attempt_id)) == 5 for attempt_id in paid_ids)
