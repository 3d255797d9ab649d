"""The ten rules that nothing may bend, each by its number, over the whole running house.

Each is shown once, as its people meet it, over HTTP; what races, kills and seeds make of it is
tested beside the code. The audit is held to all of them at the end.
"""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from cli.demo.staff import Refused
from engine.ids import now_ms
from tests.system.house import HOUR_MS, House, kaituan
from tests.system.teams import (
    each,
    lawful,
    opened,
    page_of,
    paid_up,
    pay,
    seated,
    switches,
    team,
    team_sale,
    until_claims,
    until_closed,
    until_money,
    until_team,
)
from tests.waiting import eventually

pytestmark = pytest.mark.slow

GROUP_SKU = "SP1030"  # nothing else in these tests sells it, so that no price is in the way
SHELF, MALL = "399.00", "369.00"


async def refused(house: House, sku_id: str, **offer: Any) -> str:
    """Why HQ may not publish it."""
    with pytest.raises(Refused) as told:
        await house.sale(6, offer={"sku_id": sku_id, **offer})
    return str(told.value)


async def test_must_1_prices_keep_their_order(house: House) -> None:
    kinds: dict[str, dict[str, Any]] = {
        "regular": {"kind": "regular", "prices": [{"price_fen": 30_000}]},
        "team": {
            **{"kind": "team", "size": 2, "term_ms": HOUR_MS},
            "prices": [{"price_fen": 29_000}],
        },
        "crowd": {"kind": "crowd", "prices": [], "steps": [{"seats": 2, "price_fen": 28_000}]},
    }
    sales = {
        kind: await house.sale(6, offer={"sku_id": GROUP_SKU, **offer})
        for kind, offer in kinds.items()
    }
    team_at = {**kinds["team"], "prices": [{"price_fen": 30_000}]}
    assert sales["regular"].offer_id in await refused(house, GROUP_SKU, **team_at)
    crowd_at = {**kinds["crowd"], "steps": [{"seats": 2, "price_fen": 29_000}]}
    assert sales["team"].offer_id in await refused(house, GROUP_SKU, **crowd_at)
    low = {**kinds["regular"], "prices": [{"price_fen": 28_500}]}
    assert sales["team"].offer_id in await refused(house, GROUP_SKU, **low)
    for price_fen in (36_900, 39_900):  # flash stands outside the order, below mall and shelf
        told = await refused(house, GROUP_SKU, prices=[{"price_fen": price_fen}])
        assert "price_fen" in told, told
    await house.sale(6, offer={"sku_id": GROUP_SKU, "prices": [{"price_fen": 27_000}]})
    rows = f"商品编码,商品名称,门店价,商城价\n{GROUP_SKU},陶瓷餐具 16 件,{SHELF},"
    import_file = Path(house.history) / "skus.csv"
    import_file.write_text(rows + "299.00\n")
    told_import = await kaituan(house.environ, "import", str(import_file))
    assert told_import.code != 0, told_import.text
    assert sales["regular"].offer_id in told_import.text
    assert await house.scalar("SELECT mall_price_fen FROM skus WHERE id = $1", GROUP_SKU) == 36_900


@pytest.mark.parametrize("kind", ["regular", "team", "crowd"])
@pytest.mark.parametrize("extra", ["coupons", "points"])
async def test_must_2_group_buys_take_no_coupon_and_earn_no_points(
    house: House, kind: str, extra: str
) -> None:
    rules: dict[str, dict[str, Any]] = {
        "regular": {},
        "team": {"size": 3, "term_ms": HOUR_MS},
        "crowd": {"prices": [], "steps": [{"seats": 2, "price_fen": 1_000}]},
    }
    assert extra in await refused(house, "SP1029", kind=kind, **rules[kind], **{extra: True})


