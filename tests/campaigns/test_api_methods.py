"""Methods beside GET and POST, as monitors, proxies and app developers send them."""

import pytest

from tests.campaigns.server import World


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/offers"])
async def test_head_answers_as_get_without_a_body(api: World, path: str) -> None:
    got, head = await api.http.get(path), await api.http.head(path)
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_options_names_the_methods_to_anybody(api: World) -> None:
    for path, methods in (("/v1/offers", "GET"), ("/v1/offers/x/claims", "POST")):
        answer = await api.http.request("OPTIONS", path)
        assert answer.status_code == 204
        assert methods in answer.headers["allow"]


async def test_a_401_says_how_to_sign_in(api: World) -> None:
    for answer in (
        await api.http.get("/v1/orders"),
        await api.http.get("/v1/orders", headers={"Authorization": "Bearer forged"}),
        await api.http.post("/v1/offers/x/claims", json={}),
    ):
        assert answer.status_code == 401
        assert answer.headers.get_list("www-authenticate") == ["Bearer"]
