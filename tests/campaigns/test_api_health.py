"""Alive, ready, counted; and what a log line may hold."""

import re

from tests.campaigns.server import World


async def test_alive_and_ready(api: World) -> None:
    assert (await api.http.get("/healthz")).json() == {"alive": True}
    ready = (await api.http.get("/readyz")).json()
    assert ready["ready"] is True
    assert set(ready["parts"]) == {"database", "hot_store", *(f"shard_{n}" for n in range(4))}


async def test_counters_count(api: World) -> None:
    offer = (await api.campaign())["offers"][0]

    async def count(answer: str) -> float:
        text = (await api.http.get("/metrics")).text
        found = re.search(rf'kaituan_claims_total\{{.*answer="{answer}".*\}} ([0-9.]+)', text)
        return float(found[1]) if found else 0

    before = await count("held"), await count("stored"), await count("no_token")
    for _ in range(2):
        assert (await api.claim(offer, "mbr_counted")).status_code == 201
    await api.http.post(f"/v1/offers/{offer['offer_id']}/claims", json={})
    after = await count("held"), await count("stored"), await count("no_token")
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, 1]
    scraped = await api.http.get("/metrics")
    assert scraped.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = scraped.text
    assert "kaituan_claim_seconds_bucket" in text
    assert "kaituan_http_answers_total{" in text


async def test_logs_hold_no_token_and_no_phone(api: World) -> None:
    """S4: neither what went well nor a bug's trace shows them."""
    token = api.token("mbr_logged")
    headers = {"Authorization": f"Bearer {token}"}
    await api.http.post("/v1/sign-in/customer/code", json={"phone": "13912345678"})
    await api.http.get("/v1/orders", headers=headers)
    # A row that no code of ours writes makes a handler fail: the trace must not quote it.
    await api.redis.set("{s0}:claim:clm-s0-e1-1-00000000000000aa", "13912345678")
    broken = await api.http.get("/v1/claims/clm-s0-e1-1-00000000000000aa", headers=headers)
    await api.redis.delete("{s0}:claim:clm-s0-e1-1-00000000000000aa")
    assert (broken.status_code, broken.json()["code"]) == (500, "internal")
    assert "Traceback" not in broken.text
    text = "".join(api.log)
    assert broken.json()["reference"] in text
    for secret in (token, token.partition(".")[2], "13912345678", "12345678"):
        assert secret not in text