async def test_must_3_no_timer_starts_ends_or_prices_a_sale(house: House) -> None:
    began = now_ms()
    boundaries = starts, rises, ends = began + 1_500, began + 3_000, began + 4_500
    offer = {"prices": [{"price_fen": 3_990}, {"price_fen": 4_290, "from_ms": rises}]}
    sale = await house.sale(20, starts_at_ms=starts, ends_at_ms=ends, offer=offer)
    seen: list[tuple[int, str]] = []  # how many boundaries lay behind, and the answer
    with house.frozen("worker"):  # whatever a timer would have to do is not done
        while now_ms() < ends + 300:
            name = f"must3_{len(seen)}"
            asked = now_ms()
            _, told = await house.buyer(name).try_claim(
                sale.offer_id, sale.price_id, key=f"key-{name}"
            )
            answered, what = now_ms(), told.get("code", "held")
            if not any(asked <= at + 1 and at - 1 <= answered for at in boundaries):
                seen.append((sum(at < asked for at in boundaries), what))
            await asyncio.sleep(0.1)
    assert sorted(set(seen)) == [(0, "not_open"), (1, "held"), (2, "price_changed"), (3, "closed")]


async def test_must_4_seats_are_held_before_payment(house: House) -> None:
    sale = await team_sale(house, 30)
    captain = await opened(house, sale, "must4_captain")
    await paid_up(house, await seated(house, sale, "must4_second", captain.team_id))
    answers = await each(
        *(
            house.buyer(f"must4_{n}").seat(
                sale.offer_id, sale.price_id, captain.team_id, key=f"key-must4-{n}"
            )
            for n in range(24)
        )
    )
    assert sorted(told.get("code", "held") for _, told in answers) == ["held"] + ["team_full"] * 23
    counts = await team(house, sale, captain.team_id)
    assert (counts["held"], counts["paid"], counts["state"]) == ("1", "2", "forming")


async def test_must_5_late_lands_as_declared_and_delayed_is_not_late(house: House) -> None:
    retake = await house.sale(5, pay_ms=1_500, late="retake")
    sale = await team_sale(house, 30, offer={"late": "seat"})
    quick = await team_sale(house, 30, pay_ms=1_500, offer={"late": "seat"})
    captain = await opened(house, sale, "must5_captain")
    late_captain = await opened(house, quick, "must5_first")
    delayed = await page_of(house, await seated(house, sale, "must5_delayed", captain.team_id))
    late = await page_of(house, await seated(house, quick, "must5_late", late_captain.team_id))
    buyer = house.buyer("must5_retake")
    status, claim = await buyer.try_claim(retake.offer_id, retake.price_id, key="key-must5-retake")
    assert status == 201, claim
    page = await buyer.begin_pay(claim["claim_id"])
    assert page is not None
    await pay(house, delayed, "delayed")
    await until_closed(house, [late])
    await until_state(house, "must5_retake", claim["claim_id"], "released")
    await pay(house, late, "paid_after_close")
    assert await buyer.pay(page, claim["claim_id"], ("paid_after_close",))
    await until_claims(house, [delayed.seat, late.seat], "paid")
    await until_state(house, "must5_retake", claim["claim_id"], "paid")
    for one, where in ((delayed.seat, captain), (late.seat, late_captain)):
        await until_money(house, one, "paid", where.team_id)


async def until_state(house: House, name: str, claim_id: str, state: str) -> None:
    """Wait until this claim is so."""

    async def is_so() -> bool:
        assert (await house.buyer(name).look(claim_id))["state"] == state
        return True

    await eventually(is_so, every_s=0.2, within_s=60)


async def test_must_6_a_failed_team_pays_each_member_back_once(house: House) -> None:
    sale = await team_sale(house, 12, offer={"term_ms": 3_000, "late": "refund"})
    first = await opened(house, sale, "must6_captain")
    second = await paid_up(house, await seated(house, sale, "must6_second", first.team_id))
    await switches(house, failing={"count": 2, "operations": ["refund"]})
    try:
        await until_team(house, sale, first.team_id, "failed")
        for seat in (first, second):
            await until_money(house, seat, "refunded", first.team_id, "team_failed")
    finally:
        await switches(house)
    stock = await house.stock(sale)
    assert (stock["available"], stock["held"], stock["sold"]) == (12, 0, 0)


