"""A team with seats of the merchant fails after all: their entry is reversed, the budget back."""

from tests.workers.laws import check, rows
from tests.workers.seats import decided, opened, subsidised, team_offer
from tests.workers.stage import Stage

POSTED = "SELECT reference, kind FROM ledger_transactions WHERE kind LIKE 'subsidy%' ORDER BY id"


async def budget(stage: Stage, offer_id: str, shard: int) -> str:
    """Seats that the hot store counts as spent."""
    return (await stage.inventory.offer_state(shard, offer_id)).get("subsidised", "0")


async def ledgered(stage: Stage) -> tuple[list[str], int]:
    """The kinds of entries, and what the subsidy account gave on balance."""
    kinds = [row["kind"] for row in await rows(stage, POSTED)]
    fen = await stage.scalar(
        "SELECT coalesce(sum(CASE WHEN source = 'subsidy' THEN amount_fen ELSE -amount_fen END), 0)"
        " FROM postings WHERE 'subsidy' IN (source, destination)"
    )
    return kinds, int(str(fen))


async def test_a_failed_team_gives_its_subsidy_back(stage: Stage) -> None:
    offer = await team_offer(stage, subsidy_max=1)
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    assert (await subsidised(stage, offer, team_id)).details == ("forming",)
    await stage.settle()
    assert await ledgered(stage) == (["subsidy"], 990)
    other, _ = await opened(stage, offer, "dan")
    await stage.settle()
    assert (await subsidised(stage, offer, other)).what == "over_budget"
    assert await decided(stage, offer, team_id) == "failed"
    assert await ledgered(stage) == (["subsidy", "subsidy_back"], 0)
    assert await budget(stage, offer.id, offer.shard) == "0"
    await stage.run("DELETE FROM team_commands WHERE applied_seq IS NULL")
    await check(stage)
    # The seat can be spent again, in a team that forms.
    assert (await subsidised(stage, offer, other)).details == ("forming",)
    await stage.settle()
    assert await budget(stage, offer.id, offer.shard) == "1"
    await check(stage)


async def test_spent_and_failed_in_one_batch(stage: Stage) -> None:
    offer = await team_offer(stage, subsidy_max=2)
    team_id, claim_id = await opened(stage, offer, "cap")
    await stage.settle()
    await subsidised(stage, offer, team_id, seats=1)
    fact_id = str(await stage.scalar("SELECT payment_id FROM orders"))
    await _leaves(stage, offer.shard, claim_id, fact_id)  # and nobody is left
    await stage.settle()
    assert await stage.scalar("SELECT state || '/' || why FROM teams") == "failed/empty"
    assert await ledgered(stage) == (["subsidy", "subsidy_back"], 0)
    assert await budget(stage, offer.id, offer.shard) == "0"
    await check(stage)


async def _leaves(stage: Stage, shard: int, claim_id: str, fact_id: str) -> None:
    await stage.run(
        "INSERT INTO refunds (id, payment_id, order_id, claim_id, shard, cause, amount_fen, units,"
        " state, requested_by, created_at_ms, lease_until_ms, next_at_ms, tries, last_error,"
        " done_at_ms) SELECT 'rfd_1', payment_id, id, claim_id, shard, 'after_sale:1', 990, 1,"
        " 'done', 'cap', 1, 0, 1, 0, '', 1 FROM orders WHERE payment_id = :fact",
        fact=fact_id,
    )
    await stage.run("UPDATE orders SET refunded_fen = 990 WHERE payment_id = :fact", fact=fact_id)
    await stage.inventory.give_back(shard, claim_id, units=1, refund_id="rfd_1")


async def test_a_formed_team_keeps_its_subsidy(stage: Stage) -> None:
    offer = await team_offer(stage, size=2, subsidy_max=1)
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    assert (await subsidised(stage, offer, team_id)).details == ("formed",)
    await stage.settle()
    assert await ledgered(stage) == (["subsidy"], 990)
    assert await budget(stage, offer.id, offer.shard) == "1"
    await check(stage)
