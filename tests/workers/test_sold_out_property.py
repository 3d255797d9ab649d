"""Two API processes that answer from memory, and the plain script beside them as the judge.

Whatever is claimed, repeated at the other process, released, restocked, closed, repriced, lost and
rebuilt: what a process says from its memory, claim.lua says to the same request in that state.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.claim.replies import Answer
from campaigns.offer.models import Offer
from engine import keys
from engine.db import Database
from tests.conftest import DbUrls
from tests.workers.acts import add_command, restock
from tests.workers.memory import Process, plainly, process
from tests.workers.stage import Stage, open_stage

T = TypeVar("T")

BUYERS = tuple(f"b{number}" for number in range(9))
at = st.integers(0, 1)
who = st.sampled_from(BUYERS)
which = st.integers(0, 30)
CLAIM = st.tuples(
    *(st.just("claim"), at, who, st.sampled_from((1, 1, 1, 2, 3, 4))),
    *(st.sampled_from("kkl"), st.sampled_from(("p1", "p1", "p1", "p2"))),
)
ACTS = st.one_of(
    *(CLAIM, CLAIM, CLAIM, CLAIM, CLAIM),
    *(st.tuples(st.just("again"), at, which), st.tuples(st.just("again"), at, which)),
    st.tuples(st.just("burst"), st.integers(1, 2**20)),
    *(st.tuples(st.just("release"), which), st.tuples(st.just("release"), which)),
    st.tuples(st.just("restock")),
    st.tuples(st.just("reprice"), st.sampled_from(("p1", "p2"))),
    st.tuples(st.just("close")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("rebuild"), st.booleans()),
    *(st.tuples(st.just("rest"), at), st.tuples(st.just("rest"), at)),
)
SOLD_OUT = (
    *(("claim", number % 2, f"b{number}", 1, "k", "p1") for number in range(5)),
    *(("rest", 0), ("rest", 1), ("claim", 0, "b8", 1, "k", "p1"), ("claim", 1, "b8", 1, "k", "p1")),
)
Request = tuple[str, int, str, str]  # buyer, quantity, key, price_id


class Sale:
    """One offer of three units, and who holds what of it."""

    def __init__(self, stage: Stage, two: tuple[Process, Process], offer: Offer) -> None:
        self.stage, self.two, self.offer = stage, two, offer
        self.held: dict[str, Request] = {}

    async def do(self, name: str, *given: Any) -> None:
        await getattr(self, name)(*given)

    async def _ask(self, place: int, request: Request) -> Answer:
        buyer, qty, key, price_id = request
        answer = await self.two[place].claim(self.offer, buyer, qty=qty, key=key, price_id=price_id)
        if answer.what == "held":
            self.held[answer.body.split(b'"')[3].decode()] = request
        return answer

    async def _judged(self, place: int, request: Request) -> str:
        """The same request to the script: a refusal changes nothing, so it sees the same state."""
        answer = await self._ask(place, request)
        if answer.what == "sold_out":
            buyer, qty, key, price_id = request
            plain = await plainly(
                self.stage, self.offer, buyer, qty=qty, key=key, price_id=price_id
            )
            assert plain.what == "sold_out", (request, plain)
        return answer.what

    async def claim(self, place: int, buyer: str, qty: int, key: str, price_id: str) -> None:
        await self._judged(place, (buyer, qty, key, price_id))

    async def again(self, place: int, number: int) -> None:
        """A repeat of a claim that was held, at whichever process."""
        if self.held:
            claim_id = list(self.held)[number % len(self.held)]
            assert await self._judged(place, self.held[claim_id]) == "stored"

    async def burst(self, seed: int) -> None:
        """Both at once: repeats, newcomers, and units that come free meanwhile."""
        rng = random.Random(seed)
        known = dict(self.held)
        asked: list[tuple[Request, bool]] = []
        for _ in range(12):
            repeat = bool(known) and rng.random() < 0.4
            fresh = (rng.choice(BUYERS), rng.choice((1, 2)), rng.choice("klm"), "p1")
            asked.append((rng.choice(list(known.values())) if repeat else fresh, repeat))
        tasks = [asyncio.create_task(self._ask(rng.randrange(2), one)) for one, _ in asked]
        for number in range(rng.randrange(3)):
            await asyncio.sleep(0)
            await self.release(seed + number)
        told = await asyncio.gather(*tasks)
        for (request, repeat), answer in zip(asked, told, strict=True):
            assert not repeat or answer.what == "stored", (request, answer)
        # Every key that was held anything is known at both from the very next request on.
        for place in (0, 1):
            for request in self.held.values():
                assert (await self._ask(place, request)).what == "stored", request

    async def release(self, number: int) -> None:
        if not self.held:
            return
        claim_id = list(self.held)[number % len(self.held)]
        await self.stage.inventory.release(
            self.offer.shard, claim_id, attempt_id="", why="cancelled"
        )

    async def restock(self) -> None:
        await restock(self.stage, self.offer, 1)

    async def reprice(self, price_id: str) -> None:
        offer = keys.offers(self.offer.shard) + self.offer.id
        await self.stage.wire.call("HSET", offer, "prices", f"{price_id}|990|0")

    async def close(self) -> None:
        command_id = await add_command(self.stage, self.offer, "close")
        await self.stage.inventory.offer_close(
            self.offer.shard, self.offer.id, command_id=command_id
        )

    async def settle(self) -> None:
        await self.stage.settle()

    async def rebuild(self, settled: bool) -> None:
        """The store loses all; unless settled before, claims are lost with it, and forgotten."""
        if settled:
            await self.stage.settle()
        await self.stage.wire.call("FLUSHALL")
        await self.stage.settle()
        claims = keys.claims(self.offer.shard)
        for claim_id in list(self.held):
            if not await self.stage.wire.call("EXISTS", claims + claim_id):
                del self.held[claim_id]
        for one in self.two:
            await one.knows(self.offer, self.stage.epochs.of(self.offer.shard))

    async def rest(self, place: int) -> None:
        """Let a process have the set of now: asked for by a claim that can never be held."""
        one = self.two[place]
        await one.rest()
        await one.claim(self.offer, "nobody", qty=99)
        await one.rest()


class World:
    """One loop, one stage and two processes for all examples; each has an offer of its own."""

    def __init__(self, valkey_url: str, database_url: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        self.run(self._open(valkey_url, database_url))

    async def _open(self, valkey_url: str, database_url: str) -> None:
        db = Database(database_url)
        self.stack.push_async_callback(db.close)
        enter = self.stack.enter_async_context
        # A slow machine must not be told busy between a process's answer and the judge's.
        self.stage = await enter(open_stage(db, valkey_url, shards=1, settle_lag_max_ms=3_600_000))
        self.two = (
            await enter(process(self.stage, valkey_url)),
            await enter(process(self.stage, valkey_url)),
        )

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        self.run(self.stack.aclose())
        self.loop.close()

    async def sale(self, acts: list[Any]) -> None:
        limits = {"per_order_max": 3, "per_buyer_max": 3, "per_campaign_max": 3}
        sale = Sale(self.stage, self.two, await self.stage.offer(3, **limits))
        for act in (*SOLD_OUT, *acts):
            await sale.do(*act)


@pytest.fixture
def world(hot: object, valkey_url: str, db_urls: DbUrls) -> Iterator[World]:
    """Its own loop: Hypothesis' tests are plain functions."""
    one = World(valkey_url, db_urls.app)
    yield one
    one.close()


def test_what_is_said_from_memory_the_script_says_too(world: World) -> None:
    assert settings.default is not None

    @settings(max_examples=settings.default.max_examples // 2)
    @given(acts=st.lists(ACTS, min_size=15, max_size=40))
    def examples(acts: list[Any]) -> None:
        world.run(world.sale(acts))

    examples()
    said = [one.metrics.from_memory for one in world.two]
    assert min(said) > 10, f"only {said} answers came from memory: this proves nothing"