async def test_must_7_only_labelled_seats_within_a_budget_have_no_member(house: House) -> None:
    sale = await team_sale(house, 30, offer={"size": 2, "subsidy_max": 1})
    first, other = await each(
        opened(house, sale, "must7_first"), opened(house, sale, "must7_other")
    )
    await house.fresh.hq.subsidise(first.team_id)
    await until_team(house, sale, first.team_id, "formed")
    with pytest.raises(Refused, match="budget"):
        await house.fresh.hq.subsidise(other.team_id)
    shown = await house.fresh.hq.ask("GET", f"/v1/teams/{first.team_id}")
    assert (shown["subsidy"], shown["paid"], len(shown["members"])) == (1, 1, 1), shown

    async def in_the_books() -> bool:
        posted = "SELECT count(*) FROM ledger_transactions WHERE reference LIKE 'subsidy:%'"
        return bool(await house.scalar(posted) >= 1)

    await eventually(in_the_books)


async def test_must_8_limits_are_held_in_the_same_step(house: House) -> None:
    sale = await house.sale(50, per_order_max=2, per_buyer_max=3)
    buyer = "must8"
    answers = await each(
        *(
            house.buyer(buyer).try_claim(
                sale.offer_id, sale.price_id, key=f"key-must8-{n}", qty=1 + n % 2
            )
            for n in range(12)
        )
    )
    held = sum(1 + n % 2 for n, (status, _) in enumerate(answers) if status == 201)
    assert held <= 3
    assert {told["code"] for status, told in answers if status != 201} == {"limit_reached"}
    assert (await house.stock(sale))["held"] == held
    status, told = await house.buyer(buyer).try_claim(
        sale.offer_id, sale.price_id, key="key-must8-order", qty=3
    )
    assert (status, told["limit"]) == (409, "order")


async def test_must_9_there_is_no_third_level(house: House) -> None:
    plan = {"promoter_bps": 800, "upline_bps": 200, "store_bps": 1_000, "cap_bps": 3_000}
    third = {**plan, "level_two": True, "third_bps": 100}
    with pytest.raises(Refused, match="third_bps"):
        await house.sale(5, split_plan=third)
    off = {**plan, "level_two": False, "upline_bps": 0}
    sale = await house.sale(5, split_plan=off)
    status, told = await house.buyer("must9").try_claim(
        sale.offer_id, sale.price_id, key="key-must9"
    )
    assert status == 201, told

    async def is_ordered() -> bool:
        return bool((await house.buyer("must9").look(told["claim_id"]))["ordered"])

    await eventually(is_ordered)
    order = "UPDATE orders SET credit = jsonb_set(credit, $2, '9') WHERE claim_id = $1"
    version = (
        "INSERT INTO campaign_versions SELECT campaign_id, version + 1, jsonb_set(body, $2, '9'),"
        " published_by, published_at_ms FROM campaign_versions WHERE campaign_id = $1"
    )
    for sql, row_id, path in (  # nor can one be written past the API
        (order, told["claim_id"], ["credit", "third_id"]),
        (order, told["claim_id"], ["plan", "third_bps"]),
        (version, sale.campaign_id, ["split_plan", "third_bps"]),
    ):
        with pytest.raises(asyncpg.CheckViolationError, match="two_levels"):
            await house.rows(sql, row_id, path)


async def test_must_10_what_is_published_never_changes(house: House) -> None:
    sale = await house.sale(5)
    path = f"/v1/campaigns/{sale.campaign_id}"
    draft = (await house.fresh.hq.ask("GET", path))["draft"]
    with pytest.raises(Refused, match="campaign_state"):
        await house.fresh.hq.ask("PUT", path, {**draft, "name": "改名"})
    await house.fresh.hq.restock(sale.offer_id, 3)

    async def is_more() -> bool:
        return (await house.stock(sale))["total"] == 8

    await eventually(is_more)
    _, told = await house.buyer("must10").try_claim(sale.offer_id, sale.price_id, key="key-must10")
    version = "SELECT version FROM orders WHERE claim_id = $1"

    async def has_its_version() -> bool:
        rows = await house.rows(version, told["claim_id"])
        return bool(rows and rows[0]["version"] == 1)

    await eventually(has_its_version)


async def test_all_of_it_keeps_the_laws(house: House) -> None:
    await lawful(house)
