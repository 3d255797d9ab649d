"""The life of a claim, command by command, as a reader would tell it."""

import asyncio
from functools import partial

from engine import keys
from engine.events import ClaimPaid, ClaimReleased, OfferClosed, OfferOpened
from engine.inventory import Reply
from tests.engine.hotshard import Bench, bench


async def test_held_paying_paid_returned(shard: Bench) -> None:
    await shard.offer("ofr_1", 2)
    held = await shard.claim("ofr_1", "mbr_1", 2)
    assert held.what == "held"
    claim_id, price_id, price_fen, _ = held.details
    assert (price_id, price_fen) == ("prc_1", "1000")
    assert await shard.claim("ofr_1", "mbr_2") == Reply("sold_out")

    ask = shard.inventory
    assert (await ask.pay_begin(0, claim_id, "att_1")).what == "paying"
    assert (await shard.view()).deadlines == {}
    assert await shard.confirm(claim_id, "att_1", "fct_1") == Reply("paid")
    assert await shard.confirm(claim_id, "att_1", "fct_1") == Reply("done")

    assert await ask.give_back(0, claim_id, units=1, refund_id="rfd_1") == Reply("returned", ("1",))
    assert (await shard.claim("ofr_1", "mbr_2")).what == "held"
    assert await ask.give_back(0, claim_id, units=1, refund_id="rfd_2") == Reply("returned", ("0",))
    assert (await ask.claim_state(0, claim_id))["state"] == "returned"
    offer = await ask.offer_state(0, "ofr_1")
    assert (offer["total"], offer["available"], offer["held"], offer["sold"]) == tuple("2110")


async def test_lapsed_claim_waits_for_its_order_and_then_frees_its_unit(shard: Bench) -> None:
    await shard.offer("ofr_1", 1, hold_ms=0)
    held = await shard.claim("ofr_1", "mbr_1")
    assert await shard.inventory.sweep(0, 10) == Reply("swept", ("0", "1"))  # not settled yet
    await shard.inventory.settled(0, 2, epoch=1)
    assert await shard.inventory.sweep(0, 10) == Reply("swept", ("1", "1"))
    assert await shard.inventory.sweep(0, 10) == Reply("swept", ("0", "0"))
    assert (await shard.claim("ofr_1", "mbr_2")).what == "held"
    lapsed = (await shard.events())[2]
    assert isinstance(lapsed, ClaimReleased)
    assert (lapsed.claim_id, lapsed.why) == (held.details[0], "lapsed")


async def test_late_payment_is_refunded_or_retakes_as_the_offer_declares(shard: Bench) -> None:
    for offer_id, late, wanted in (
        ("ofr_1", "refund", Reply("late", ("refund",))),
        ("ofr_2", "retake", Reply("retaken")),
    ):
        await shard.offer(offer_id, 1, late=late)
        claim_id = (await shard.claim(offer_id, "mbr_1", key=offer_id)).details[0]
        ask = shard.inventory
        await ask.pay_begin(0, claim_id, "att_1")
        closed = await ask.release(0, claim_id, attempt_id="att_1", why="closed")
        assert closed == Reply("released")
        assert await shard.confirm(claim_id, "att_1", f"fct_{offer_id}") == wanted
    last = (await shard.events())[-1]
    assert isinstance(last, ClaimPaid)
    assert last.retaken == 1


async def test_wrong_payment_is_refused_and_is_a_receipt(shard: Bench) -> None:
    await shard.offer("ofr_1", 1)
    claim_id = (await shard.claim("ofr_1", "mbr_1")).details[0]
    ask = shard.inventory
    await ask.pay_begin(0, claim_id, "att_1")
    refused = Reply("refused", ("wrong_amount",))
    assert await shard.confirm(claim_id, "att_0", "fct_0", "wrong_amount") == refused
    assert (await ask.claim_state(0, claim_id))["state"] == "paying"  # not the open attempt's
    assert await shard.confirm(claim_id, "att_1", "fct_1", "wrong_amount") == refused
    assert (await ask.claim_state(0, claim_id))["state"] == "released"


async def test_second_payment_is_refused_whatever_attempt_it_is_of(shard: Bench) -> None:
    await shard.offer("ofr_1", 1)
    claim_id = (await shard.claim("ofr_1", "mbr_1")).details[0]
    ask = shard.inventory
    await ask.pay_begin(0, claim_id, "att_1")
    for attempt_id, fact_id, wanted in (
        ("att_0", "fct_0", Reply("paid")),  # money came: it stands, by whichever attempt
        ("att_1", "fct_1", Reply("refused", ("second_payment",))),
    ):
        assert await shard.confirm(claim_id, attempt_id, fact_id) == wanted


