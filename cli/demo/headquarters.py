"""HQ's part of the evening, over HTTP: draft, review, publish, restock, and the figures."""

import json
import secrets
from typing import Any

from engine.ids import now_ms
from loadtests.lean import LeanClient

WINDOW_MS = 26_000
HOLD_MS = 6_000
PAY_MS = 7_000
HERO_SKU, SIDE_SKU = "SP1001", "SP1002"
HERO_UNITS, SIDE_UNITS, RESTOCK_UNITS = 40, 60, 8
SPLIT_PLAN = {
    "promoter_bps": 800,
    "upline_bps": 200,
    "store_bps": 1_000,
    "level_two": True,
    "cap_bps": 3_000,
}


class Refused(Exception):
    """HQ's request got another answer than the story needs."""


class Headquarters:
    """HQ's planner and reviewer, signed in."""

    def __init__(self, base_url: str) -> None:
        self._app = LeanClient(base_url)
        self._token = ""

    async def close(self) -> None:
        await self._app.close()

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = ""
    ) -> dict[str, Any]:
        """A JSON answer, or Refused with what the server said."""
        answer = await self._app.request(
            method,
            path,
            body=json.dumps(body).encode() if body is not None else b"",
            token=self._token,
            headers={"idempotency-key": key} if key else None,
        )
        document: dict[str, Any] = json.loads(answer.body or b"{}")
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {document}")
        return document

    async def sign_in(self, login: str, password: str) -> None:
        session = await self.ask(
            "POST", "/v1/sign-in/staff", {"login": login, "password": password}
        )
        self._token = session["access_token"]

    async def publish(self, draft: dict[str, Any]) -> list[dict[str, Any]]:
        """Draft, submit, approve and publish a campaign; the published offers."""
        campaign = await self.ask("POST", "/v1/campaigns", draft)
        path = f"/v1/campaigns/{campaign['id']}"
        await self.ask("POST", f"{path}/submit")
        await self.ask("POST", f"{path}/review", {"decision": "approve", "note": "价格已核对"})
        published = await self.ask("POST", f"{path}/publish")
        offers: list[dict[str, Any]] = published["offers"]
        return offers

    async def restock(self, offer_id: str, units: int) -> None:
        await self.ask(
            "POST",
            f"/v1/offers/{offer_id}/restock",
            {"units": units, "reason": "门店调拨"},
            key=f"restock-{secrets.token_hex(6)}",
        )

    async def stock(self, offer_id: str) -> dict[str, Any]:
        """The offer's availability as buyers see it."""
        view = await self.ask("GET", f"/v1/offers/{offer_id}")
        availability: dict[str, Any] = view["availability"]
        return availability

    async def balances(self) -> dict[str, int]:
        """Escrow, HQ, and the sums of promoters' and stores' balances, in fen."""
        page = await self.ask("GET", "/v1/balances")
        sums = {one["account"]: one["balance_fen"] for one in page["house"]}
        for one in page["accounts"]:
            kind = "promoters" if one["account"].startswith("promoter:") else "stores"
            sums[kind] = sums.get(kind, 0) + one["balance_fen"]
        return sums


def evening_draft(name: str, *, starts_at_ms: int, late: str, scale: float) -> dict[str, Any]:
    """An evening with a hero offer, whose price rises half-way, and a side offer."""
    return {
        "name": name,
        "starts_at_ms": starts_at_ms,
        "ends_at_ms": starts_at_ms + WINDOW_MS,
        "per_campaign_max": 3,
        "hold_ms": HOLD_MS,
        "pay_ms": PAY_MS,
        "late": late,
        "split_plan": SPLIT_PLAN,
        "offers": [
            {
                "sku_id": HERO_SKU,
                "total": max(1, round(HERO_UNITS * scale)),
                "prices": [
                    {"price_fen": 3_990},
                    {"price_fen": 4_290, "from_ms": starts_at_ms + WINDOW_MS // 2},
                ],
                "per_order_max": 2,
                "per_buyer_max": 2,
            },
            {
                "sku_id": SIDE_SKU,
                "total": max(1, round(SIDE_UNITS * scale)),
                "prices": [{"price_fen": 2_880}],
                "per_order_max": 2,
                "per_buyer_max": 2,
            },
        ],
    }


def soon(seconds: float) -> int:
    """A start time a little ahead."""
    return now_ms() + round(seconds * 1000)
