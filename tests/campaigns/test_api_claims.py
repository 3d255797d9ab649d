"""Claims over HTTP: what is answered, once per key, and what a claim becomes."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import select

from engine import keys
from engine.ids import now_ms, order_id_of
from engine.models import Incident, ShardEpoch
from tests.campaigns.orders import write_order
from tests.campaigns.server import HOUR_MS, World
from tests.waiting import eventually


async def _offer(api: World, **changes: Any) -> dict[str, Any]:
    published = await api.campaign(**changes)
    offer: dict[str, Any] = published["offers"][0]
    return offer


async def test_a_claim_is_held_and_a_repeat_answers_the_same(api: World) -> None:
    offer = await _offer(api)
    held = await api.claim(offer, "mbr_a")
    assert held.status_code == 201, held.text
    assert set(held.json()) == {"claim_id", "price_id", "price_fen", "expires_at_ms"}
    assert "idempotent-replay" not in held.headers
    again = await api.claim(offer, "mbr_a")
    assert (again.status_code, again.json()) == (201, held.json())
    assert again.headers["idempotent-replay"] == "true"


async def test_a_key_of_another_body_names_the_stored_claim(api: World) -> None:
    offer = await _offer(api)
    held = (await api.claim(offer, "mbr_a")).json()
    before = await api.dump()
    other = await api.claim(offer, "mbr_a", qty=2)
    assert other.status_code == 422
    assert (other.json()["code"], other.json()["claim_id"]) == ("key_reused", held["claim_id"])
    assert await api.dump() == before


async def test_a_thousand_requests_of_one_key_have_one_effect(api: World) -> None:
    offer = await _offer(api, total=50)
    answers = await api.race(offer, ["mbr_same"] * 1_000)
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replay" not in answer.headers for answer in answers) == 1
    hot = await api.inventory.offer_state(await _shard(api, offer), offer["offer_id"])
    assert (hot["held"], hot["available"]) == ("1", "49")


async def _shard(api: World, offer: dict[str, Any]) -> int:
    found = await asyncio.gather(
        *(api.inventory.offer_state(shard, offer["offer_id"]) for shard in range(4))
    )
    (shard,) = [shard for shard, state in enumerate(found) if state]
    return shard


async def test_many_buyers_get_exactly_the_stock(api: World) -> None:
    offer = await _offer(api, total=20)
    answers = await api.race(offer, [f"mbr_{n:04d}" for n in range(500)])
    words = [json.loads(answer.body).get("code", "held") for answer in answers]
    assert (words.count("held"), words.count("sold_out")) == (20, 480)
    seen = (await api.http.get(f"/v1/offers/{offer['offer_id']}")).json()
    stock = seen["availability"]
    assert (stock["state"], stock["available"], stock["held"]) == ("held", 0, 20)


async def test_refusals_say_why(api: World) -> None:
    offer = await _offer(api, total=3)
    too_many = (await api.claim(offer, "mbr_a", qty=3)).json()
    assert (too_many["code"], too_many["limit"], too_many["limit_max"]) == (
        "limit_reached",
        "order",
        2,
    )
    wrong = await api.claim(offer, "mbr_a", price_id="prc_of_yesterday")
    assert wrong.status_code == 409
    assert wrong.json()["code"] == "price_changed"
    assert (wrong.json()["price_id"], wrong.json()["price_fen"]) == (offer["price_ids"][0], 1_000)
    assert (await api.claim(offer, "mbr_a", qty=2)).status_code == 201
    again = (await api.claim(offer, "mbr_a", key="another-key")).json()
    assert (again["code"], again["limit"]) == ("limit_reached", "offer")
    assert (await api.claim(offer, "mbr_b", qty=2)).json()["code"] == "sold_out"


async def test_the_window_is_the_servers(api: World) -> None:
    starts = now_ms() + HOUR_MS // 2
    early = await _offer(api, starts_at_ms=starts)
    answer = (await api.claim(early, "mbr_a")).json()
    assert (answer["code"], answer["starts_at_ms"]) == ("not_open", starts)
    offer = await _offer(api)
    closed = await api.http.post(
        f"/v1/offers/{offer['offer_id']}/close",
        json={"reason": "wrong picture"},
        headers=api.auth("stf_hq", "hq", key="close-it-now"),
    )
    assert closed.json()["in_effect"] is True
    assert (await api.claim(offer, "mbr_a")).json()["code"] == "closed"


async def test_an_unknown_offer_is_missing(api: World) -> None:
    for offer_id in ("ofr_nothing", "x" * 200, "%00", "开团"):
        answer = await api.claim({"offer_id": offer_id, "price_ids": ["prc_1"]}, "mbr_a")
        assert (answer.status_code, answer.json()["code"]) == (404, "offer_not_found")


@pytest.mark.parametrize("suffix", ["", "/"])
async def test_the_framework_answers_other_spellings_alike(api: World, suffix: str) -> None:
    """A slash at the end goes through the framework: same decision, same shapes."""
    offer = await _offer(api)
    url = f"/v1/offers/{offer['offer_id']}/claims{suffix}"
    body = {"qty": 1, "price_id": offer["price_ids"][0]}
    held = await api.http.post(url, json=body, headers=api.auth("mbr_a", key="key-00001"))
    assert held.status_code == 201, held.text
    assert held.headers["content-type"] == "application/json"
    other = await api.http.post(
        url, json={**body, "qty": 2}, headers=api.auth("mbr_a", key="key-00001")
    )
    assert (other.status_code, other.headers["content-type"]) == (422, "application/problem+json")
    no_key = await api.http.post(url, json=body, headers=api.auth("mbr_a"))
    assert no_key.status_code == 400
    assert (await api.http.post(url, json=body)).status_code == 401


async def test_a_claim_is_ordered_once_its_order_is_committed(api: World) -> None:
    offer = await _offer(api)
    claim_id = (await api.claim(offer, "mbr_a")).json()["claim_id"]
    url, mine = f"/v1/claims/{claim_id}", api.auth("mbr_a")
    seen = (await api.http.get(url, headers=mine)).json()
    assert (seen["state"], seen["ordered"], seen["order_id"]) == ("held", False, None)
    await write_order(api, claim_id)
    await _settled(api, claim_id)
    seen = (await api.http.get(url, headers=mine)).json()
    assert (seen["ordered"], seen["order_id"]) == (True, order_id_of(claim_id))
    assert (await api.http.get(url, headers=api.auth("stf_hq", "hq"))).status_code == 200
    foreign = await api.http.get(url, headers=api.auth("mbr_b"))
    missing = await api.http.get(f"{url[:-1]}_", headers=mine)
    assert (foreign.status_code, foreign.json()) == (404, missing.json())
    # The hot store forgets a claim long after its end: the order still answers.
    await api.redis.delete(keys.claims(int(claim_id[5])) + claim_id)
    seen = (await api.http.get(url, headers=mine)).json()
    assert (seen["state"], seen["ordered"]) == ("held", True)
    assert (await api.http.get(url, headers=api.auth("mbr_b"))).status_code == 404


async def _settled(api: World, claim_id: str) -> None:
    shard, seq = int(claim_id[5]), int(claim_id.split("-")[3])
    assert (await api.inventory.settled(shard, seq, epoch=1)).what == "settled"


async def test_a_held_claim_can_be_let_go(api: World) -> None:
    offer = await _offer(api, total=1)
    claim_id = (await api.claim(offer, "mbr_a")).json()["claim_id"]
    url = f"/v1/claims/{claim_id}/cancel"
    assert (await api.http.post(url, headers=api.auth("mbr_b"))).status_code == 404
    for _ in range(2):
        answer = await api.http.post(url, headers=api.auth("mbr_a"))
        assert (answer.status_code, answer.json()["state"]) == (200, "released")
    assert (await api.claim(offer, "mbr_b")).status_code == 201


async def test_a_lost_claim_is_said_to_be_lost(api: World) -> None:
    lost = "clm-s1-e77-12-00000000000000aa"
    settled = "clm-s1-e77-9-00000000000000aa"
    async with api.db.begin() as session:
        session.add(ShardEpoch(shard=1, epoch=77, closed_at_ms=1, last_seq=10, reason="test"))
    for _ in range(2):
        answer = await api.http.get(f"/v1/claims/{lost}", headers=api.auth("mbr_a"))
        assert (answer.status_code, answer.json()["code"]) == (410, "claim_lost")
    known = await api.http.get(f"/v1/claims/{settled}", headers=api.auth("mbr_a"))
    assert known.status_code == 404
    async with api.db.begin() as session:
        rows = (await session.scalars(select(Incident).where(Incident.kind == "claim_lost"))).all()
    assert [(row.cause, row.detail["first_claim_id"]) for row in rows] == [
        ("claim_lost:1:77", lost)
    ]


async def test_a_sealed_shard_says_reopening_and_not_missing(api: World) -> None:
    offer = await _offer(api)
    held = (await api.claim(offer, "mbr_a")).json()
    shard = int(held["claim_id"][5])
    await api.wire.call("HSET", keys.meta(shard), "sealed", "test")
    try:
        refused = await api.claim(offer, "mbr_b")
        assert (refused.status_code, refused.json()["code"]) == (503, "reopening")
        assert int(refused.headers["retry-after"]) >= 1
        unknown = f"/v1/claims/clm-s{shard}-e1-99999-00000000000000aa"
        answer = await api.http.get(unknown, headers=api.auth("mbr_a"))
        assert (answer.status_code, answer.json()["code"]) == (503, "reopening")
        not_ready = await api.http.get("/readyz")
        assert not_ready.status_code == 503
        assert not_ready.json()["parts"][f"shard_{shard}"] is False
    finally:
        await api.wire.call("HSET", keys.meta(shard), "sealed", "")
    answer = await api.http.get(unknown, headers=api.auth("mbr_a"))
    assert answer.status_code == 404


async def test_a_shard_whose_settler_is_behind_is_busy(api: World) -> None:
    offer = await _offer(api)
    held = (await api.claim(offer, "mbr_a")).json()
    shard = int(held["claim_id"][5])
    # Make the oldest unsettled event old: the shard's stream gets one from yesterday in front.
    events = keys.events(shard, 1)
    entries = await api.redis.xrange(events)
    await api.redis.delete(events)
    for entry_id, fields in entries:
        fields[b"at_ms"] = b"1"
        ordered = {b"kind": fields.pop(b"kind"), b"at_ms": fields.pop(b"at_ms"), **fields}
        await api.redis.xadd(events, ordered, id=entry_id)
    meta = await api.inventory.hash_of(keys.meta(shard))
    await api.wire.call("HSET", keys.meta(shard), "settled_seq", 0, "waits_since_ms", 1)
    try:
        busy = await api.claim(offer, "mbr_b")
        assert (busy.status_code, busy.json()["code"]) == (503, "busy")
        assert "retry-after" in busy.headers
        stored = await api.claim(offer, "mbr_a")
        assert (stored.status_code, stored.json()) == (201, held)
    finally:
        await api.wire.call("HSET", keys.meta(shard), "settled_seq", meta["seq"])


async def test_a_token_that_was_good_a_moment_ago_expires(api: World) -> None:
    """The process knows it again, and still looks at the clock."""
    offer = await _offer(api)
    headers = {
        "Authorization": f"Bearer {api.token('mbr_short', for_ms=2_000)}",
        "Idempotency-Key": "key-short",
    }
    body = {"qty": 1, "price_id": offer["price_ids"][0]}
    url = f"/v1/offers/{offer['offer_id']}/claims"
    until = now_ms() + 2_000
    assert (await api.http.post(url, json=body, headers=headers)).status_code == 201
    await eventually(lambda: now_ms() > until)
    late = await api.http.post(url, json=body, headers=headers)
    assert (late.status_code, late.json()["code"]) == (401, "token_expired")


async def test_what_was_answered_from_memory_is_counted(api: World) -> None:
    offer = await _offer(api, total=1)
    assert (await api.claim(offer, "mbr_a")).status_code == 201

    async def from_memory() -> bool:
        assert (await api.claim(offer, "mbr_b")).json()["code"] == "sold_out"
        text = (await api.http.get("/metrics")).text
        lines = [one for one in text.splitlines() if one.startswith("kaituan_claims_from_memory")]
        return float(lines[0].split()[-1]) > 0

    await eventually(from_memory)
    assert (await api.claim(offer, "mbr_a")).headers["idempotent-replay"] == "true"
