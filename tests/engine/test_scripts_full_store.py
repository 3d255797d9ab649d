"""A full hot store refuses claims before they start, and can still free units."""

from collections.abc import Awaitable, Callable

import pytest

from cli.embedded.valkey import start_valkey
from cli.place import Place
from engine.errors import Unavailable
from engine.inventory import Reply
from tests.engine.hotshard import Bench, bench, config
from tests.engine.test_waiting import Queue


async def refused_without_a_trace(shard: Bench, claim_id: str) -> None:
    before = await shard.dump()
    commands: tuple[Callable[[], Awaitable[Reply]], ...] = (
        lambda: shard.claim("ofr_1", "mbr_9"),
        lambda: shard.claim("ofr_1", "mbr_1"),  # also a stored answer: the script never starts
        lambda: shard.inventory.pay_begin(0, claim_id, "att_9"),
        lambda: shard.inventory.offer_restock(0, "ofr_1", command_id="cmd_r", units=1),
        lambda: shard.inventory.offer_open(
            0, "ofr_9", command_id="cmd_9", config=config(), total=1
        ),
    )
    for command in commands:
        with pytest.raises(Unavailable) as refused:
            await command()
        assert refused.value.code == "busy"
    assert await shard.dump() == before


@pytest.mark.slow
async def test_full_store_refuses_claims_and_frees_units(own_place: Place) -> None:
    server = start_valkey(own_place)
    try:
        async with bench(server.url) as shard:
            await shard.open()
            await shard.offer("ofr_1", 5)
            await shard.offer("ofr_2", 1, hold_ms=0)
            one, two, three = [
                (await shard.claim("ofr_1", buyer)).details[0] for buyer in ("mbr_1", "b", "c")
            ]
            await shard.claim("ofr_2", "d")
            for claim_id in (one, two):
                await shard.inventory.pay_begin(0, claim_id, "att")
            await shard.offer("ofr_3", 1)
            held = (await shard.claim("ofr_3", "e")).details[0]
            await Queue(shard).join("f", offer_id="ofr_3")
            await shard.wire.call("CONFIG", "SET", "maxmemory", "1")

            await refused_without_a_trace(shard, three)
            ask = shard.inventory
            assert await shard.confirm(one, "att", "fct_1") == Reply("paid")
            assert await shard.confirm(one, "att", "fct_2") == Reply("refused", ("second_payment",))
            assert await ask.release(0, two, attempt_id="att", why="closed") == Reply("released")
            assert await ask.give_back(0, one, units=1, refund_id="r") == Reply("returned", ("0",))
            assert await ask.settled(0, 6, epoch=1) == Reply("settled", ("6",))
            assert await ask.sweep(0, 9) == Reply("swept", ("1", "1"))
            closed = await ask.offer_close(0, "ofr_2", command_id="cmd_c")
            assert closed == Reply("closed")
            left = await ask.release(0, held, attempt_id="", why="cancelled")
            assert left == Reply("released")
            served = await ask.offer_state(0, "ofr_3")  # units that came free go to who waits
            assert (served["held"], served["waiting"]) == ("1", "0")
            await refused_without_a_trace(shard, three)

            await shard.wire.call("CONFIG", "SET", "maxmemory", "0")
            assert (await shard.claim("ofr_1", "mbr_9", 4)).what == "held"
            assert await shard.claim("ofr_2", "mbr_9") == Reply("closed")
            assert (await ask.offer_state(0, "ofr_2"))["available"] == "1"
    finally:
        server.stop()
