"""A store goes away under a running API: what still works, what is said, and that it comes back."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from cli.embedded.postgres import APP, OWNER, PostgresServer, start_postgres
from cli.embedded.valkey import ValkeyServer, start_valkey
from cli.migrate import migrate
from cli.place import Place
from engine.store import connect
from tests.campaigns.server import World, api_settings, running_world
from tests.campaigns.test_api_strict import problem
from tests.waiting import eventually

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def own_valkey(own_place: Place) -> AsyncIterator[ValkeyServer]:
    """A hot store of this test's own."""
    server = await asyncio.to_thread(start_valkey, own_place)
    yield server
    await asyncio.to_thread(server.stop)


@pytest_asyncio.fixture
async def own_postgres(own_place: Place) -> AsyncIterator[PostgresServer]:
    """A migrated database of this test's own."""
    server = await asyncio.to_thread(start_postgres, own_place)
    await asyncio.to_thread(migrate, server.url_of(OWNER))
    yield server
    await asyncio.to_thread(server.stop)


@pytest_asyncio.fixture
async def world(own_valkey: ValkeyServer, own_postgres: PostgresServer) -> AsyncIterator[World]:
    """An API on these servers, with open shards."""
    redis = connect(own_valkey.url)
    try:
        settings = api_settings(own_valkey.url, own_postgres.url_of(APP))
        async with running_world(settings, redis) as running:
            await running.open_shards()
            await running.ready()
            yield running
    finally:
        await redis.aclose()


async def test_claims_need_no_database(world: World, own_postgres: PostgresServer) -> None:
    offer = (await world.campaign())["offers"][0]
    assert (await world.claim(offer, "mbr_a")).status_code == 201
    await asyncio.to_thread(own_postgres.kill)
    held = await world.claim(offer, "mbr_b")
    assert held.status_code == 201, held.text
    unknown = await world.claim({**offer, "offer_id": "ofr_new"}, "mbr_b")
    problem(unknown, 503, "busy")
    orders = await world.http.get("/v1/orders", headers=world.auth("mbr_b"))
    problem(orders, 503, "busy")
    assert "retry-after" in orders.headers
    own = f"/v1/claims/{held.json()['claim_id']}"
    seen = await world.http.get(own, headers=world.auth("mbr_b"))
    assert (seen.status_code, seen.json()["ordered"]) == (200, False)  # known not to be settled
    assert (await world.http.get("/healthz")).status_code == 200
    not_ready = problem(await world.http.get("/readyz"), 503, "not_ready")
    assert [part for part, fine in not_ready["parts"].items() if not fine] == ["database"]
    await asyncio.to_thread(own_postgres.restart)
    await world.ready()
    orders = await world.http.get("/v1/orders", headers=world.auth("mbr_b"))
    assert orders.status_code == 200, orders.text


async def test_without_the_hot_store_claims_wait(world: World, own_valkey: ValkeyServer) -> None:
    offer = (await world.campaign())["offers"][0]
    held = await world.claim(offer, "mbr_a")
    assert held.status_code == 201
    await asyncio.to_thread(own_valkey.kill)

    async def refused() -> httpx.Response | None:
        answer = await world.claim(offer, "mbr_b")
        return answer if answer.status_code == 503 else None

    answer: httpx.Response | None = await eventually(refused)
    assert answer is not None
    problem(answer, 503, "reopening")
    listed = await world.http.get(f"/v1/offers/{offer['offer_id']}")
    assert (listed.status_code, listed.json()["availability"]["live"]) == (200, False)
    own = f"/v1/claims/{held.json()['claim_id']}"
    problem(await world.http.get(own, headers=world.auth("mbr_a")), 503, "reopening")
    await asyncio.to_thread(own_valkey.restart)
    # Another life of the server: only the settler may open its shards again.
    not_ready = problem(await world.http.get("/readyz"), 503, "not_ready")
    assert not_ready["parts"]["database"] is True
    problem(await world.claim(offer, "mbr_b"), 503, "reopening")
