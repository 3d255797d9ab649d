"""The ledger against a pure model: orders paid, split, refunded, matured, repeated, misused.

After each step the accounts hold what the model says; a rejected command leaves no trace.
Every example has owners of its own, since nothing can ever be deleted from the ledger.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from engine.db import Database
from engine.errors import Conflict, KaituanError
from engine.ledger import chart
from engine.ledger.chart import Account
from engine.ledger.entries import Entry, Line, Standing, order_split, payment_received, refund_done
from engine.ledger.post import sums
from engine.ledger.splits import Credit, SplitPlan, split
from tests.conftest import DbUrls
from tests.engine.ledger_checks import counts, put, unsound

T = TypeVar("T")
PLANS = [
    SplitPlan(1000, 500, 300, True, 1800),
    SplitPlan(3333, 3333, 3334, True, 10_000),
    SplitPlan(800, 200, 1500, False, 3000),
]
_examples = itertools.count()


class Sold(msgspec.Struct):
    """The model's order: what was paid, what went back, who keeps the rest."""

    order_id: str
    plan: SplitPlan
    credit: Credit
    paid_fen: int
    refunded_fen: int = 0
    refunds: int = 0


class Ledger(RuleBasedStateMachine):
    """Commands on the real ledger and on the model side by side."""

    url = ""
    orders: Bundle[Sold] = Bundle("orders")
    posted: Bundle[Entry] = Bundle("posted")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.db = Database(self.url, pool_max=1)
        self.mark = f"x{next(_examples)}"
        self.clearing = chart.clearing(self.mark)
        self.held: Counter[Account] = Counter()
        self.sold = 0
        self.hq_before_fen = self.run(self.read([chart.HQ]))[chart.HQ]
        self.before = self.run(counts(self.db))

    def teardown(self) -> None:
        try:
            assert self.run(unsound(self.db)) == []
        finally:
            self.run(self.db.close())
            self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def read(self, accounts: list[Account]) -> dict[Account, int]:
        async with self.db.begin() as session:
            return await sums(session, accounts)

    def put(self, *entries: Entry) -> None:
        """Post what must be new, and note how many rows that made."""
        assert self.run(put(self.db, *entries)) == len(entries)
        after = self.run(counts(self.db))
        assert after[0] == self.before[0] + len(entries)
        self.before = after

    def guide(self, name: str) -> str:
        return f"{self.mark}-{name}"

    @rule(
        target=orders,
        plan=st.sampled_from(PLANS),
        pair=st.permutations(["g1", "g2", "g3"]),
        has_upline=st.booleans(),
        has_store=st.booleans(),
        paid=st.one_of(st.integers(1, 50), st.integers(100, 20_000)),
    )
    def sell(
        self, plan: SplitPlan, pair: list[str], has_upline: bool, has_store: bool, paid: int
    ) -> Sold:
        self.sold += 1
        upline = self.guide(pair[1]) if has_upline else None
        store = self.guide("s") if has_store else None
        credit = Credit(self.guide(pair[0]), upline, store)
        order = Sold(f"{self.mark}-o{self.sold}", plan, credit, paid)
        received = payment_received(order.order_id, self.mark, paid, order.order_id, 1)
        self.put(received, order_split(order.order_id, paid, plan, credit, 2))
        self.held[self.clearing] -= paid
        self._keep(order, +1)
        return order

    def _keep(self, order: Sold, sign: int) -> None:
        """Add or take away what the roles keep of this order, in the model."""
        shares = split(order.paid_fen - order.refunded_fen, order.plan, order.credit)
        for account, fen in (
            (chart.promoter_pending(order.credit.promoter_id or "-"), shares.promoter_fen),
            (chart.promoter_pending(order.credit.upline_id or "-"), shares.upline_fen),
            (chart.store(order.credit.store_id or "-"), shares.store_fen),
            (chart.HQ, shares.hq_fen),
        ):
            self.held[account] += sign * fen

    @rule(target=posted, order=orders, part=st.one_of(st.just(100), st.integers(1, 99)))
    def refund(self, order: Sold, part: int) -> Any:
        left = order.paid_fen - order.refunded_fen
        if left == 0:
            return multiple()
        amount = max(1, left * part // 100)
        order.refunds += 1
        standing = Standing(order.plan, order.credit, order.paid_fen, order.refunded_fen)
        refund_id = f"{order.order_id}-r{order.refunds}"
        done = refund_done(refund_id, self.mark, amount, order.order_id, 3, standing)
        self.put(done)
        self._keep(order, -1)
        order.refunded_fen += amount
        self._keep(order, +1)
        self.held[self.clearing] += amount
        self._claw()
        return done

    def _claw(self) -> None:
        """What pending lacks comes out of available, and then becomes a debt."""
        for name in ("g1", "g2", "g3"):
            guide = self.guide(name)
            pending, available = chart.promoter_pending(guide), chart.promoter_available(guide)
            lacking = max(0, -self.held[pending])
            taken = min(lacking, self.held[available])
            self.held[pending] += lacking
            self.held[available] -= taken
            self.held[chart.promoter_debt(guide)] -= lacking - taken

    @rule(order=orders, part=st.sampled_from([100, 30, 110]))
    def mature(self, order: Sold, part: int) -> None:
        """All, some, or more than all of what is pending for an order's promoter."""
        guide = order.credit.promoter_id or ""
        pending, available = chart.promoter_pending(guide), chart.promoter_available(guide)
        fen = self.held[pending] * part // 100 + (part > 100)
        if fen == 0:
            return
        self.sold += 1
        entry = Entry(f"{self.mark}-m{self.sold}", "m", None, 4, (Line(pending, available, fen),))
        if self.held[pending] < fen:
            with pytest.raises(Conflict, match="balance_too_low"):
                self.run(put(self.db, entry))
            return
        self.put(entry)
        self.held[pending] -= fen
        self.held[available] += fen

    @rule(entry=posted)
    def repeat(self, entry: Entry) -> None:
        assert self.run(put(self.db, entry)) == 0

    @rule(entry=consumes(posted))
    def misuse(self, entry: Entry) -> None:
        """The same reference with one fen more, in a batch that would else be fine."""
        self.sold += 1
        last = entry.lines[-1]
        more = msgspec.structs.replace(last, amount_fen=last.amount_fen + 1)
        wrong = msgspec.structs.replace(entry, lines=(*entry.lines[:-1], more))
        fine = payment_received(f"{self.mark}-n{self.sold}", self.mark, 5, None, 5)
        with pytest.raises(KaituanError, match="reference_reused"):
            self.run(put(self.db, fine, wrong))

    @invariant()
    def holds_what_the_model_says(self) -> None:
        accounts = [account for account in self.held if ":-" not in account]
        found = self.run(self.read([*accounts, chart.ESCROW]))
        assert found.pop(chart.ESCROW) == 0
        expected = {account: self.held[account] for account in accounts}
        if chart.HQ in expected:
            expected[chart.HQ] += self.hq_before_fen
        assert found == expected
        assert self.run(counts(self.db)) == self.before


def test_the_ledger_behaves_as_its_model(module_db_urls: DbUrls) -> None:
    Ledger.url = module_db_urls.app
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
