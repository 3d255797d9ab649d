"""The built pages and the demo's doors, over a real API, and what is served without a build."""

import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import msgspec
import pytest
import pytest_asyncio

from campaigns.pages import Pages, policy
from campaigns.room.doors import read_keys
from engine.settings import Settings
from engine.store import connect
from tests.campaigns.server import World, api_settings, running_world
from tests.campaigns.test_api_rooms import act, schedule
from tests.campaigns.test_api_strict import problem
from tests.conftest import DbUrls

SCRIPT = "console.log('开团');" * 200
DOORS = {
    "hq": {"login": "hq", "password": "invented"},
    "guides": [{"login": "g001", "password": "invented", "name": "夏予安"}],
    "customers": [{"phone": "19900000001", "nickname": "小熊"}],
}


def build(folder: Path, text: str = "<title>开团</title>") -> None:
    """A build as the pages' own would be."""
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "index.html").write_text(text)
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "assets" / "index-a1b2.js").write_text(SCRIPT)
    (folder / "docs" / "index.html").write_text("<title>API</title>")


@pytest_asyncio.fixture(scope="module")
async def site(
    valkey_url: str, module_db_urls: DbUrls, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, Path]]:
    """An API with built pages and with a demo's data folder."""
    folder = tmp_path_factory.mktemp("site")
    build(folder / "dist")
    (folder / "doors.json").write_bytes(msgspec.json.encode(DOORS))
    settings = api_settings(
        valkey_url, module_db_urls.app, pages_dir=str(folder / "dist"), data_dir=str(folder)
    )
    redis = connect(valkey_url)
    try:
        await redis.flushall()
        async with running_world(settings, redis) as world:
            await world.open_shards()
            await world.ready()
            yield world, folder
    finally:
        await redis.aclose()


async def test_one_page_answers_all_its_addresses(site: tuple[World, Path]) -> None:
    world, _ = site
    for path in ("/", "/r/rm_1", "/t/tem_1", "/t", "/o", "/desk", "/hq", "/hq/", "/r/rm_1/"):
        answer = await world.http.get(path)
        assert (answer.status_code, answer.text) == (200, "<title>开团</title>"), path
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        allowed = answer.headers["content-security-policy"]
        assert "default-src 'self'" in allowed
        assert "connect-src 'self' ws://127.0.0.1:8081" in allowed
        assert "script-src" not in allowed  # so scripts are 'self' only
    again = await world.http.get("/", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    head = await world.http.head("/desk")
    assert (head.status_code, head.content) == (200, b"")


async def test_assets_are_kept_and_squeezed(site: tuple[World, Path]) -> None:
    world, _ = site
    plain = await world.http.get("/assets/index-a1b2.js", headers={"Accept-Encoding": "identity"})
    assert plain.text == SCRIPT
    assert plain.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert plain.headers["content-type"].startswith("application/javascript")
    async with world.http.stream(
        "GET", "/assets/index-a1b2.js", headers={"Accept-Encoding": "gzip"}
    ) as squeezed:
        raw = b"".join([part async for part in squeezed.aiter_raw()])
    assert squeezed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw).decode() == SCRIPT
    assert (await world.http.get("/favicon.svg")).headers["cache-control"] == "no-cache"
    assert (await world.http.get("/docs")).text == "<title>API</title>"


async def test_nothing_else_is_served(site: tuple[World, Path]) -> None:
    world, folder = site
    (folder / "dist" / "link.txt").symlink_to(folder / "doors.json")
    for path in ("/assets/none.js", "/doors.json", "/link.txt", "/../doors.json", "/rooms", "/-"):
        problem(await world.http.get(path), 404, "route_not_found")
    raw = httpx.URL(str(world.http.base_url) + "/%2e%2e/doors.json")
    assert (await world.http.get(raw)).status_code == 404
    problem(await world.http.post("/", json={}), 404, "route_not_found")


async def test_a_newer_build_is_seen(site: tuple[World, Path]) -> None:
    world, folder = site
    (folder / "dist" / "assets" / "index-c3d4.js").write_text("new")
    build(folder / "dist", "<title>newer</title>")
    os.utime(folder / "dist" / "index.html", ns=(1, 1))
    assert (await world.http.get("/assets/index-c3d4.js")).text == "new"
    assert (await world.http.get("/")).text == "<title>newer</title>"
    build(folder / "dist")


def test_production_has_no_docs_and_calls_no_sandbox(tmp_path: Path) -> None:
    build(tmp_path)
    production = Settings(pages_dir=str(tmp_path), provider_url="http://127.0.0.1:8090")
    pages = Pages(production)
    assert pages.find("/docs", {}) is None
    assert pages.find("/docs/index.html", {}) is None
    assert pages.find("/desk", {}) is not None
    assert "8090" not in policy(production)
    assert "8090" in policy(msgspec.structs.replace(production, mode="development"))


async def test_the_demos_doors(site: tuple[World, Path]) -> None:
    world, _ = site
    await schedule(world)
    live = (await schedule(world))["room_id"]
    await act(world, live, "live")
    ended = (await schedule(world))["room_id"]
    await act(world, ended, "end")
    answer = await world.http.get("/v1/demo/doors")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["rooms"][0], len(found["rooms"])) == (live, 2)
    assert {name: found[name] for name in DOORS} == DOORS


def test_no_demo_no_doors(tmp_path: Path) -> None:
    assert read_keys(Settings(mode="development", data_dir=str(tmp_path))) is None
    (tmp_path / "doors.json").write_bytes(msgspec.json.encode(DOORS))
    assert read_keys(Settings(mode="development", data_dir=str(tmp_path))) is not None
    assert read_keys(Settings(mode="production", data_dir=str(tmp_path))) is None
    (tmp_path / "doors.json").write_text("{")
    assert read_keys(Settings(mode="development", data_dir=str(tmp_path))) is None