async def test_a_close_command_acts_once_also_after_another_close(shard: Bench) -> None:
    """Were the first one repeated behind the guard's freeze, it would undo the freeze."""
    await shard.offer("ofr_1", 1)
    close = shard.inventory.offer_close
    assert await close(0, "ofr_1", command_id="cmd_1") == Reply("closed")
    assert await close(0, "ofr_1", command_id="cmd_2", state="frozen") == Reply("closed")
    assert await close(0, "ofr_1", command_id="cmd_1") == Reply("done")
    assert (await shard.inventory.offer_state(0, "ofr_1"))["state"] == "frozen"
    events = await shard.events()
    assert [type(event) for event in events] == [OfferOpened, OfferClosed, OfferClosed]


async def test_claims_are_busy_while_the_settler_lags(shard: Bench, valkey_url: str) -> None:
    await shard.offer("ofr_1", 2)
    async with bench(valkey_url, lag_max_ms=-1) as impatient:
        assert await impatient.claim("ofr_1", "mbr_1") == Reply("busy")
        await shard.inventory.settled(0, 1, epoch=1)
        assert (await impatient.claim("ofr_1", "mbr_1")).what == "held"
        assert await impatient.claim("ofr_1", "mbr_2") == Reply("busy")


async def test_lag_is_that_of_the_oldest_unsettled_event(shard: Bench, valkey_url: str) -> None:
    await shard.offer("ofr_1", 9)
    for buyer in ("a", "b"):
        await shard.claim("ofr_1", buyer)
    first, second, third = [event.at_ms for event in await shard.events()]
    waits = partial(shard.wire.call, "HGET", keys.meta(0), "waits_since_ms")
    assert int(await waits()) == first
    for seq, since in ((1, second), (2, third), (1, third), (3, third)):
        await shard.inventory.settled(0, seq, epoch=1)
        assert int(await waits()) == since  # never back, also when an older settler repeats
    await asyncio.sleep(0.002)
    await shard.claim("ofr_1", "c")
    await shard.claim("ofr_1", "d")
    assert int(await waits()) == (await shard.events())[3].at_ms > third


async def test_stored_answer_comes_first_whatever_has_changed(
    shard: Bench, valkey_url: str
) -> None:
    await shard.offer("ofr_1", 1)
    held = await shard.claim("ofr_1", "mbr_1", key="k")
    await shard.inventory.offer_close(0, "ofr_1", command_id="cmd_1")
    async with bench(valkey_url, lag_max_ms=-1) as impatient:
        again = await impatient.claim("ofr_1", "mbr_1", key="k")
        assert again == Reply("stored", held.details)
        reused = await impatient.claim("ofr_1", "mbr_1", 2, key="k")
        assert reused == Reply("key_reused", held.details[:1])
        other = await impatient.claim("ofr_1", "mbr_2", key="k")  # another buyer's key
        assert other == Reply("busy")


async def test_price_is_the_servers_not_the_clients(shard: Bench) -> None:
    rules = await shard.offer("ofr_1", 5)
    ends = rules.ends_at_ms
    listed = (("a", 100, 0), ("b", 90, 1_000), ("c", 80, ends), ("d", 70, ends + 1))
    await shard.offer("ofr_2", 5, prices=listed)
    for price_id in ("a", "c", "x", ""):
        reply = await shard.claim("ofr_2", "mbr_1", price_id=price_id)
        assert reply == Reply("price_changed", ("b", "90"))
    assert (await shard.claim("ofr_2", "mbr_1", price_id="b")).details[1:3] == ("b", "90")


async def test_window_is_the_servers_clock(shard: Bench) -> None:
    rules = await shard.offer("ofr_0", 1)
    later = rules.ends_at_ms
    await shard.offer("ofr_1", 1, starts_at_ms=later)
    await shard.offer("ofr_2", 1, ends_at_ms=rules.starts_at_ms)
    assert await shard.claim("ofr_1", "mbr_1") == Reply("not_open", (str(later),))
    assert await shard.claim("ofr_2", "mbr_1") == Reply("closed")
    assert await shard.claim("ofr_9", "mbr_1") == Reply("unknown_offer")


async def test_limits_per_order_offer_and_campaign(shard: Bench) -> None:
    rules = {"per_order_max": 2, "per_buyer_max": 3, "per_campaign_max": 4}
    await shard.offer("ofr_1", 9, **rules)
    await shard.offer("ofr_2", 9, **rules)
    assert await shard.claim("ofr_1", "m", 3) == Reply("limit_reached", ("order", "2"))
    assert (await shard.claim("ofr_1", "m", 2, key="1")).what == "held"
    assert await shard.claim("ofr_1", "m", 2, key="2") == Reply("limit_reached", ("offer", "3"))
    assert (await shard.claim("ofr_1", "m", 1, key="2")).what == "held"
    assert await shard.claim("ofr_2", "m", 2) == Reply("limit_reached", ("campaign", "4"))
    assert (await shard.claim("ofr_2", "m", 1)).what == "held"
