"""One customer's evening over HTTP, with the real settler, worker and payment provider."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest_asyncio

from campaigns.payment.sandbox_client import PROVIDER_SERIAL
from campaigns.payment.signature import derive_key, sign
from engine.ids import now_ms
from engine.settings import Settings, inherited_environ, to_environ
from engine.store import connect
from tests.campaigns.server import World, api_settings, running_world
from tests.conftest import DbUrls
from tests.sandbox import SECRET, SandboxServer, pay, running_sandbox
from tests.waiting import eventually


@asynccontextmanager
async def _process(module: str, settings: Settings) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module), env={**inherited_environ(), **to_environ(settings)}
    )
    try:
        yield
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)


@pytest_asyncio.fixture(scope="module")
async def sandbox(tmp_path_factory: Any) -> AsyncIterator[SandboxServer]:
    """The provider's own process."""
    folder: Path = tmp_path_factory.mktemp("provider")
    with running_sandbox(folder) as server:
        yield server


@pytest_asyncio.fixture(scope="module")
async def evening(
    valkey_url: str, queue_url: str, module_db_urls: DbUrls, sandbox: SandboxServer
) -> AsyncIterator[World]:
    """API, settler and worker on the real stores; the settler opens the shards."""
    settings = api_settings(
        valkey_url,
        module_db_urls.app,
        queue_url=queue_url,
        provider_url=sandbox.url,
        sandbox_secret=SECRET,
        repeat_after_ms=300,
    )
    redis = connect(valkey_url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(redis.aclose)
        await redis.flushall()
        world = await stack.enter_async_context(running_world(settings, redis))
        for module in ("workers.settle", "workers.main"):
            await stack.enter_async_context(_process(module, settings))
        await world.ready()
        await world.inventory.epochs.refresh()
        yield world


async def _ordered(world: World, buyer_id: str, offer: dict[str, Any]) -> dict[str, Any]:
    held = await world.claim(offer, buyer_id)
    assert held.status_code == 201, held.text
    url = f"/v1/claims/{held.json()['claim_id']}"

    async def is_ordered() -> dict[str, Any] | None:
        seen: dict[str, Any] = (await world.http.get(url, headers=world.auth(buyer_id))).json()
        return seen if seen["ordered"] else None

    found: dict[str, Any] | None = await eventually(is_ordered)
    assert found is not None
    return found


async def _order(world: World, buyer_id: str, order_id: str) -> dict[str, Any]:
    answer = await world.http.get(f"/v1/orders/{order_id}", headers=world.auth(buyer_id))
    found: dict[str, Any] = answer.json()
    return found


async def test_claim_pay_refund(evening: World) -> None:
    world = evening
    offer = (await world.campaign(total=1))["offers"][0]
    seen = await _ordered(world, "mbr_seeded", offer)
    mine = world.auth("mbr_seeded", key="refund-it-all")
    pay_at = f"/v1/claims/{seen['claim_id']}/pay"
    foreign = await world.http.post(pay_at, headers=world.auth("mbr_other"))
    assert (foreign.status_code, foreign.json()["code"]) == (404, "claim_not_found")
    page = await world.http.post(pay_at, headers=mine)
    assert page.status_code == 200, page.text
    assert (await world.http.post(pay_at, headers=mine)).json() == page.json()
    assert (await world.claim(offer, "mbr_other")).json()["code"] == "sold_out"
    (await pay(page.json()["pay_url"])).raise_for_status()

    async def state() -> str:
        return str((await _order(world, "mbr_seeded", seen["order_id"]))["state"])

    await eventually(lambda: _is(state, "paid"))
    again = await world.http.post(pay_at, headers=mine)
    assert (again.status_code, again.json()["code"]) == (409, "not_payable")
    refund = await world.http.post(
        f"/v1/orders/{seen['order_id']}/refunds", json={"units": 1}, headers=mine
    )
    assert refund.status_code == 201, refund.text
    await eventually(lambda: _is(state, "refunded"))
    done = await world.http.get(f"/v1/refunds/{refund.json()['refund_id']}", headers=mine)
    assert done.json()["state"] == "done"

    async def back() -> bool:
        return (await world.claim(offer, "mbr_other", key="second-try")).status_code == 201

    await eventually(back)


async def _is(state: Any, wanted: str) -> bool:
    return bool(await state() == wanted)


async def test_forged_callbacks_change_nothing(evening: World) -> None:
    world = evening
    offer = (await world.campaign(total=1))["offers"][0]
    seen = await _ordered(world, "mbr_forged", offer)
    page = (
        await world.http.post(
            f"/v1/claims/{seen['claim_id']}/pay", headers=world.auth("mbr_forged")
        )
    ).json()
    body = (
        f'{{"attempt_id":"{page["attempt_id"]}","transaction_id":"txn-forged","amount_fen":1000,'
        f'"currency":"CNY","paid_at_ms":{now_ms()}}}'
    ).encode()
    key = derive_key(SECRET, PROVIDER_SERIAL)
    signed = sign(PROVIDER_SERIAL, key, body, now_ms=now_ms())
    stale = sign(PROVIDER_SERIAL, key, body, now_ms=now_ms() - 3_600_000)
    others = sign(PROVIDER_SERIAL, derive_key("x" * 20, PROVIDER_SERIAL), body, now_ms=now_ms())
    forged: list[tuple[bytes, dict[str, str]]] = [
        (body, {}),
        (body, stale),
        (body, others),
        (body + b" ", signed),
        (b"", signed),
    ]
    for path in ("/v1/payments/callback", "/v1/payments/callback/sandbox"):
        for raw, headers in forged:
            answer = await world.http.post(path, content=raw, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (401, "bad_signature")
    other = await world.http.post("/v1/payments/callback/elsewhere", content=body, headers=signed)
    assert (other.status_code, other.json()["code"]) == (404, "provider_not_found")
    order = await _order(world, "mbr_forged", seen["order_id"])
    assert (order["state"], order["paid_fen"]) == ("open", 0)
    nonsense = b'{"attempt_id": "1.0"}'
    answer = await world.http.post(
        "/v1/payments/callback",
        content=nonsense,
        headers=sign(PROVIDER_SERIAL, key, nonsense, now_ms=now_ms()),
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "bad_notification")


async def test_a_lapsed_claim_can_be_bought_again(evening: World) -> None:
    world = evening
    offer = (await world.campaign(total=1, hold_ms=300))["offers"][0]
    seen = await _ordered(world, "mbr_slow", offer)

    async def bought() -> bool:
        return (await world.claim(offer, "mbr_next")).status_code == 201

    await eventually(bought)
    lapsed = await world.http.get(f"/v1/claims/{seen['claim_id']}", headers=world.auth("mbr_slow"))
    assert lapsed.json()["state"] == "released"
