"""Every route × every role × own and foreign object, generated from the API's own document.

A route that is added is tested without anybody thinking of it: whoever is not named in its
`security` gets 401 or 403 and changes nothing, and someone else's object is a missing one, word
for word.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from campaigns.problems import MEDIA_TYPE
from campaigns.refund.models import Refund
from engine.ids import new_id, now_ms
from engine.tokens import Role
from tests.campaigns.orders import write_paid_order
from tests.campaigns.server import World, draft

ROLES: tuple[Role, ...] = ("customer", "hq", "guide", "load")
BODIES: dict[str, dict[str, Any]] = {
    "CampaignIn": draft(),
    "ReviewIn": {"decision": "approve"},
    "CancelIn": {"note": "matrix"},
    "RestockIn": {"units": 1},
    "CloseIn": {"reason": "matrix"},
    "ClaimIn": {"qty": 1, "price_id": "prc_1"},
    "SeatIn": {"qty": 1, "price_id": "prc_1"},
    "SubsidyIn": {"seats": 1, "reason": "matrix"},
    "RefundIn": {"units": 1},
    "ReadyIn": {"offer_id": "none", "store_id": "none"},
    "PickUpStoreIn": {"store_id": "store_a"},
    "PickUpIn": {"code": "0000-0000-0000"},
    "StaffIn": {"login": "nobody", "password": "wrong password"},
    "PhoneIn": {"phone": "no phone"},
    "CodeIn": {"phone": "13800138000", "code": "000000"},
    "RoomIn": {"title": "晚八点", "store_id": "store_a", "starts_at_ms": 0},
    "ShelfIn": {"offers": []},
    "PinIn": {"offer_id": None},
    "LaunchIn": {"offer_id": "none", "countdown_ms": 0},
}
PATH_IDS = re.compile(r"\{(\w+)\}")


class Operation(NamedTuple):
    """One method of one path, as the document has it."""

    method: str
    path: str
    roles: tuple[str, ...]
    body: str | None

    def request(self, http: httpx.AsyncClient, ids: dict[str, str], **more: Any) -> Any:
        """A well-formed request with these path ids."""
        url = PATH_IDS.sub(lambda found: ids[found[1]], self.path)
        body = BODIES[self.body] if self.body else None
        return http.request(self.method, url, json=body, **more)


async def operations(api: World) -> list[Operation]:
    """All of them."""
    document = (await api.http.get("/schema/openapi.json")).json()
    return list(_walk(document))


def _walk(document: dict[str, Any]) -> Iterator[Operation]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            ways = operation.get("security", [])
            # `{}` among them: a sign-in is taken, and not asked for.
            roles = tuple(role for way in ways for role in way.get("bearer", ()) if {} not in ways)
            body = operation.get("requestBody")
            name = None
            if body:
                schema = body["content"]["application/json"]["schema"]
                name = schema["$ref"].rpartition("/")[2]
            yield Operation(method.upper(), path, roles, name)


async def test_every_route_refuses_whom_it_does_not_name(api: World) -> None:
    unknown = dict.fromkeys(("campaign_id", "offer_id", "claim_id", "order_id"), "none")
    unknown |= {"refund_id": "none", "from_provider": "none", "room_id": "none"}
    unknown["team_id"] = "none"
    guarded = [one for one in await operations(api) if one.roles]
    assert len(guarded) >= 20
    before = await api.dump()
    for operation in guarded:
        anonymous = await operation.request(api.http, unknown, headers={"Idempotency-Key": "k" * 9})
        assert anonymous.status_code == 401, operation
        for role in set(ROLES) - set(operation.roles):
            headers = api.auth("someone", role, key="key-of-matrix")
            answer = await operation.request(api.http, unknown, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed"), operation
            assert answer.headers["content-type"] == MEDIA_TYPE
    assert await api.dump() == before


@pytest.fixture
async def owned(api: World) -> dict[str, str]:
    """Objects of the customer mbr_owner: a held claim, a paid order, a refund of it."""
    offer = (await api.campaign())["offers"][0]
    claim = await api.claim(offer, "mbr_owner", key=new_id("key"))
    order_id = await write_paid_order(api, "mbr_owner", now_ms() % 1_000_000 + 1_000)
    refund_id = new_id("rfd")
    async with api.db.begin() as session:
        session.add(
            Refund(
                id=refund_id,
                payment_id=f"pay_of_{refund_id}",
                order_id=order_id,
                cause="late",
                amount_fen=100,
                state="due",
                requested_by="system",
                created_at_ms=now_ms(),
                next_at_ms=now_ms(),
            )
        )
    return {"claim_id": claim.json()["claim_id"], "order_id": order_id, "refund_id": refund_id}


async def test_someone_elses_object_is_a_missing_one(api: World, owned: dict[str, str]) -> None:
    missing = {
        "claim_id": owned["claim_id"][:-4] + "0000",
        "order_id": "ord-s0-e1-1-0000",
        "refund_id": "rfd_none",
    }
    personal = [
        one
        for one in await operations(api)
        if "customer" in one.roles and set(PATH_IDS.findall(one.path)) & owned.keys()
    ]
    assert {name for one in personal for name in PATH_IDS.findall(one.path)} == owned.keys()
    assert len(personal) >= 7
    before = await api.dump()
    headers = api.auth("mbr_stranger", key="key-of-stranger")
    for operation in personal:
        foreign = await operation.request(api.http, owned, headers=headers)
        nothing = await operation.request(api.http, missing, headers=headers)
        assert foreign.status_code == 404, (operation, foreign.text)
        assert foreign.json() == nothing.json(), operation
    assert await api.dump() == before


async def test_one_s_own_object_is_found(api: World, owned: dict[str, str]) -> None:
    mine = api.auth("mbr_owner")
    for path in ("claims/{claim_id}", "orders/{order_id}", "refunds/{refund_id}"):
        answer = await api.http.get("/v1/" + path.format(**owned), headers=mine)
        assert answer.status_code == 200, answer.text
    listed = (await api.http.get("/v1/orders?buyer_id=mbr_other", headers=mine)).json()["orders"]
    assert {order["order_id"] for order in listed} >= {owned["order_id"]}
    strangers = await api.http.get("/v1/orders?buyer_id=mbr_owner", headers=api.auth("mbr_x"))
    assert strangers.json() == {"orders": [], "next": None}


async def test_a_room_of_another_guide_is_a_missing_one(api: World) -> None:
    room = {"title": "晚八点", "store_id": "store_a", "starts_at_ms": now_ms()}
    made = await api.http.post("/v1/rooms", json=room, headers=api.guide("gd_wang"))
    hosts = [
        one for one in await operations(api) if "guide" in one.roles and "{room_id}" in one.path
    ]
    assert len(hosts) >= 6
    before = await api.dump()
    for operation in hosts:
        mine = {"room_id": made.json()["room_id"]}
        # A guide's account without a guide is nobody's host either.
        for headers in (api.guide("gd_li"), api.guide("")):
            foreign = await operation.request(api.http, mine, headers=headers)
            nothing = await operation.request(api.http, {"room_id": "rm_none"}, headers=headers)
            assert foreign.status_code == 404, (operation, foreign.text)
            assert foreign.json() == nothing.json(), operation
    assert await api.dump() == before
