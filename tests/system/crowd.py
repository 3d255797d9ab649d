"""`python -m tests.system.crowd`: a client process that buys. Its plan on stdin, a line each way.

It says `ready`, waits for a line, then its lanes (one connection and one request at a time
each) take buyers off a queue until all had their turn, or their time is over. Who holds a unit
goes on beside the race: pays, gives back, cancels or lets it lapse. Every request is in the
history; what was seen is told at the end.
"""

import asyncio
import random
import sys
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from cli.demo.plan import Tally
from engine.audit.history import HistoryWriter
from engine.ids import now_ms
from loadtests.lean import LeanClient
from tests.system.buyer import Buyer

TRY_AGAIN_S = 0.3
AFTER_S = 40.0
LANDS_S = 1.5


class CrowdPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Who buys what, how, and for how long.

    `habits` are weights of pay, refund, lapse, cancel, hold (only until it is ordered), late (pays
    when the provider has closed the page) and none (nobody looks any more). `until_ms`: who got
    nothing tries again until then; 0: everybody asks once. `repeats`: share of buyers that repeat
    their key, then with another body. `twins`: share that asks a second time under another key.
    """

    name: str
    base_url: str
    history: str
    buyers: tuple[tuple[str, str], ...]  # id and token
    offer_id: str
    price_id: str
    lanes: int
    habits: dict[str, int]
    seed: int
    until_ms: int = 0
    repeats: float = 0.0
    twins: float = 0.0
    one_key: str = ""  # everybody sends this key
    lossy: bool = False  # claims may go down with the hot store: only the audit can tell
    team_id: str | None = None  # a seat of this team ("": of an own or the crowd's), not a claim
    consents: float = 0.0  # share of those who may be moved to another team
    joins: float = 0.0  # share that takes a seat of a listed team where it can


class Held(msgspec.Struct, frozen=True):
    """An acknowledged claim and what became of it as its buyer saw it."""

    claim_id: str
    buyer: str
    key: str
    price_fen: int
    expires_at_ms: int
    habit: str


class Seen(msgspec.Struct):
    """What a crowd was told."""

    answers: dict[str, int] = {}
    held: list[Held] = []
    ends: dict[str, int] = {}  # habit → end, such as "pay → paid"
    lost: int = 0
    retried: int = 0
    replayed: int = 0
    errors: list[str] = []

    def count(self, what: str) -> None:
        self.answers[what] = self.answers.get(what, 0) + 1

    def ended(self, how: str) -> None:
        self.ends[how] = self.ends.get(how, 0) + 1

    def add(self, other: "Seen") -> None:
        """Sum up."""
        for mine, theirs in ((self.answers, other.answers), (self.ends, other.ends)):
            for name, count in theirs.items():
                mine[name] = mine.get(name, 0) + count
        self.held += other.held
        self.lost += other.lost
        self.retried += other.retried
        self.replayed += other.replayed
        self.errors += other.errors


class Crowd:
    """All lanes of one process."""

    def __init__(self, plan: CrowdPlan, history: HistoryWriter) -> None:
        self.plan, self.history = plan, history
        self.tally, self.seen = Tally(), Seen()
        self._queue = deque(enumerate(plan.buyers))
        self._beside: set[asyncio.Task[None]] = set()

    async def run(self) -> Seen:
        """Race, then wait for everybody's end."""
        await asyncio.gather(*(self._lane(number) for number in range(self.plan.lanes)))
        while self._beside:
            await asyncio.gather(*self._beside)
        tally = self.tally
        self.seen.lost, self.seen.retried = tally.lost, tally.retried
        self.seen.replayed = tally.replayed
        return self.seen

    async def _lane(self, number: int) -> None:
        app = LeanClient(self.plan.base_url)
        try:
            while self._queue:
                turn = self._queue.popleft()
                again = await self._turn(*turn, app)
                if again and now_ms() < self.plan.until_ms:
                    self._queue.append(turn)
                    await asyncio.sleep(TRY_AGAIN_S / 2)
        finally:
            await app.close()

    def _buyer(self, who: tuple[str, str], rng: random.Random, app: LeanClient | None) -> Buyer:
        return Buyer(
            *(self.plan.base_url, *who),
            tally=self.tally,
            history=self.history,
            rng=rng,
            app=app,
        )

    async def _turn(self, number: int, who: tuple[str, str], app: LeanClient) -> bool:
        """One buyer's try; True when they may try again."""
        plan = self.plan
        rng = random.Random(f"{plan.seed}-{plan.name}-{number}")
        key = plan.one_key or f"key-{plan.seed}-{plan.name}-{number}"
        buyer = self._buyer(who, rng, app)
        try:
            consent = rng.random() < plan.consents
            team_id = await self._team(buyer, rng)
            if team_id != (plan.team_id or ""):
                key = f"{key}-{team_id[-12:]}"  # another team is another request
            status, told = await self._ask(buyer, key, team_id, consent=consent)
            self.seen.count("held" if status == 201 else told["code"])
            if rng.random() < plan.repeats:
                await self._repeat(buyer, key, team_id, status, told, consent=consent)
            if rng.random() < plan.twins:
                twin, other = await self._ask(buyer, f"{key}-b", team_id, consent=consent)
                self.seen.count("twin: " + other.get("code", "held"))
                if twin == 201:
                    self._hold(who, other, f"{key}-b", rng)
        except Exception as error:
            self._failed(who[0], error)
            return False
        if status == 201:
            self._hold(who, told, key, rng)
        return status == 409 and told["code"] in ("sold_out", "team_full", "team_over")

    async def _team(self, buyer: Buyer, rng: random.Random) -> str:
        """The plan's team, or one that is listed as open."""
        plan = self.plan
        if rng.random() < plan.joins:
            listed = await buyer.open_teams(plan.offer_id)
            if listed:
                return rng.choice(listed)
        return plan.team_id or ""

    async def _ask(
        self, buyer: Buyer, key: str, team_id: str, *, qty: int = 1, consent: bool
    ) -> tuple[int, dict[str, Any]]:
        plan = self.plan
        if plan.team_id is None:
            return await buyer.claim(plan.offer_id, qty, plan.price_id, key=key)
        return await buyer.seat(
            plan.offer_id, plan.price_id, team_id, key=key, qty=qty, consent=consent
        )

    async def _repeat(
        self,
        buyer: Buyer,
        key: str,
        team_id: str,
        status: int,
        told: dict[str, Any],
        *,
        consent: bool,
    ) -> None:
        again, answer = await self._ask(buyer, key, team_id, consent=consent)
        _, other = await self._ask(buyer, key, team_id, qty=2, consent=consent)
        if status != 201 or self.plan.lossy:
            return
        if (again, answer) != (201, told):
            self.seen.errors.append(f"{key}: {told}, repeated {again} {answer}")
        if other.get("code") != "key_reused":
            self.seen.errors.append(f"{key}: with another body {other}")

    def _hold(
        self, who: tuple[str, str], told: dict[str, Any], key: str, rng: random.Random
    ) -> None:
        habit = rng.choices(list(self.plan.habits), list(self.plan.habits.values()))[0]
        claim_id = told["claim_id"]
        self.seen.held.append(
            Held(claim_id, who[0], key, told["price_fen"], told["expires_at_ms"], habit)
        )
        if habit == "none":
            return
        task = asyncio.create_task(self._after(who, claim_id, habit, rng))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _after(
        self, who: tuple[str, str], claim_id: str, habit: str, rng: random.Random
    ) -> None:
        buyer = self._buyer(who, rng, None)
        try:
            end = await self._end(buyer, claim_id, habit)
            last = await buyer.look(claim_id)
            self.seen.ended(f"{habit} → {last.get('code') or last['state']}{end}")
        except Exception as error:
            self._failed(who[0], error)
        finally:
            await buyer.close()

    async def _end(self, buyer: Buyer, claim_id: str, habit: str) -> str:
        if habit == "hold":
            await buyer.watch(claim_id, ("ordered", "released"), AFTER_S)
            return ""
        if habit == "cancel":
            return "" if await buyer.cancel(claim_id) == "released" else ", not cancelled"
        if habit == "lapse":
            await buyer.watch(claim_id, ("released",), AFTER_S)
            return ""
        seen = await buyer.watch(claim_id, ("ordered", "released"), AFTER_S)
        page = await buyer.begin_pay(claim_id) if seen.get("ordered") else None
        if habit == "late" and page is not None:
            await buyer.watch(claim_id, ("released",), AFTER_S)
            paid = await buyer.pay(page, claim_id, ("paid_after_close",))
            await asyncio.sleep(LANDS_S)  # it may lie released for good
            return "" if paid else ", not paid"
        if page is None or not await buyer.pay(page, claim_id):
            return ", not paid"
        seen = await buyer.watch(claim_id, ("paid", "released"), AFTER_S)
        if habit == "refund" and seen.get("state") == "paid":
            if not await buyer.refund(seen["order_id"], 1):
                return ", not refunded"
            await buyer.watch(claim_id, ("returned",), AFTER_S)
        return ""

    def _failed(self, buyer: str, error: Exception) -> None:
        self.seen.errors.append(f"{buyer}: {error!r}")


async def play(plan: CrowdPlan) -> None:
    with HistoryWriter(Path(plan.history), plan.name) as history:
        crowd = Crowd(plan, history)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.readline)
        seen = await crowd.run()
    sys.stdout.buffer.write(msgspec.json.encode(seen) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(play(msgspec.json.decode(sys.stdin.readline(), type=CrowdPlan)))
