"""A rebuild at any time changes nothing: random commands, with the hot store flushed in between.

All commands are the real scripts; whatever they made of the hot state, once it is settled the
rebuild makes the same of the rows.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.offer.models import Offer
from engine import keys
from engine.db import Database
from tests.conftest import DbUrls
from tests.workers.acts import (
    add_attempt,
    add_command,
    add_fact,
    add_refund,
    restock,
)
from tests.workers.laws import check, hot_view, timeless
from tests.workers.stage import Stage, open_stage

T = TypeVar("T")

BUYERS = ("x", "y", "z")
which = st.integers(0, 9)
CLAIM = st.tuples(
    st.just("claim"), st.integers(0, 1), st.sampled_from(BUYERS), st.integers(1, 2), which
)
CONFIRM = st.tuples(st.just("confirm"), which, st.sampled_from(("ok", "ok", "ok", "wrong_amount")))
WAIT = st.tuples(
    st.just("wait"), st.integers(0, 1), st.sampled_from(BUYERS), st.integers(1, 2), which
)
ACTS = st.one_of(
    CLAIM,
    CLAIM,
    CLAIM,
    st.tuples(st.just("begin"), which),
    st.tuples(st.just("begin"), which),
    CONFIRM,
    CONFIRM,
    CONFIRM,
    st.tuples(st.just("close_attempt"), which),
    st.tuples(st.just("lapse"), which),
    st.tuples(st.just("cancel"), which),
    st.tuples(st.just("give_back"), which, st.integers(1, 2)),
    st.tuples(st.just("give_back"), which, st.integers(1, 2)),
    st.tuples(st.just("restock"), st.integers(0, 1), st.integers(1, 2)),
    st.tuples(st.just("close"), st.integers(0, 1), st.sampled_from(("closed", "frozen"))),
    WAIT,
    WAIT,
    st.tuples(st.just("leave"), st.integers(0, 1), st.sampled_from(BUYERS)),
    st.tuples(st.just("look"), st.integers(0, 1)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("rebuild")),
)
OPENING = (
    *(("claim", 0, "x", 1, 0), ("claim", 0, "y", 2, 0), ("claim", 1, "x", 2, 0)),
    *(("claim", 0, "z", 2, 0), ("wait", 0, "x", 2, 1), ("wait", 0, "z", 2, 1)),
)


class Evening:
    """Two offers of one campaign, and what was done with them."""

    def __init__(self, stage: Stage, offers: list[Offer]) -> None:
        self.stage, self.offers = stage, offers
        self.claims: list[tuple[Offer, str, int]] = []
        self.attempts: dict[str, str] = {}
        self.facts: dict[str, str] = {}

    def _one(self, number: int) -> tuple[Offer, str, int] | None:
        return self.claims[number % len(self.claims)] if self.claims else None

    async def do(self, name: str, *given: Any) -> None:
        """One act; those on claims choose among the claims there are."""
        if name in ("claim", "wait", "leave", "look", "restock", "close", "settle", "rebuild"):
            await getattr(self, name)(*given)
        elif (claim := self._one(given[0])) is not None:
            await getattr(self, name)(*claim, *given[1:])

    async def claim(self, offer: int, buyer: str, qty: int, key: int) -> None:
        reply = await self.stage.claim(
            self.offers[offer], buyer, qty=qty, key=f"k{key % 3}", traits="n"
        )
        known = [claim_id for _, claim_id, _ in self.claims]
        # stored and not known: held for somebody who waited with this key
        if reply.what in ("held", "stored") and reply.details[0] not in known:
            self.claims.append((self.offers[offer], reply.details[0], qty))

    async def wait(self, offer: int, buyer: str, qty: int, key: int) -> None:
        one = self.offers[offer]
        await self.stage.wait(one, buyer, qty=qty, key=f"k{key % 3}", traits="n")

    async def leave(self, offer: int, buyer: str) -> None:
        one = self.offers[offer]
        await self.stage.waiting.leave(one.shard, one.id, buyer)

    async def look(self, offer: int) -> None:
        one = self.offers[offer]
        await self.stage.waiting.look(one.shard, one.id)

    async def begin(self, offer: Offer, claim_id: str, qty: int) -> None:
        attempt_id = await add_attempt(self.stage, offer, claim_id, qty=qty)
        reply = await self.stage.inventory.pay_begin(offer.shard, claim_id, attempt_id)
        if reply.what == "paying":
            self.attempts[claim_id] = attempt_id
        else:
            void = "UPDATE payment_attempts SET state = 'void' WHERE id = :id"
            await self.stage.run(void, id=attempt_id)

    async def confirm(self, offer: Offer, claim_id: str, qty: int, verdict: str) -> None:
        attempt_id = self.attempts.get(claim_id, "pay_unknown")
        fen = 990 * qty if verdict == "ok" else 1
        fact_id = await add_fact(self.stage, offer, claim_id, attempt_id, fen=fen, verdict=verdict)
        reply = await self.stage.inventory.pay_confirm(
            offer.shard, claim_id, attempt_id=attempt_id, fact_id=fact_id, verdict=verdict
        )
        if reply.what in ("paid", "retaken"):
            self.facts[claim_id] = fact_id

    async def close_attempt(self, offer: Offer, claim_id: str, qty: int) -> None:
        attempt_id = self.attempts.get(claim_id)
        if attempt_id is None:
            return
        closed = "UPDATE payment_attempts SET state = 'closed' WHERE id = :id AND state = 'open'"
        await self.stage.run(closed, id=attempt_id)
        await self.stage.inventory.release(
            offer.shard, claim_id, attempt_id=attempt_id, why="closed"
        )

    async def lapse(self, offer: Offer, claim_id: str, qty: int) -> None:
        await self.settle()
        call = self.stage.wire.call
        await call("ZADD", keys.deadlines(offer.shard), "XX", "1", claim_id)
        await self.stage.inventory.sweep(offer.shard, 10)

    async def cancel(self, offer: Offer, claim_id: str, qty: int) -> None:
        await self.stage.inventory.release(offer.shard, claim_id, attempt_id="", why="cancelled")

    async def give_back(self, offer: Offer, claim_id: str, qty: int, units: int) -> None:
        if claim_id not in self.facts:
            return
        fact_id = self.facts[claim_id]
        refund_id = await add_refund(self.stage, offer, claim_id, fact_id, units=units)
        for _ in range(2):
            await self.stage.inventory.give_back(
                offer.shard, claim_id, units=units, refund_id=refund_id
            )

    async def restock(self, offer: int, units: int) -> None:
        await restock(self.stage, self.offers[offer], units)

    async def close(self, offer: int, state: str) -> None:
        one = self.offers[offer]
        command_id = await add_command(self.stage, one, "close")
        await self.stage.inventory.offer_close(
            one.shard, one.id, command_id=command_id, state=state
        )

    async def settle(self) -> None:
        await self.stage.settle()

    async def rebuild(self) -> None:
        """Settle, flush, rebuild: nothing may differ."""
        await self.settle()
        shard = self.offers[0].shard
        before = timeless(await hot_view(self.stage, shard))
        await self.stage.wire.call("FLUSHALL")
        await self.settle()
        after = timeless(await hot_view(self.stage, shard))
        assert before.differences(after) == []


class World:
    """One loop, one stage for all examples; each has a campaign of its own."""

    def __init__(self, valkey_url: str, database_url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.stage = self.run(self._open(valkey_url, database_url))

    async def _open(self, valkey_url: str, database_url: str) -> Stage:
        db = Database(database_url)
        self.stack.push_async_callback(db.close)
        return await self.stack.enter_async_context(open_stage(db, valkey_url, shards=1))

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()

    async def evening(self, acts: list[Any], late: str, audience: str) -> None:
        """The second offer may be for new customers; those of other evenings are not new."""
        limits = {"per_order_max": 2, "per_buyer_max": 4, "per_campaign_max": 6}
        first = await self.stage.offer(6, late=late, **limits)
        second = await self.stage.offer_beside(first, 4, audience=audience)
        evening = Evening(self.stage, [first, second])
        for act in (*OPENING, *acts):
            await evening.do(*act)
        await evening.rebuild()

    async def end(self) -> None:
        """All examples together, and no event of theirs was refused."""
        await check(self.stage)
        assert await self.stage.scalar("SELECT count(*) FROM dead_letters") == 0
        assert await self.stage.scalar("SELECT count(*) FROM incidents") == 0


@pytest.fixture
def world(hot: object, valkey_url: str, db_urls: DbUrls) -> Iterator[World]:
    """Its own loop: Hypothesis' tests are plain functions."""
    one = World(valkey_url, db_urls.app)
    yield one
    one.close()


def test_a_rebuild_at_any_time_changes_nothing(world: World) -> None:
    assert settings.default is not None

    @settings(max_examples=settings.default.max_examples // 4)
    @given(
        acts=st.lists(ACTS, min_size=8, max_size=25),
        late=st.sampled_from(("refund", "retake")),
        audience=st.sampled_from(("all", "new")),
    )
    def examples(acts: list[Any], late: str, audience: str) -> None:
        world.run(world.evening(acts, late, audience))

    examples()
    world.run(world.end())
