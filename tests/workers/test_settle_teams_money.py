"""Refunds before and after a team forms: its members' shares are those of what is left."""

import pytest

from campaigns.refund.models import Refund
from campaigns.refund.service import record_refund_done, request_refund
from engine.errors import Conflict
from engine.ids import new_id, now_ms
from engine.ledger.splits import from_snapshot, split
from tests.workers.acts import PRICE_FEN, add_fact
from tests.workers.laws import check, rows
from tests.workers.seats import decided, joined, opened, pays, sits, team_of, team_offer
from tests.workers.stage import Stage
from workers.settle.dead_letters import open_letters, retry


async def asks(stage: Stage, order_id: str, units: int, fen: int | None = None) -> Refund:
    """HQ asks for a refund; nothing has been sent."""
    return await request_refund(
        stage.db,
        order_id=order_id,
        request_id=new_id("req"),
        units=units,
        amount_fen=fen,
        actor="hq",
    )


async def is_done(stage: Stage, refund: Refund) -> None:
    """The provider said so."""
    until = now_ms() + 60_000
    lease = "UPDATE refunds SET lease_until_ms = :until WHERE id = :id"
    await stage.run(lease, until=until, id=refund.id)
    assert await record_refund_done(
        stage.db, refund, lease_until_ms=until, provider_name="sandbox", done_at_ms=now_ms()
    )


async def kept(stage: Stage) -> dict[str, int]:
    """What each account but escrow and clearing holds."""
    found = await rows(
        stage,
        "SELECT name, CAST(sum(fen) AS bigint) AS fen FROM ("
        " SELECT source AS name, -amount_fen AS fen FROM postings UNION ALL"
        " SELECT destination, amount_fen FROM postings) m"
        " WHERE name NOT LIKE 'clearing:%' AND name <> 'escrow' GROUP BY name"
        " HAVING sum(fen) <> 0",
    )
    return {row["name"]: row["fen"] for row in found}


async def test_shares_are_those_of_what_is_left(stage: Stage) -> None:
    await stage.people()
    offer = await team_offer(stage, size=2, seat_qty=2)
    claim_id = await sits(stage, offer, "m1", qty=2)
    await pays(stage, offer, claim_id, qty=2)
    team_id = await team_of(stage, offer, claim_id)
    await stage.settle()
    (order,) = await rows(stage, "SELECT id, credit FROM orders")
    await is_done(stage, await asks(stage, order["id"], 0, 300))
    assert await kept(stage) == {}  # it does not stand yet: only escrow gave it back
    due = await asks(stage, order["id"], 0, 200)
    await joined(stage, offer, "b", team_id, qty=2)
    await stage.settle()
    paid = 2 * PRICE_FEN
    assert await stage.scalar("SELECT split_fen FROM orders WHERE buyer_id = 'm1'") == paid - 300
    await is_done(stage, due)
    await is_done(stage, await asks(stage, order["id"], 0, 77))
    shares = split(paid - 577, *from_snapshot(order["credit"]))
    found = await kept(stage)
    assert found["promoter:g1:pending"] == shares.promoter_fen
    assert found["promoter:g2:pending"] == shares.upline_fen
    assert found["store:s1"] == shares.store_fen
    assert found["hq"] == shares.hq_fen + paid
    await check(stage)


async def test_a_failed_team_leaves_nothing_with_anybody(stage: Stage) -> None:
    await stage.people()
    offer = await team_offer(stage)
    team_id, claim_id = await opened(stage, offer, "m1")
    await stage.settle()
    order_id = str(await stage.scalar("SELECT id FROM orders"))
    await is_done(stage, await asks(stage, order_id, 0, 300))
    due = await asks(stage, order_id, 0, 200)
    assert await decided(stage, offer, team_id) == "failed"
    last = "SELECT amount_fen, units FROM refunds WHERE cause = 'team_failed'"
    assert [tuple(row.values()) for row in await rows(stage, last)] == [(490, 1)]
    await is_done(stage, due)
    async with stage.db.begin() as session:
        failed_id = await stage.scalar("SELECT id FROM refunds WHERE cause = 'team_failed'")
        refund = await session.get_one(Refund, failed_id)
    await is_done(stage, refund)
    assert await kept(stage) == {}
    assert await stage.scalar("SELECT state FROM orders") == "refunded"
    await stage.inventory.give_back(offer.shard, claim_id, units=1, refund_id=refund.id)
    await stage.settle()
    assert await stage.scalar("SELECT sold FROM offers") == 0
    await check(stage)


async def test_who_left_with_money_kept_stands_on_it(stage: Stage) -> None:
    """HQ took all units back for less than was paid: the rest does not wait for the team."""
    offer = await team_offer(stage)
    _, claim_id = await opened(stage, offer, "cap")
    await stage.settle()
    order_id = str(await stage.scalar("SELECT id FROM orders"))
    refund = await asks(stage, order_id, 1, 900)
    await is_done(stage, refund)
    await stage.inventory.give_back(offer.shard, claim_id, units=1, refund_id=refund.id)
    await stage.settle()
    (order,) = await rows(stage, "SELECT state, claim_state, seat, split_fen FROM orders")
    assert tuple(order.values()) == ("paid", "returned", "left", 90)
    assert await kept(stage) == {"hq": 90}


async def test_all_money_of_a_seat_goes_back_only_with_its_units(stage: Stage) -> None:
    """Else the refund of a team that fails would have no money left to take the units back with."""
    offer = await team_offer(stage)
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    order_id = str(await stage.scalar("SELECT id FROM orders"))
    await asks(stage, order_id, 0, PRICE_FEN - 90)
    with pytest.raises(Conflict) as refused:
        await asks(stage, order_id, 0, 90)
    assert refused.value.code == "units_stay"
    await decided(stage, offer, team_id)
    (back,) = await rows(stage, "SELECT amount_fen, units FROM refunds WHERE cause = 'team_failed'")
    assert tuple(back.values()) == (90, 1)
    await check(stage)


async def test_a_letter_settled_after_the_decision_is_booked_with_it(stage: Stage) -> None:
    """The payment of a member went aside; a person settles it when the team has formed."""
    offer = await team_offer(stage, size=2)
    team_id, _ = await opened(stage, offer, "cap")
    claim_id = await sits(stage, offer, "b", team_id)
    await stage.settle()
    await stage.inventory.pay_begin(offer.shard, claim_id, "pay_later")  # its row is missing
    fact_id = await add_fact(stage, offer, claim_id, "pay_later", fen=PRICE_FEN)
    await stage.inventory.pay_confirm(
        offer.shard, claim_id, attempt_id="pay_later", fact_id=fact_id, verdict="ok"
    )
    await stage.settle()
    assert await stage.scalar("SELECT state FROM teams") == "formed"
    assert await stage.scalar("SELECT count(*) FROM orders WHERE split_fen IS NOT NULL") == 1
    await stage.run(
        "INSERT INTO payment_attempts (id, claim_id, order_id, shard, amount_fen, state, reason,"
        " pay_url, created_at_ms, send_until_ms, lease_until_ms, next_at_ms, tries, last_error)"
        " SELECT 'pay_later', claim_id, id, shard, amount_fen, 'open', '', '', 1, 0, 0, 1, 0, ''"
        " FROM orders WHERE claim_id = :c",
        c=claim_id,
    )
    async with stage.db.begin() as session:
        letters = await open_letters(session)
        await retry(session, letters[0].id)
    assert await stage.scalar("SELECT sum(split_fen) FROM orders") == 2 * PRICE_FEN
    await check(stage)
