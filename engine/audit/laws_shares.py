"""M4, M5 and M9: what each role kept of each order, and what went back to the customers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.audit.differences import asked_in_time, differences
from engine.audit.report import Finding, LawResult
from engine.audit.sources import Given, pages, snapshot
from engine.errors import KaituanError
from engine.ledger import chart
from engine.ledger.chart import Kind
from engine.ledger.splits import Credit, Shares, SplitPlan, from_snapshot, split
from engine.money import BPS

_ORDERS = """
SELECT o.id, o.paid_fen, o.split_fen, o.credit, coalesce(r.done, 0)::bigint AS refunded_fen
FROM orders o LEFT JOIN (
  SELECT payment_id, sum(amount_fen) AS done FROM refunds WHERE state = 'done' GROUP BY payment_id
) r ON r.payment_id = o.payment_id WHERE o.payment_id IS NOT NULL
"""
_MOVED = text(
    """
    SELECT t.order_id, m.name, sum(m.fen)::bigint AS fen
    FROM ledger_transactions t JOIN postings p ON p.transaction_id = t.id
    CROSS JOIN LATERAL
      (VALUES (p.source, -p.amount_fen), (p.destination, p.amount_fen)) m (name, fen)
    WHERE t.order_id = ANY(CAST(:ids AS text[])) GROUP BY t.order_id, m.name
    """
)
Net = Counter[str]  # fen by role's owner: `promoter:<guide>`, `store:<store>`, `hq` …


async def _nets(session: AsyncSession, orders: Sequence[RowMapping]) -> Mapping[str, Net]:
    """What every order left in whose hands; a guide's three accounts are one."""
    nets: dict[str, Net] = {row["id"]: Counter() for row in orders}
    for order_id, name, fen in await session.execute(_MOVED, {"ids": list(nets)}):
        if chart.kind_of(name) not in (Kind.ESCROW, Kind.CLEARING):
            owner = name.rpartition(":")[0] if name.startswith("promoter:") else name
            nets[order_id][owner] += fen
    return nets


def _wanted(kept_fen: int, plan: SplitPlan, credit: Credit) -> Net:
    shares: Shares = split(kept_fen, plan, credit)
    wanted: Net = Counter()
    wanted[f"promoter:{credit.promoter_id}"] += shares.promoter_fen
    wanted[f"promoter:{credit.upline_id}"] += shares.upline_fen
    wanted[f"store:{credit.store_id}"] += shares.store_fen
    wanted["hq"] += shares.hq_fen
    return +wanted


def _shown(net: Net) -> str:
    return ", ".join(f"{name} {fen}" for name, fen in sorted(net.items()) if fen) or "nothing"


async def m4_splits_recomputed(given: Given) -> LawResult:
    """Per order and role: net posted == split(paid − refunded), from the order's own snapshot.

    Nothing is posted for a team's order that does not stand yet, or never did.
    """
    finding = Finding("M4", "each role keeps split(paid − refunded) of each order, to the fen")
    async with snapshot(given.db) as session:
        async for page in pages(session, _ORDERS):
            nets = await _nets(session, page)
            for row in page:
                kept_fen = row["paid_fen"] - row["refunded_fen"]
                found = Counter({name: fen for name, fen in nets[row["id"]].items() if fen})
                try:
                    wanted = _wanted(kept_fen, *from_snapshot(row["credit"]))
                    if row["split_fen"] is None:
                        wanted = Net()
                except (KaituanError, ValueError) as error:
                    finding.expect(False, f"order {row['id']} cannot be split: {error}")
                    continue
                text_ = f"order {row['id']}: posted {_shown(found)}; the split is {_shown(wanted)}"
                finding.expect(found == wanted, text_)
    return finding.result()


_TERMS = (
    "SELECT DISTINCT ON (guide_id) guide_id, recruiter_id FROM guide_terms ORDER BY 1, from_ms DESC"
)


async def m5_shares_within_bounds(given: Given) -> LawResult:
    """From the postings alone: cap, exact remainder, two levels, no cycle, nothing for oneself."""
    finding = Finding("M5", "shares stay within the cap, HQ has the exact rest, two levels at most")
    async with snapshot(given.db) as session:
        async for page in pages(session, _ORDERS):
            nets = await _nets(session, page)
            for row in page:
                why = _out_of_bounds(dict(row), nets[row["id"]])
                finding.expect(not why, f"order {row['id']}: {why}")
        recruiters: dict[str, str | None] = {}
        async for page in pages(session, _TERMS):
            recruiters |= {row["guide_id"]: row["recruiter_id"] for row in page}
    for guide in recruiters:
        finding.expect(not _in_cycle(guide, recruiters), f"guide {guide} is their own recruiter")
    return finding.result()


