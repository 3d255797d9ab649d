"""HQ's part of the evening, over HTTP: draft, review, publish, restock, and the figures."""

import secrets
from collections.abc import Sequence
from typing import Any

from cli.demo.staff import StaffClient
from cli.shop import Host
from engine.ids import now_ms

WINDOW_MS = 26_000
HOLD_MS = 6_000
PAY_MS = 7_000
HERO_SKU, SIDE_SKU = "SP1001", "SP1002"
FLASH_SKU = "SP1003"  # launched by the host in the visitors' room
VISITORS_MS = 12 * 3_600_000
VISITORS, VISITORS_TEAM_MS = 60, 3_600_000
PAIR_SKU, TRIO_SKU, CROWD_SKU = "SP1006", "SP1007", "SP1008"
GROUP_SKUS = (PAIR_SKU, TRIO_SKU, CROWD_SKU)
PAIR_TERM_MS, TRIO_TERM_MS, CLOSING_MAX_MS = 14_000, 16_000, 8_000
HERO_UNITS, SIDE_UNITS, RESTOCK_UNITS = 40, 60, 8
SPLIT_PLAN = {
    "promoter_bps": 800,
    "upline_bps": 200,
    "store_bps": 1_000,
    "level_two": True,
    "cap_bps": 3_000,
}


class Headquarters(StaffClient):
    """HQ's planner and reviewer, signed in."""

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

    async def subsidise(self, team_id: str) -> None:
        """The merchant takes one seat of a team that lacks it."""
        await self.ask(
            "POST",
            f"/v1/teams/{team_id}/subsidise",
            {"seats": 1, "reason": "商家补位"},
            key=f"subsidy-{secrets.token_hex(6)}",
        )

    async def stock(self, offer_id: str) -> dict[str, Any]:
        """The offer's availability as buyers see it."""
        view = await self.ask("GET", f"/v1/offers/{offer_id}")
        availability: dict[str, Any] = view["availability"]
        return availability

    async def schedule_room(
        self, title: str, host: Host, offers: Sequence[str], starts_at_ms: int
    ) -> str:
        """The id of a new room with these offers on its shelf."""
        body = {
            "title": title,
            "store_id": host.store_id,
            "host_guide_id": host.guide_id,
            "starts_at_ms": starts_at_ms,
            "offers": list(offers),
        }
        room: dict[str, Any] = await self.ask("POST", "/v1/rooms", body)
        room_id: str = room["room_id"]
        return room_id

    async def end_rooms(self) -> None:
        """End the rooms that an earlier demo on the same data left open."""
        for room in (await self.ask("GET", "/v1/rooms"))["rooms"]:
            if room["state"] != "ended":
                await self.ask("POST", f"/v1/rooms/{room['room_id']}/end")

    async def balances(self) -> dict[str, int]:
        """Escrow, HQ, and the sums of promoters' and stores' balances, in fen."""
        page = await self.ask("GET", "/v1/balances")
        sums = {one["account"]: one["balance_fen"] for one in page["house"]}
        for one in page["accounts"]:
            kind = "promoters" if one["account"].startswith("promoter:") else "stores"
            sums[kind] = sums.get(kind, 0) + one["balance_fen"]
        return sums


def evening_draft(
    name: str, *, starts_at_ms: int, late: str, scale: float, guests: int = 0
) -> dict[str, Any]:
    """An evening with a hero offer, whose price rises half-way, and a side offer.

    With `guests` there are group buys for so many customers, too.
    """
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
            *(group_offers(guests) if guests else ()),
        ],
    }


def group_offers(
    guests: int,
    *,
    terms_ms: tuple[int, int] = (PAIR_TERM_MS, TRIO_TERM_MS),
    closing_max_ms: int = CLOSING_MAX_MS,
) -> list[dict[str, Any]]:
    """Teams of two and of three, and a crowd whose ladder has three steps.

    Whoever pays late lands in a team of their own at worst (pairs), or in their seat (trios).
    """
    seats = {"seat_qty": 1, "closing_max_ms": closing_max_ms, "per_order_max": 1}
    seats["per_buyer_max"] = 2
    # About as many of the crowd's seats are paid as a third of the guests.
    ladder = ((0.05, 4_590), (0.12, 4_190), (0.2, 3_790))
    return [
        {
            "sku_id": PAIR_SKU,
            "kind": "team",
            "size": 2,
            "total": 2 * guests,
            "prices": [{"price_fen": 2_990}],
            "captain_price_fen": 2_790,
            "term_ms": terms_ms[0],
            "late": "new",
            **seats,
        },
        {
            "sku_id": TRIO_SKU,
            "kind": "team",
            "size": 3,
            "total": 3 * guests,
            "prices": [{"price_fen": 3_190}],
            "term_ms": terms_ms[1],
            "subsidy_max": 3,
            "late": "seat",
            **seats,
        },
        {
            "sku_id": CROWD_SKU,
            "kind": "crowd",
            "total": guests,
            "steps": [
                {"seats": max(2 + row, round(guests * share)), "price_fen": fen}
                for row, (share, fen) in enumerate(ladder)
            ],
            "late": "seat",
            **seats,
        },
    ]


def soon(seconds: float) -> int:
    """A start time a little ahead."""
    return now_ms() + round(seconds * 1000)


def visitors_draft(name: str) -> dict[str, Any]:
    """For those who open the doors after the evening: two offers on sale for hours, a flash that
    the guide launches from the desk, teams and a crowd."""
    begins = now_ms() + 1_000
    limits = {"per_order_max": 2, "per_buyer_max": 4}
    return {
        "name": name,
        "starts_at_ms": begins,
        "ends_at_ms": begins + VISITORS_MS,
        "per_campaign_max": 20,
        "hold_ms": 120_000,
        "pay_ms": 300_000,
        "late": "refund",
        "split_plan": SPLIT_PLAN,
        "offers": [
            {"sku_id": HERO_SKU, "total": 300, "prices": [{"price_fen": 3_990}], **limits},
            {"sku_id": SIDE_SKU, "total": 200, "prices": [{"price_fen": 2_880}], **limits},
            {
                "sku_id": FLASH_SKU,
                "total": 60,
                "prices": [{"price_fen": 1_490}],
                "launch": "host",
                "duration_ms": 10 * 60_000,
                **limits,
            },
            *group_offers(
                VISITORS, terms_ms=(VISITORS_TEAM_MS, VISITORS_TEAM_MS), closing_max_ms=60_000
            ),
        ],
    }
