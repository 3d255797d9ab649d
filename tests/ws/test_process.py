"""The gateway's process: its port, its drain, its end when it cannot start."""

import asyncio
import signal
import sys

import httpx
import msgspec

from engine.settings import inherited_environ, to_environ
from tests.ws.client import watching
from tests.ws.stage import Stage, gateway_process, settings_for
from ws import close_codes


async def test_the_drain_says_when_to_come_back(stage: Stage) -> None:
    topic = await stage.room()
    async with gateway_process(stage.settings) as (process, port):
        url = f"ws://127.0.0.1:{port}/v1/live"
        token = stage.token([topic])
        async with watching(url, token, [topic]) as one, watching(url, token, [topic]) as two:
            await one.until("snapshot")
            await two.until("snapshot")
            process.send_signal(signal.SIGTERM)
            for viewer in (one, two):
                bye = await viewer.until("bye")
                assert bye["code"] == "restart"
                assert 0 <= bye["after_ms"] <= stage.settings.come_back_within_ms
                assert await viewer.until_closed() == close_codes.RESTART
        assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_the_port_answers_over_http(stage: Stage) -> None:
    topic = await stage.room()
    await stage.publish(topic, 3)
    settings = msgspec.structs.replace(stage.settings, metrics_token="a token")
    async with (
        stage.gateway(**msgspec.structs.asdict(settings)) as (_, url),
        httpx.AsyncClient(base_url=url.replace("ws", "http")[: -len("/v1/live")]) as http,
        watching(url, stage.token([topic]), [topic]) as one,
    ):
        await one.until_at(topic, 3)
        await one.until_at(topic, await stage.publish(topic, 5))
        assert (await http.get("/healthz")).text == "alive\n"
        assert (await http.get("/metrics")).status_code == 404
        bearer = {"Authorization": "Bearer a token"}
        text = (await http.get("/metrics", headers=bearer)).text
        assert "kaituan_gateway_viewers 1.0\n" in text
        assert "kaituan_gateway_deliveries_total 5.0\n" in text
        assert "kaituan_gateway_slow_closes_total 0.0\n" in text
        assert 'kaituan_gateway_delay_seconds_bucket{le="+Inf"} 1.0' in text
        assert (await http.get("/")).status_code == 404
        assert (await http.get("/v1/live")).status_code == 426


async def test_a_start_that_cannot_work_says_why(stage: Stage) -> None:
    for changes, says in (
        ({"token_secret": "short"}, "cannot sign"),
        ({"redis_url": "redis://127.0.0.1:1/0"}, "cannot be reached"),
        ({"redis_url": "http://127.0.0.1:1"}, "not one like redis://"),
    ):
        settings = settings_for(stage.settings.redis_url, start_wait_ms=300)
        settings = msgspec.structs.replace(settings, **changes)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ws.main", "--port", "0"),
            env={**inherited_environ(), **to_environ(settings)},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 3
        assert says in said.decode()
        assert "Traceback" not in said.decode()
