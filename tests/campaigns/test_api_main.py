"""The process: refuses a start in one sentence, drains on SIGTERM, waits for stores."""

import asyncio
import os
import signal
import sys
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from cli.embedded.postgres import APP
from engine.settings import inherited_environ, to_environ
from tests.campaigns.server import api_settings, running_world, start_api
from tests.conftest import DbUrls, Servers
from tests.waiting import eventually


async def _refusal(**changes: Any) -> str:
    """What a process that must refuse to start says."""
    settings = api_settings(changes.pop("redis_url"), changes.pop("database_url"), **changes)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "campaigns.main", "--port", "0"),
        env={**inherited_environ(), **to_environ(settings)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3, said
    return said.decode().splitlines()[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token_secret": ""}, "KAITUAN_TOKEN_SECRET"),
        ({"token_secret": "short"}, "KAITUAN_TOKEN_SECRET cannot sign"),
        ({"phone_secret": "", "sandbox_secret": ""}, "KAITUAN_PHONE_SECRET, KAITUAN_SANDBOX"),
        (
            {"redis_url": "redis://127.0.0.1:9/0", "start_wait_ms": 300},
            "hot store or queue cannot be",
        ),
        (
            {"database_url": "postgresql://a:b@127.0.0.1:9/x", "start_wait_ms": 300},
            "PostgreSQL cannot be reached",
        ),
    ],
)
async def test_a_start_is_refused_in_a_sentence(
    changes: dict[str, Any], words: str, valkey_url: str, db_urls: DbUrls
) -> None:
    given = {"redis_url": valkey_url, "database_url": db_urls.app, **changes}
    said = await _refusal(**given)
    assert words in said
    assert "Traceback" not in said


async def test_an_empty_database_is_named(servers: Servers, valkey_url: str, hot: Redis) -> None:
    empty = servers.postgres.url_of(APP, "postgres")
    assert "kaituan migrate" in await _refusal(redis_url=valkey_url, database_url=empty)


async def test_a_taken_port_is_named(valkey_url: str, db_urls: DbUrls) -> None:
    async with asyncio.timeout(60):
        taken = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
        port = taken.sockets[0].getsockname()[1]
        settings = api_settings(valkey_url, db_urls.app)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "campaigns.main", "--port", str(port)),
            env={**inherited_environ(), **to_environ(settings)},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        taken.close()
        await taken.wait_closed()
    assert process.returncode == 3
    assert f"127.0.0.1:{port} cannot be used" in said.decode()


async def test_requests_under_way_are_finished(
    hot: Redis, valkey_url: str, db_urls: DbUrls
) -> None:
    """SIGTERM while a sign-in hashes its password: the answer comes, then the process ends."""
    settings = api_settings(valkey_url, db_urls.app)
    async with running_world(settings, hot) as world:
        await world.open_shards()
        await world.ready()
        body = {"login": "nobody", "password": "anything"}
        asked = asyncio.create_task(world.http.post("/v1/sign-in/staff", json=body))
        await asyncio.sleep(0.02)
        os.kill(world.process.pid, signal.SIGTERM)
        assert (await asked).status_code == 401
        assert await asyncio.wait_for(world.process.wait(), 20) == 0
        with pytest.raises(httpx.TransportError):
            await world.http.get("/healthz")
        await eventually(lambda: any("drained" in line for line in world.log))


async def test_metrics_are_closed_in_production(
    hot: Redis, valkey_url: str, db_urls: DbUrls
) -> None:
    """Without a token the address does not exist; with one it asks for it. The document is HQ's."""
    production = {"mode": "production", "shards": 1}
    settings = api_settings(valkey_url, db_urls.app, **production)
    async with running_world(settings, hot) as world:
        assert (await world.http.get("/metrics")).json()["code"] == "route_not_found"
        assert (await world.http.get("/schema/openapi.json")).status_code == 401
        hq = world.auth("stf_hq", "hq")
        assert (await world.http.get("/schema/openapi.json", headers=hq)).status_code == 200
        code = await world.http.post("/v1/sign-in/customer/code", json={"phone": "13800138000"})
        assert (code.status_code, code.json()["code"]) == (503, "no_text_messages")
    settings = api_settings(valkey_url, db_urls.app, metrics_token="monitor", **production)
    process, port = await start_api(settings)
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30
        ) as http:
            assert (await http.get("/metrics")).status_code == 401
            right = {"Authorization": "Bearer monitor"}
            assert (await http.get("/metrics", headers=right)).status_code == 200
    finally:
        process.terminate()
        await process.communicate()
