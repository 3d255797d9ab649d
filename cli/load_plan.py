"""What each scenario of `kaituan load` puts on sale, and what Locust is told of it."""

from typing import Any

import msgspec

from cli.fresh import Fresh
from cli.tokens import sample_tokens
from engine.ids import now_ms
from loadtests.plan import Customer, LoadPlan

BOOT_MS = 3_000  # Locust takes about two seconds to come up
WORDS = {
    "flash_sale": "one unit of the hero offer for four of them",
    "room_crowd": "one unit of the hero offer for four of them",
    "team_rush": "two free seats for fifteen of them",
    "crowd_threshold": "one crowd with three steps",
}
BUYERS_PER_TEAM = 15
# A crowd's steps as shares of the users; about six of ten pay, fewer on a slow machine.
LADDER = ((0.05, 4_590), (0.1, 4_190), (0.3, 3_790))


async def load_plan(
    fresh: Fresh, scenario: str, users: int, seconds: int, seed: int, gather_ms: int
) -> LoadPlan:
    """Publish the sale over HTTP and write down what Locust is told.

    `gather_ms`: how long viewers take to come in before it.
    """
    work = fresh.supervisor.place.own_folder("load")
    tokens = await sample_tokens(fresh.settings, users)
    plan = LoadPlan(
        base_url=fresh.settings.public_url,
        hero_offer="",
        side_offer="",
        begins_at_ms=now_ms() + BOOT_MS + gather_ms,
        seconds=seconds,
        users_max=users,
        customers=tuple([Customer(one.buyer, one.token) for one in tokens]),
        history=str(work / "history"),
        result=str(work / "result.json"),
        seed=seed,
        scenario=scenario,
    )
    if scenario == "team_rush":
        teams = max(2, users // BUYERS_PER_TEAM)
        plan = msgspec.structs.replace(plan, captains=tuple([one.buyer for one in tokens[:teams]]))
    term_ms = min(10_000, max(1_500, seconds * 100))
    if scenario in ("team_rush", "crowd_threshold"):
        term_ms = min(10_000, seconds * 400)  # what is to be seen here are seats that are paid
    offers = await fresh.publish(
        {
            "name": "压测夜场",
            "starts_at_ms": plan.sale_starts_at_ms,
            "ends_at_ms": plan.sale_ends_at_ms,
            "per_campaign_max": 3,
            "hold_ms": term_ms,
            "pay_ms": term_ms,
            "offers": [{**offer, "per_buyer_max": 2} for offer in _offers(plan)],
        }
    )
    hero, side = offers[0]["offer_id"], offers[-1]["offer_id"]
    return msgspec.structs.replace(plan, hero_offer=hero, side_offer=side)


def _offers(plan: LoadPlan) -> list[dict[str, Any]]:
    users = plan.users_max
    seats = {"seat_qty": 1, "per_order_max": 1, "closing_max_ms": 5_000}
    match plan.scenario:
        case "team_rush":
            return [
                {
                    "sku_id": "SP1007",
                    "kind": "team",
                    "size": 3,
                    # Late payments may open new teams; stock is never what is short here.
                    "total": 3 * users,
                    "prices": [{"price_fen": 3_190}],
                    "term_ms": plan.sale_ends_at_ms - plan.sale_starts_at_ms,
                    "late": "new",
                    **seats,
                }
            ]
        case "crowd_threshold":
            return [
                {
                    "sku_id": "SP1008",
                    "kind": "crowd",
                    "total": users,
                    "steps": [
                        {"seats": max(2 + row, round(users * share)), "price_fen": fen}
                        for row, (share, fen) in enumerate(LADDER)
                    ],
                    "late": "seat",
                    **seats,
                }
            ]
        case _:
            return [
                {
                    "sku_id": sku_id,
                    "total": max(2, users // per_unit),
                    "prices": [{"price_fen": fen}],
                    "per_order_max": 2,
                }
                for sku_id, per_unit, fen in (("SP1001", 4, 3_990), ("SP1002", 3, 2_880))
            ]
