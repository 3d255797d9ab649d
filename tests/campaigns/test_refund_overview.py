"""HQ's refunds: age, tries, last error, counts by state, filters, pages and CSV."""

import csv
import io
from typing import Any

from sqlalchemy import text

from campaigns.refund.overview import RefundFilter, counts
from engine.db import Database
from engine.ids import new_id, now_ms
from tests.campaigns.server import World, crowd_offer
from tests.campaigns.standing import regular, write_refund, write_standing, write_team


async def refunds(api: World, **asked: Any) -> dict[str, Any]:
    answer = await api.http.get("/v1/refunds", headers=api.auth("stf_hq", "hq"), params=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_failed_crowd_s_refunds_are_watched(api: World) -> None:
    offer = (await api.campaign(offer=crowd_offer()))["offers"][0]
    crowd_id = await write_team(api, offer, "failed", booked_at_ms=None)
    ids = []
    hour_ago = now_ms() - 3_600_000
    many: tuple[tuple[str, dict[str, Any]], ...] = (
        ("due", {"tries": 4, "last_error": "FREQUENCY_LIMITED", "created_at_ms": hour_ago}),
        ("due", {}),
        ("done", {"created_at_ms": hour_ago, "done_at_ms": hour_ago + 7_000, "tries": 1}),
        ("failed", {"tries": 9, "last_error": "NOT_ENOUGH"}),
    )
    for number, (state, changes) in enumerate(many):
        order_id = await write_standing(
            api,
            offer,
            f"mbr_{number}",
            None,
            team_id=crowd_id,
            seat="taken",
            split_fen=None,
            state="refunding",
        )
        cause = "team_failed" if number != 1 else f"after_sale:{new_id('req')}"
        ids.append(await write_refund(api, order_id, state=state, cause=cause, **changes))
    for _ in range(3):  # paid, and not booked yet
        await write_standing(
            api, offer, "mbr_9", None, team_id=crowd_id, seat="taken", split_fen=None
        )
    found = await refunds(api, team_id=crowd_id)
    assert [one["refund_id"] for one in found["refunds"]] == ids
    assert found["to_book"] == 3
    first, _, done, failed = found["refunds"]
    assert (first["tries"], first["last_error"]) == (4, "FREQUENCY_LIMITED")
    assert first["age_ms"] >= 3_600_000
    assert first["next_at_ms"] is not None
    assert (first["team_id"], first["offer_id"]) == (crowd_id, offer["offer_id"])
    assert (first["buyer_id"], first["cause"]) == ("mbr_0", "team_failed")
    assert (done["age_ms"], done["next_at_ms"]) == (7_000, None)
    assert failed["state"] == "failed"
    counts = [
        (one["state"], one["refunds"], one["amount_fen"], one["tries_most"])
        for one in found["counts"]
    ]
    assert counts == [("due", 2, 2_000, 4), ("failed", 1, 1_000, 9), ("done", 1, 1_000, 1)]
    assert found["counts"][0]["oldest_ms"] >= 3_600_000

    async def listed(**asked: Any) -> list[str]:
        page = await refunds(api, offer_id=offer["offer_id"], **asked)
        assert sum(one["refunds"] for one in page["counts"]) >= len(page["refunds"])
        return [one["refund_id"] for one in page["refunds"]]

    assert await listed() == ids
    assert await listed(state="due") == ids[:2]
    assert await listed(cause="after_sale") == [ids[1]]
    assert await listed(cause="team_failed", state="failed") == [ids[3]]
    # The state's filter leaves the progress whole.
    page = await refunds(api, team_id=crowd_id, state="done")
    assert [one["state"] for one in page["counts"]] == ["due", "failed", "done"]


async def test_pages_and_the_csv_have_them_all(api: World) -> None:
    offer = await regular(api)
    ids = []
    for number in range(5):
        order_id = await write_standing(api, offer, f"mbr_{number}", None)
        ids.append(await write_refund(api, order_id, last_error="=HYPERLINK(1)"))
    paged: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await refunds(api, offer_id=offer["offer_id"], limit=2, **after)
        paged += [one["refund_id"] for one in page["refunds"]]
        assert (page["counts"] is None) == bool(after)
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert paged == ids
    hq, asked = api.auth("stf_hq", "hq"), {"offer_id": offer["offer_id"]}
    for path, more in (("refunds.csv", {}), ("refunds", {"Accept": "text/csv"})):
        file = await api.http.get(f"/v1/{path}", headers=hq | more, params=asked)
        assert file.headers["content-type"] == "text/csv; charset=utf-8"
        rows = list(csv.DictReader(io.StringIO(file.text.removeprefix("\ufeff"))))
        assert [row["refund_id"] for row in rows] == ids
        assert {row["last_error"] for row in rows} == {"'=HYPERLINK(1)"}


async def test_refunds_without_an_order_are_there_too(api: World) -> None:
    refund_id = await write_refund(api, None, cause="unknown_claim")
    found = await refunds(api, cause="unknown_claim")
    assert [one["refund_id"] for one in found["refunds"]] == [refund_id]
    assert (found["refunds"][0]["order_id"], found["refunds"][0]["team_id"]) == (None, None)
    assert (await refunds(api, team_id="tem-none"))["refunds"] == []
    wrong = await api.http.get(
        "/v1/refunds", headers=api.auth("stf_hq", "hq"), params={"state": "lost"}
    )
    assert wrong.status_code == 400


async def test_counting_gives_up_rather_than_hold_up_the_page(
    owner_db: Database, db: Database
) -> None:
    async with owner_db.begin() as session:
        await session.execute(text("LOCK TABLE refunds IN ACCESS EXCLUSIVE MODE"))
        assert await counts(db, RefundFilter()) is None
    assert await counts(db, RefundFilter()) == ()
