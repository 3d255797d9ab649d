"""The real scripts beside the pure model: each command runs on both, and both must agree.

`Parity` is the frame of a state machine: `check` runs one command, its invariants hold after
each. Time is the server's: the model is asked what had to happen at that very instant.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from engine import keys
from engine.commands import WAIT_SCAN_MAX
from engine.events import ClaimHeld, TeamOpened
from engine.inventory import Inventory, OfferConfig, Reply
from engine.replay.draft import Outcome
from engine.replay.shard import Shard
from engine.replay.view import view_of
from engine.scripts import Script
from engine.teams import Teams
from engine.waiting import Waiting
from tests.engine.hotshard import HOUR_MS, SCRIPTS, Bench, bench

T = TypeVar("T")

EPOCH = 7


class World:
    """One loop and one wire for all examples; each begins with an empty store."""

    def __init__(
        self, url: str, scripts: dict[str, Script] = SCRIPTS, *, wait_scan_max: int = WAIT_SCAN_MAX
    ) -> None:
        self.loop = asyncio.new_event_loop()
        self._stack = AsyncExitStack()
        opened = bench(url, epoch=EPOCH, scripts=scripts, wait_scan_max=wait_scan_max)
        self.bench = self.run(self._stack.enter_async_context(opened))
        wire, epochs, own = self.bench.wire, self.bench.inventory.epochs, self.bench.scripts
        hasty = Inventory(wire, epochs, own, settle_lag_max_ms=-1)
        self.inventories = {HOUR_MS: self.bench.inventory, -1: hasty}
        self.waiting = {
            lag: Waiting(wire, epochs, own, settle_lag_max_ms=lag, wait_scan_max=wait_scan_max)
            for lag in (HOUR_MS, -1)
        }
        self.seatings = {
            lag: Teams(wire, epochs, own, settle_lag_max_ms=lag) for lag in (HOUR_MS, -1)
        }
        self.teams = self.seatings[HOUR_MS]

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def close(self) -> None:
        self.run(self._stack.aclose())
        self.loop.close()


class Parity(RuleBasedStateMachine):
    """Commands run by `check`; `self.model` says what each must do."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.bench: Bench = self.world.bench
        self.configs: dict[str, OfferConfig] = {}
        self.model = Shard(shard=0, epoch=EPOCH, configs=self.configs)
        self.serial = 0

    async def _begin(self) -> None:
        await self.bench.wire.call("FLUSHALL")
        await self.bench.open()

    def fresh(self, prefix: str) -> str:
        self.serial += 1
        return f"{prefix}_{self.serial}"

    def check(
        self,
        real: Callable[[], Coroutine[Any, Any, Reply]],
        wanted: Callable[[int, str], Outcome],
        but: bytes = b"",
    ) -> Reply:
        """Run the script, then ask the model what had to come of it at that very instant.

        A command without an event leaves no trace `but` in this key.
        """
        return self.world.run(self._check(real, wanted, but))

    async def _check(
        self,
        real: Callable[[], Coroutine[Any, Any, Reply]],
        wanted: Callable[[int, str], Outcome],
        but: bytes,
    ) -> Reply:
        before = await self.bench.dump()
        seconds, micros = await self.bench.wire.call("TIME")
        at_ms = int(seconds) * 1_000 + int(micros) // 1_000
        reply = await real()
        news = (await self.bench.events())[self.model.seq :]
        nonce = "0" * 16
        if news:
            at_ms = news[0].at_ms
            made = [
                one.claim_id if isinstance(one, ClaimHeld) else one.team_id
                for one in news
                if isinstance(one, ClaimHeld | TeamOpened)
            ]
            if made:
                nonce = made[0].rpartition("-")[2]
        outcome = wanted(at_ms, nonce)
        assert reply == outcome.reply, (reply, outcome, at_ms)
        assert news == list(outcome.events), (news, outcome, at_ms)
        for event in outcome.events:
            self.model.apply(event)
        if not news:
            after = await self.bench.dump()
            after.pop(but, None), before.pop(but, None)
            assert after == before, "a command without an event left a trace"
        return reply

    @invariant()
    def hot_state_is_the_models(self) -> None:
        assert view_of(self.model).differences(self.world.run(self.bench.view())) == []

    @invariant()
    def only_ended_claims_expire(self) -> None:
        self.world.run(self._check_expiry())

    async def _check_expiry(self) -> None:
        wanted = {
            keys.claims(0) + claim.claim_id: -1 if claim.is_live else claim.keep_until_ms
            for claim in self.model.claims.values()
        }
        for buyer_id, offer_id, key in self.model.answers:
            until = self.configs[offer_id].keep_until_ms
            wanted[keys.idem(0, buyer_id, offer_id, key)] = until
        for team in self.model.teams.values():
            until = -1 if team.is_undecided else team.keep_until_ms
            wanted[keys.groups(0) + team.team_id] = until
            if any(team_id == team.team_id for team_id, _ in self.model.seats):
                wanted[f"{keys.groups(0)}{team.team_id}:seats"] = until
        found = await asyncio.gather(*(self.bench.wire.call("PEXPIRETIME", key) for key in wanted))
        assert dict(zip(wanted, found, strict=True)) == wanted
