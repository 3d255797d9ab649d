"""FLUSHALL in mid-sale: the hot state comes back from the rows, lost is only what was unsettled."""

from campaigns.offer.models import Offer
from engine import keys
from engine.ids import parse_claim_id
from tests.workers.acts import (
    add_attempt,
    add_command,
    add_fact,
    begin_paying,
    confirm,
    give_back,
    held,
    pay,
    restock,
    sell_out,
)
from tests.workers.laws import check, rows
from tests.workers.stage import Stage


async def flush(stage: Stage) -> None:
    """All data gone in mid-sale; then the settler does what it does."""
    await stage.wire.call("FLUSHALL")
    await stage.settle()


async def expiry(stage: Stage, attempt_id: str) -> tuple[str, int]:
    """(attempt, when it ends) as `check` wants it."""
    query = "SELECT pay_expires_at_ms FROM payment_attempts WHERE id = :id"
    (row,) = await rows(stage, query, id=attempt_id)
    return attempt_id, row["pay_expires_at_ms"]


async def last_seq(stage: Stage, offer: Offer, epoch: int = 1) -> int:
    """Where the closed epoch ended."""
    query = "SELECT last_seq FROM shard_epochs WHERE shard = :s AND epoch = :e"
    last = await stage.scalar(query, s=offer.shard, e=epoch)
    assert isinstance(last, int)
    return last


async def two_offers(stage: Stage) -> tuple[Offer, Offer]:
    """Two offers of one campaign, so that they share the campaign's limit."""
    one = await stage.offer(30, per_campaign_max=3)
    other = await stage.offer_beside(one, 10)
    return one, other


async def test_all_states_of_two_offers_come_back(stage: Stage) -> None:
    one, other = await two_offers(stage)
    waiting = await held(stage, one, "held", qty=2)
    await held(stage, other, "held")
    paying = await held(stage, one, "paying")
    attempt_id = await begin_paying(stage, one, paying)
    paid = await held(stage, one, "paid", qty=2)
    await pay(stage, one, paid, qty=2)
    released = await held(stage, other, "released")
    await stage.inventory.release(other.shard, released, attempt_id="", why="cancelled")
    partly = await held(stage, one, "partly", qty=2)
    fact_id = await pay(stage, one, partly, qty=2)
    await give_back(stage, one, partly, fact_id, units=1)
    wholly = await held(stage, other, "wholly", qty=2)
    fact_id = await pay(stage, other, wholly, qty=2)
    await give_back(stage, other, wholly, fact_id, units=2)
    late = await held(stage, one, "late")
    gone = await begin_paying(stage, one, late)
    await stage.inventory.release(one.shard, late, attempt_id=gone, why="closed")
    assert (await confirm(stage, one, late, gone))[1].what == "late"
    await stage.settle()

    await flush(stage)
    await check(stage)
    # limits hold over both offers, as before
    assert (await stage.claim(one, "held", key="k-2")).details[0] == "offer"
    assert (await stage.claim(other, "held", key="k-2", qty=1)).details[0] == "campaign"
    await held(stage, other, "released", key="k-2", qty=2)
    # stored answers and claims of the old epoch live on
    assert (await stage.claim(one, "held", qty=2)).details[0] == waiting
    assert (await stage.claim(one, "held", qty=1)).what == "key_reused"
    assert (await confirm(stage, one, paying, attempt_id))[1].what == "paid"
    await stage.settle()
    await check(stage)
    await sell_out(stage, one, "rest-one")
    await sell_out(stage, other, "rest-other")
    await stage.settle()
    await check(stage)
    wrong = await rows(stage, "SELECT id FROM offers WHERE held + sold <> total")
    assert wrong == []


async def test_unsettled_claims_are_lost_and_said(stage: Stage) -> None:
    offer = await stage.offer(3)
    kept = await held(stage, offer, "b1")
    await stage.settle()
    lost = [await held(stage, offer, f"c{n}") for n in range(2)]
    assert (await stage.claim(offer, "d")).what == "sold_out"
    await flush(stage)
    await check(stage)
    end = await last_seq(stage, offer)
    seqs = [born.seq for claim in (kept, *lost) if (born := parse_claim_id(claim))]
    assert [seq > end for seq in seqs] == [False, True, True]
    fresh = await held(stage, offer, "c0")  # the same key, and no answer is stored any more
    assert fresh not in lost
    await held(stage, offer, "d")
    assert (await stage.claim(offer, "c1")).what == "sold_out"  # a true refusal
    await stage.settle()
    await check(stage)


async def test_an_open_attempt_whose_event_was_lost_comes_back_as_paying(stage: Stage) -> None:
    offer = await stage.offer(3, hold_ms=1)
    claim_id = await held(stage, offer, "b1")
    await stage.settle()
    attempt_id = await begin_paying(stage, offer, claim_id)
    await flush(stage)
    await check(stage, {claim_id: await expiry(stage, attempt_id)})
    swept = await stage.inventory.sweep(offer.shard, 10)
    assert swept.details == ("0", "0")  # its units only come free with a receipt
    reply = await stage.inventory.pay_begin(offer.shard, claim_id, attempt_id)
    assert reply.details == (str((await expiry(stage, attempt_id))[1]),)
    await stage.settle()
    await check(stage)
    assert await stage.scalar("SELECT applied_epoch FROM payment_attempts") == 2


async def test_an_open_attempt_whose_event_was_lost_can_be_closed(stage: Stage) -> None:
    offer = await stage.offer(1)
    claim_id = await held(stage, offer, "b1")
    await stage.settle()
    attempt_id = await begin_paying(stage, offer, claim_id)
    await flush(stage)
    for _ in range(2):  # the second is a repeat
        reply = await stage.inventory.release(
            offer.shard, claim_id, attempt_id=attempt_id, why="closed"
        )
        assert reply.what == "released"
    await stage.settle()
    await check(stage)
    await held(stage, offer, "b2")


