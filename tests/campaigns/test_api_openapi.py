"""The document describes every route, and only what is so."""

from typing import Any

import pytest
from litestar.routes import HTTPRoute

from campaigns.app import create_framework
from campaigns.parts import open_parts
from tests.campaigns.server import World


async def _document(api: World) -> dict[str, Any]:
    answer = await api.http.get("/schema/openapi.json")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_every_route_is_described(api: World) -> None:
    document = await _document(api)
    schemes = document["components"]["securitySchemes"]
    seen = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            at = f"{method} {path}"
            assert operation["summary"], at
            assert operation["tags"], at
            assert operation.get("description"), at
            statuses = operation["responses"].keys()
            assert any(status.startswith("2") for status in statuses), at
            assert "400" in statuses, at
            for way in operation.get("security", []):
                assert way.keys() <= schemes.keys(), at
            if operation.get("security") and {} not in operation["security"]:
                assert {"401", "403"} <= statuses, at
            for status, response in operation["responses"].items():
                assert response["description"], at
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"], (at, status)
            seen += 1
    async with open_parts(api.settings) as parts:  # no warning of the framework either
        framework = create_framework(parts)
    routes = [route for route in framework.routes if not route.path.startswith("/schema")]
    declared = sum(
        len(set(route.methods) - {"OPTIONS"}) for route in routes if isinstance(route, HTTPRoute)
    )
    assert (seen, len(document["paths"])) == (declared, len(routes))


async def test_no_schema_takes_anything(api: World) -> None:
    """`oneOf` with an empty schema refuses what is right: it fits that one, too."""
    found = []

    def walk(at: str, node: Any) -> None:
        if isinstance(node, dict):
            if {} in node.get("oneOf", []) or {} in node.get("anyOf", []):
                found.append(at)
            for name, inner in node.items():
                walk(f"{at}/{name}", inner)
        elif isinstance(node, list):
            for number, inner in enumerate(node):
                walk(f"{at}/{number}", inner)

    walk("", await _document(api))
    assert found == []


@pytest.mark.parametrize("what", ["claims", "seats"])
async def test_the_hot_routes_are_in_it(api: World, what: str) -> None:
    operation = (await _document(api))["paths"][f"/v1/offers/{{offer_id}}/{what}"]["post"]
    assert operation["responses"].keys() >= {"201", "404", "409", "413", "422", "503"}
    assert operation["security"] == [{"bearer": ["customer"]}]
    header = [one for one in operation["parameters"] if one["in"] == "header"]
    assert [(one["name"], one["required"]) for one in header] == [("Idempotency-Key", True)]
    assert "Idempotent-Replay" in operation["responses"]["201"].get("headers", {})


async def test_no_page_loads_anything_from_elsewhere(api: World) -> None:
    for path in ("/schema", "/schema/swagger", "/schema/redoc", "/schema/elements"):
        answer = await api.http.get(path)
        assert "html" not in answer.headers["content-type"]