def _out_of_bounds(row: Mapping[str, Any], net: Net) -> str:
    is_split = row["split_fen"] is not None
    kept_fen = row["paid_fen"] - row["refunded_fen"] if is_split else 0
    plan, credit = row["credit"]["plan"], row["credit"]["credit"]
    roles_fen = sum(fen for name, fen in net.items() if name.startswith(("promoter:", "store:")))
    levels = sorted(name for name, fen in net.items() if fen and name.startswith("promoter:"))
    if roles_fen * BPS > plan["cap_bps"] * kept_fen or roles_fen > kept_fen:
        return f"roles keep {roles_fen} of {kept_fen} fen, the cap is {plan['cap_bps']} bps"
    if net["hq"] != kept_fen - roles_fen:
        return f"HQ keeps {net['hq']} fen, the rest of {kept_fen} less {roles_fen} is its own"
    if len(levels) > 2:
        return f"{len(levels)} levels earn: {', '.join(levels)}"
    if credit.get("buyer_guide_id") and f"promoter:{credit['buyer_guide_id']}" in levels:
        return f"guide {credit['buyer_guide_id']} earns from their own order"
    return ""


def _in_cycle(guide: str, recruiters: Mapping[str, str | None]) -> bool:
    """Whether going from recruiter to recruiter comes back to `guide`."""
    seen: set[str] = set()
    at = recruiters.get(guide)
    while at is not None and at not in seen:
        if at == guide:
            return True
        seen.add(at)
        at = recruiters.get(at)
    return False


_REFUNDS = """
SELECT f.id, f.amount_fen, count(r.id) AS n, coalesce(sum(r.amount_fen), 0)::bigint AS asked,
       count(DISTINCT r.cause) AS causes,
       coalesce(sum(r.amount_fen) FILTER (WHERE r.state = 'done'), 0)::bigint AS done,
       max(o.id) AS order_id, max(o.refunded_fen) AS booked
FROM payment_facts f LEFT JOIN refunds r ON r.payment_id = f.id
LEFT JOIN orders o ON o.payment_id = f.id GROUP BY f.id
"""
_STRAY = """
SELECT r.id, r.payment_id FROM refunds r LEFT JOIN payment_facts f ON f.id = r.payment_id
WHERE f.id IS NULL
"""


async def m9_refunds_within_paid(given: Given) -> LawResult:
    """A payment's refunds are at most what was paid, each cause once and under one number.

    A crowd's difference is one of them: due once, to the fen, to each order that it covers. No
    buyer leaves a crowd between its being reached and its end.
    """
    finding = Finding("M9", "refunds never exceed what was paid, each cause has one number")
    async with snapshot(given.db) as session:
        async for page in pages(session, _REFUNDS):
            for row in page:
                name = f"payment {row['id']} of {row['amount_fen']} fen"
                within = row["done"] <= row["asked"] <= row["amount_fen"]
                finding.expect(within, f"{name} has refunds of {row['asked']}, done {row['done']}")
                text_ = f"{name} has {row['n']} refunds for {row['causes']} causes"
                finding.expect(row["n"] == row["causes"], text_)
                if row["order_id"]:
                    text_ = f"order {row['order_id']} says {row['booked']} fen are refunded, "
                    finding.expect(row["booked"] == row["done"], f"{text_}done are {row['done']}")
        async for page in pages(session, _STRAY):
            for row in page:
                finding.expect(False, f"refund {row['id']} is of no payment: {row['payment_id']}")
        await differences(session, finding)
        await asked_in_time(session, finding)
        if given.bill:
            await _numbers(given, session, finding)
    return finding.result()


_BILLED = """
SELECT p.transaction_id, p.amount_fen, coalesce(sum(r.amount_fen), 0) AS back,
       count(r.refund_no) AS n, count(DISTINCT r.refund_no) AS numbers
FROM bill p JOIN bill r ON r.transaction_id = p.transaction_id AND r.kind = 'refund'
WHERE p.kind = 'payment' GROUP BY p.number
"""


async def _numbers(given: Given, session: AsyncSession, finding: Finding) -> None:
    """On the bill: every refund under a number of ours, once, together at most what was paid."""
    for row in given.scratch.execute(_BILLED):
        name = f"payment {row['transaction_id']} of {row['amount_fen']} fen"
        text_ = f"{name}: the bill shows {row['back']} fen back in {row['n']} refunds"
        within = row["back"] <= row["amount_fen"] and row["n"] == row["numbers"]
        finding.expect(within, f"{text_} under {row['numbers']} numbers")
    known = text("SELECT id, payment_id FROM refunds WHERE id = ANY(CAST(:ids AS text[]))")
    cursor = given.scratch.execute(
        "SELECT refund_no, transaction_id FROM bill WHERE kind = 'refund'"
    )
    while rows := cursor.fetchmany(1_000):
        ids = [row["refund_no"] for row in rows]
        ours = {row.id: row.payment_id for row in await session.execute(known, {"ids": ids})}
        for row in rows:
            text_ = f"the bill shows refund {row['refund_no']}, a number that was never given"
            finding.expect(ours.get(row["refund_no"]) == row["transaction_id"], text_)
