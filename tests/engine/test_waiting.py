"""Waiting lists, rule by rule: who is served, who is told why not, and what stays as it is."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from engine import keys
from engine.events import ClaimHeld, WaitJoined, WaitSkipped
from engine.ids import now_ms
from engine.inventory import Reply
from engine.waiting import Waiting
from tests.engine.hotshard import Bench, bench


class Queue:
    """A bench with an offer whose units are all held by `mbr_0`, one claim each."""

    def __init__(self, shard: Bench, **settings: int) -> None:
        self.shard = shard
        self.waiting = Waiting(shard.wire, shard.inventory.epochs, shard.scripts, **settings)
        self.claims: list[str] = []

    async def offer(self, total: int, **changes: Any) -> None:
        wide = {"per_order_max": 9, "per_buyer_max": 9, "per_campaign_max": 9}
        await self.shard.offer("ofr_1", total, **{**wide, **changes})
        for n in range(total):
            held = await self.shard.claim("ofr_1", "mbr_0", key=f"own-{n}", traits="nmb")
            self.claims.append(held.details[0])

    async def join(self, buyer_id: str, qty: int = 1, **changes: Any) -> Reply:
        fields: dict[str, Any] = {
            **{"offer_id": "ofr_1", "campaign_id": "cmp_a"},
            **{"price_id": "prc_1", "key": f"key-{buyer_id}"},
            **{"body_hash": f"{qty}", "touch": "room:rom_1|x", "traits": "nmb"},
        }
        return await self.waiting.join(0, buyer_id=buyer_id, qty=qty, **{**fields, **changes})

    async def let_go(self, place: int = 0) -> None:
        claim_id = self.claims[place]
        reply = await self.shard.inventory.release(0, claim_id, attempt_id="", why="cancelled")
        assert reply == Reply("released")

    async def state(self, *names: str) -> list[str]:
        found = await self.shard.inventory.offer_state(0, "ofr_1")
        return [found[name] for name in names]


@pytest.fixture
def queue(shard: Bench) -> Queue:
    return Queue(shard)


async def test_a_claim_from_the_list_is_a_claim_like_any_other(queue: Queue, shard: Bench) -> None:
    await queue.offer(1, hold_ms=60_000)
    assert await queue.join("mbr_1") == Reply("waiting", ("1",))
    joined = (await shard.events())[-1]
    assert isinstance(joined, WaitJoined)
    before = now_ms()
    await queue.let_go()
    *_, released, held = await shard.events()
    assert isinstance(held, ClaimHeld)
    assert (held.seq, held.at_ms) == (released.seq + 1, released.at_ms)
    assert (held.buyer_id, held.qty, held.key) == (joined.buyer_id, joined.qty, joined.key)
    assert (held.body_hash, held.touch) == (joined.body_hash, joined.touch)
    assert before + 60_000 - 5 <= held.expires_at_ms == held.at_ms + 60_000  # from now on
    stored = await shard.claim("ofr_1", "mbr_1", key="key-mbr_1")
    assert (stored.what, stored.details[0]) == ("stored", held.claim_id)
    assert await queue.join("mbr_1") == stored
    assert (await shard.claim("ofr_1", "mbr_1", 2, key="key-mbr_1")).what == "key_reused"
    assert await queue.state("available", "held", "waiting") == ["0", "1", "0"]
    assert (await shard.inventory.pay_begin(0, held.claim_id, "att_1")).what == "paying"


async def test_one_wish_is_one_entry_and_keeps_its_place(queue: Queue, shard: Bench) -> None:
    await queue.offer(1)
    for buyer_id in ("mbr_1", "mbr_2"):
        await queue.join(buyer_id)
    before = await shard.dump()
    assert await queue.join("mbr_1") == Reply("waiting", ("1",))
    assert await queue.join("mbr_1", 2, key="another") == Reply("waiting", ("1",))
    assert await queue.join("mbr_1", 2) == Reply("key_reused", ("",))
    assert (await shard.claim("ofr_1", "mbr_1", key="key-mbr_1")).what == "sold_out"
    assert await shard.dump() == before
    seen = await queue.waiting.place_of(0, "ofr_1", "mbr_2")
    assert seen is not None
    assert (seen.qty, seen.price_id, seen.key, seen.place, seen.before) == (
        *(1, "prc_1", "key-mbr_2", 2, 1),
    )
    assert await queue.waiting.leave(0, "ofr_1", "mbr_1") == Reply("left")
    assert await queue.waiting.leave(0, "ofr_1", "mbr_1") == Reply("not_waiting", ("0",))
    assert await queue.waiting.leave(0, "ofr_1", "mbr_0") == Reply("not_waiting", ("1",))
    assert await queue.join("mbr_1") == Reply("waiting", ("3",))  # at the end


async def test_who_wants_more_than_is_free_is_passed_over_and_stays(queue: Queue) -> None:
    await queue.offer(3)
    for buyer_id, qty in (("mbr_1", 2), ("mbr_2", 1), ("mbr_3", 1)):
        await queue.join(buyer_id, qty)
    await queue.let_go(0)
    assert await queue.state("available", "waiting") == ["0", "2"]  # mbr_2 has it
    await queue.let_go(1)
    assert await queue.state("available", "waiting") == ["0", "1"]  # mbr_3
    await queue.let_go(2)
    assert await queue.state("available", "waiting") == ["1", "1"]
    assert (await queue.shard.claim("ofr_1", "mbr_4")).what == "sold_out"
    held = await queue.join("mbr_5")  # free, and it fits nobody before
    assert held.what == "held"
    assert (await queue.shard.claim("ofr_1", "mbr_5", key="key-mbr_5")).details == held.details


Change = Callable[[Queue], Awaitable[object]]


async def _hset(queue: Queue, field: str, value: str | int) -> None:
    await queue.shard.wire.call("HSET", keys.offers(0) + "ofr_1", field, value)


async def _buy_elsewhere(queue: Queue) -> None:
    bought = await queue.shard.claim("ofr_2", "mbr_1", 2, key="elsewhere", traits="nmb")
    assert bought.what == "held"


WHY: dict[str, tuple[str, dict[str, Any], Change]] = {
    "closed": ("closed", {}, lambda queue: _hset(queue, "state", "closed")),
    "cancelled": ("closed", {}, lambda queue: _hset(queue, "state", "cancelled")),
    "ended": ("closed", {}, lambda queue: _hset(queue, "ends_at_ms", now_ms() - 1)),
    "price": ("price_changed", {}, lambda queue: _hset(queue, "prices", "prc_2|900|0")),
    "limit": ("limit_reached", {"per_campaign_max": 2}, _buy_elsewhere),
    "right of a new customer": ("limit_reached", {"audience": "new"}, _buy_elsewhere),
}


@pytest.mark.parametrize("what", WHY)
async def test_who_cannot_be_served_is_told_why_and_goes(queue: Queue, what: str) -> None:
    why, rules, change = WHY[what]
    await queue.offer(1, **rules)
    await queue.shard.offer("ofr_2", 2, **rules)
    await queue.join("mbr_1")
    await change(queue)
    await queue.join("mbr_2", price_id="prc_2" if what == "price" else "prc_1")
    await queue.let_go()
    skipped = [one for one in await queue.shard.events() if isinstance(one, WaitSkipped)]
    assert [(one.buyer_id, one.why) for one in skipped] == [("mbr_1", why)]
    served = "0" if why == "closed" else "1"
    assert await queue.state("available", "held", "waiting") == [str(1 - int(served)), served, "0"]
    assert await queue.waiting.place_of(0, "ofr_1", "mbr_1") is None


async def test_a_refused_payment_a_refund_and_a_restock_serve_too(queue: Queue) -> None:
    await queue.offer(2)
    ask = queue.shard.inventory
    for n in range(1, 6):
        await queue.join(f"mbr_{n}")
    for claim_id in queue.claims:
        await ask.pay_begin(0, claim_id, "att_1")
    await queue.shard.confirm(queue.claims[0], "att_1", "fct_1", "wrong_amount")
    assert await queue.state("available", "waiting") == ["0", "4"]
    await queue.shard.confirm(queue.claims[1], "att_1", "fct_2")
    await ask.give_back(0, queue.claims[1], units=1, refund_id="rfd_1")
    assert await queue.state("available", "waiting") == ["0", "3"]
    await ask.offer_restock(0, "ofr_1", command_id="cmd_more", units=2)
    assert await queue.state("available", "held", "waiting") == ["0", "4", "1"]
    held = [one for one in await queue.shard.events() if isinstance(one, ClaimHeld)][2:]
    assert [one.buyer_id for one in held] == [f"mbr_{n}" for n in range(1, 5)]
    await queue.shard.inventory.settled(0, 99, epoch=1)


async def test_lapsed_holds_serve_and_lapse_in_their_turn(queue: Queue) -> None:
    await queue.offer(2, hold_ms=0)
    for n in range(1, 4):
        await queue.join(f"mbr_{n}")
    await queue.shard.inventory.settled(0, 6, epoch=1)
    assert await queue.shard.inventory.sweep(0, 10) == Reply("swept", ("2", "2"))
    assert await queue.state("available", "held", "waiting") == ["0", "2", "1"]
    await queue.shard.inventory.settled(0, 10, epoch=1)
    assert await queue.shard.inventory.sweep(0, 10) == Reply("swept", ("2", "2"))
    assert await queue.state("available", "held", "waiting") == ["1", "1", "0"]
    assert (await queue.shard.claim("ofr_1", "mbr_9")).what == "held"


async def test_a_late_payment_takes_nothing_from_those_who_wait(queue: Queue) -> None:
    await queue.offer(2, late="retake")
    await queue.join("mbr_1", 2)
    claim_id = queue.claims[0]
    await queue.shard.inventory.pay_begin(0, claim_id, "att_1")
    await queue.shard.inventory.release(0, claim_id, attempt_id="att_1", why="closed")
    assert await queue.state("available", "waiting") == ["1", "1"]
    assert await queue.shard.confirm(claim_id, "att_1", "fct_1") == Reply("late", ("sold_out",))
    await queue.waiting.leave(0, "ofr_1", "mbr_1")
    other = queue.claims[1]
    await queue.shard.inventory.pay_begin(0, other, "att_2")
    await queue.shard.inventory.release(0, other, attempt_id="att_2", why="closed")
    assert await queue.shard.confirm(other, "att_2", "fct_2") == Reply("retaken")


async def test_a_script_looks_at_a_bounded_number_and_a_look_goes_on_behind(
    shard: Bench, valkey_url: str
) -> None:
    async with bench(valkey_url, wait_scan_max=2) as narrow:
        queue = Queue(narrow, wait_scan_max=2)
        await queue.offer(3)
        for n in range(1, 5):
            await queue.join(f"mbr_{n}", 3)
        await queue.join("mbr_5")
        await queue.let_go()
        assert await queue.state("available", "waiting") == ["1", "5"]
        assert await queue.waiting.look(0, "ofr_1") == Reply("looked", ("2",))
        assert await queue.waiting.look(0, "ofr_1", "2") == Reply("looked", ("4",))
        assert await queue.waiting.look(0, "ofr_1", "4") == Reply("looked", ("",))
        assert await queue.state("available", "waiting") == ["0", "4"]
        await _hset(queue, "state", "closed")
        assert await queue.waiting.look(0, "ofr_1") == Reply("looked", ("2",))
        assert await queue.waiting.look(0, "ofr_1", "2") == Reply("looked", ("4",))
        assert await queue.state("waiting") == ["0"]
        assert await queue.waiting.look(0, "ofr_1", "4") == Reply("looked", ("",))


async def test_a_list_is_of_a_limited_length(queue: Queue) -> None:
    await queue.offer(1)
    assert await queue.join("mbr_1", wait_max=1) == Reply("waiting", ("1",))
    assert await queue.join("mbr_2", wait_max=1) == Reply("wait_full")
    assert await queue.join("mbr_1", wait_max=1) == Reply("waiting", ("1",))
    assert await queue.join("mbr_2", 2) == Reply("too_few", ("1",))