async def test_an_undecided_fact_comes_back_as_paying_and_is_decided_once(stage: Stage) -> None:
    offer = await stage.offer(3)
    claim_id = await held(stage, offer, "b1")
    attempt_id = await begin_paying(stage, offer, claim_id)
    second = await held(stage, offer, "b2")
    await stage.settle()
    fact_id, _ = await confirm(stage, offer, claim_id, attempt_id)  # lost
    # no attempt is open any more, but money came in that nobody has decided on
    closed = await add_attempt(stage, offer, second)
    await stage.run("UPDATE payment_attempts SET state = 'closed' WHERE id = :id", id=closed)
    other_fact = await add_fact(stage, offer, second, closed, fen=990)
    await flush(stage)
    await check(stage, {second: await expiry(stage, closed)})
    for wanted in ("paid", "done"):
        for claim, attempt, fact in ((claim_id, attempt_id, fact_id), (second, closed, other_fact)):
            reply = await stage.inventory.pay_confirm(
                offer.shard, claim, attempt_id=attempt, fact_id=fact, verdict="ok"
            )
            assert reply.what == wanted
    await stage.settle()
    await check(stage)
    assert await stage.scalar("SELECT sold FROM offers") == 2


async def test_a_void_attempt_leaves_the_claim_held(stage: Stage) -> None:
    offer = await stage.offer(3)
    claim_id = await held(stage, offer, "b1")
    await stage.settle()
    attempt_id = await add_attempt(stage, offer, claim_id)
    await stage.run("UPDATE payment_attempts SET state = 'void' WHERE id = :id", id=attempt_id)
    await flush(stage)
    await check(stage)


async def test_a_settled_restock_is_there_and_a_lost_one_comes_once(stage: Stage) -> None:
    offer = await stage.offer(1)
    await restock(stage, offer, 2)
    await stage.settle()
    never_ran = await add_command(stage, offer, "restock", 4)
    lost = await add_command(stage, offer, "restock", 8)
    named = {"command_id": lost, "units": 8}
    await stage.inventory.offer_restock(offer.shard, offer.id, **named)  # type: ignore[arg-type]
    assert (await stage.inventory.offer_state(offer.shard, offer.id))["total"] == "11"
    await flush(stage)
    await check(stage)
    assert (await stage.inventory.offer_state(offer.shard, offer.id))["total"] == "3"
    for command_id, units in ((never_ran, 4), (lost, 8)) * 2:
        await stage.inventory.offer_restock(
            offer.shard, offer.id, command_id=command_id, units=units
        )
    await stage.settle()
    await check(stage)
    assert await sell_out(stage, offer, "b") == 15


async def test_an_offer_whose_opening_was_lost_opens_by_its_row(stage: Stage) -> None:
    await stage.offer(1)
    offer, command = await stage.planned_offer(5)
    await stage.open(offer, command)
    lost = await held(stage, offer, "b1")
    await flush(stage)
    assert (await stage.claim(offer, "b1")).what == "unknown_offer"
    await stage.open(offer, command)
    await stage.settle()
    await check(stage)
    assert await held(stage, offer, "b1") != lost


async def test_closed_and_frozen_offers_stay_so(stage: Stage) -> None:
    one, other = await two_offers(stage)
    for offer, state in ((one, "closed"), (other, "frozen")):
        command_id = await add_command(stage, offer, "close")
        await stage.inventory.offer_close(offer.shard, offer.id, command_id=command_id, state=state)
    await stage.settle()
    await flush(stage)
    await check(stage)
    assert (await stage.claim(one, "b")).what == (await stage.claim(other, "b")).what == "closed"


async def test_units_of_a_rejected_order_are_not_counted(stage: Stage) -> None:
    offer = await stage.offer(1)
    await stage.wire.call("HINCRBY", keys.offers(offer.shard) + offer.id, "available", 2)
    good, bad, worse = [await held(stage, offer, f"b{n}") for n in range(3)]
    await stage.settle()
    await begin_paying(stage, offer, worse)
    await stage.settle()
    await flush(stage)
    await check(stage)
    states = await rows(
        stage, "SELECT claim_id, state, claim_state, release_due FROM orders ORDER BY claimed_at_ms"
    )
    assert [tuple(row.values()) for row in states] == [
        (good, "open", "held", False),
        (bad, "rejected", "released", False),
        (worse, "rejected", "released", False),
    ]
    # a repeat of the release that was due finds nothing left to do
    reply = await stage.inventory.release(offer.shard, bad, attempt_id="", why="rejected")
    assert reply.what == "released"
    assert await stage.settler.round() == 0


async def test_what_is_past_its_keeping_time_stays_in_the_rows(stage: Stage) -> None:
    offer = await stage.offer(5)
    await held(stage, offer, "b1")
    await stage.settle()
    await stage.run(
        "UPDATE offers SET config = jsonb_set(config, '{keep_until_ms}', '1') WHERE id = :id",
        id=offer.id,
    )
    await flush(stage)
    assert await stage.inventory.offer_state(offer.shard, offer.id) == {}
    assert await stage.wire.call("KEYS", f"{{s{offer.shard}}}:claim:*") == []


async def test_a_large_shard_is_rebuilt_in_bounded_batches(stage: Stage) -> None:
    offer = await stage.offer(550)
    await sell_out(stage, offer, "b", buyers_max=551)
    await stage.settle()
    await flush(stage)
    await check(stage)
    assert (await stage.claim(offer, "c")).what == "sold_out"
