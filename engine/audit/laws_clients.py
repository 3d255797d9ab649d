"""I6 and I7: what clients were told, beside what is there.

The history is in the scratch file; it is walked in pages, each compared with the rows that its
ids name. Every answer has its counterpart: a claim its order (or it is lost, and said to be), a
refusal none, a payment page its attempt, a refund its intent.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.audit.report import Finding, LawResult, not_checked
from engine.audit.sources import PAGE_ROWS_MAX, Given, read_positions, snapshot
from engine.ids import parse_claim_id

_NO_HISTORY = "no client history was given (--history DIR)"
_CLOSED = text("SELECT shard, epoch, last_seq FROM shard_epochs WHERE last_seq IS NOT NULL")


class Fates:
    """Which claims may be without an order: lost with a closed epoch, or not settled yet."""

    def __init__(
        self, closed: Mapping[tuple[int, int], int], now: Mapping[int, tuple[int, int]]
    ) -> None:
        self._closed, self._now = closed, now

    def is_lost(self, claim_id: str) -> bool:
        """Its epoch is closed and ended before its seq."""
        born = parse_claim_id(claim_id)
        if born is None:
            return False
        last = self._closed.get((born.shard, born.epoch))
        return last is not None and born.seq > last

    def is_unsettled(self, claim_id: str) -> bool:
        """Its event is still in the stream of the current epoch."""
        born = parse_claim_id(claim_id)
        if born is None:
            return False
        epoch, seq = self._now.get(born.shard, (0, 0))
        return born.epoch == epoch and born.seq > seq


async def read_fates(session: AsyncSession) -> Fates:
    """As PostgreSQL says in this snapshot."""
    closed = {(row[0], row[1]): row[2] for row in await session.execute(_CLOSED)}
    now = {one.shard: (one.epoch, one.seq) for one in await read_positions(session)}
    return Fates(closed, now)


def walk(given: Given, sql: str) -> Iterator[list[sqlite3.Row]]:
    """Rows of the scratch file in pages."""
    cursor = given.scratch.execute(sql)
    while page := cursor.fetchmany(PAGE_ROWS_MAX):
        yield page


async def _by_id(
    session: AsyncSession, sql: str, ids: Sequence[str | None]
) -> dict[str, dict[str, Any]]:
    """Rows whose first column is one of `ids`, by it."""
    rows = await session.execute(text(sql), {"ids": [one for one in ids if one is not None]})
    return {row[0]: dict(row._mapping) for row in rows}


async def i6_answers_have_orders(given: Given) -> LawResult:
    """Every acknowledged claim is exactly one order, or lost and said so; a refused one is none."""
    if not given.history:
        return not_checked("I6", _NO_HISTORY)
    finding = Finding("I6", "every answer that clients were given has its counterpart")
    async with snapshot(given.db) as session:
        fates = await read_fates(session)
        await _granted(given, session, fates, finding)
        await _keys(given, session, finding)
        await _looks(given, session, fates, finding)
        for check in (_pages_shown, _refunds_promised, _cancels):
            await check(given, session, fates, finding)
    return finding.result()


_ORDERS = (
    "SELECT claim_id, buyer_id, offer_id, qty, price_id, unit_price_fen, expires_at_ms, idem_key"
    " FROM orders WHERE claim_id = ANY(CAST(:ids AS text[]))"
)


async def _granted(given: Given, session: AsyncSession, fates: Fates, finding: Finding) -> None:
    for page in walk(given, "SELECT * FROM requests WHERE op = 'claim' AND type = 'ok'"):
        orders = await _by_id(session, _ORDERS, [row["told_claim_id"] for row in page])
        for row in page:
            claim_id = row["told_claim_id"]
            order = orders.get(claim_id)
            if order is None:
                why = _missing(given, fates, claim_id, row["answered_at_ms"])
                finding.expect(not why, f"request {row['id']} was told {claim_id}, {why}")
                continue
            asked = [row[name] for name in ("buyer", "offer", "qty", "price_id")]
            asked += [row["price_fen"], row["expires_at_ms"], row["key"]]
            found = list(order.values())[1:]
            finding.expect(
                asked == found, f"request {row['id']} of {asked} became {claim_id} of {found}"
            )


def _missing(given: Given, fates: Fates, claim_id: str, answered_at_ms: int) -> str:
    """Why a claim may not be without an order; '' when it may."""
    if fates.is_lost(claim_id):
        return ""
    if fates.is_unsettled(claim_id):
        young = answered_at_ms >= given.wall_now_ms - given.lag_ms
        return "" if young else "which is still not settled"
    return "which has no order and is not lost"


_GROUPS = """
SELECT buyer, offer, "key", min(type = 'fail' AND code <> 'key_reused') AS refused,
       group_concat(DISTINCT qty || '|' || price_id) AS bodies, count(*) AS n
FROM requests WHERE op = 'claim' GROUP BY buyer, offer, "key"
"""
_ORDERS_OF_KEYS = text(
    """
    SELECT o.buyer_id, o.offer_id, o.idem_key, o.qty || '|' || o.price_id AS body
    FROM orders o JOIN unnest(CAST(:buyers AS text[]), CAST(:offers AS text[]),
                              CAST(:keys AS text[])) AS asked (buyer_id, offer_id, idem_key)
      ON o.buyer_id = asked.buyer_id AND o.offer_id = asked.offer_id
     AND o.idem_key = asked.idem_key
    """
)


async def _keys(given: Given, session: AsyncSession, finding: Finding) -> None:
    """Per key: none when every answer was a refusal, else at most one, of a body that was asked."""
    for page in walk(given, _GROUPS):
        found = await session.execute(
            _ORDERS_OF_KEYS,
            {
                "buyers": [row["buyer"] for row in page],
                "offers": [row["offer"] for row in page],
                "keys": [row["key"] for row in page],
            },
        )
        orders: dict[tuple[str, str, str], list[str]] = {}
        for buyer, offer, key, body in found:
            orders.setdefault((buyer, offer, key), []).append(body)
        for row in page:
            bodies = orders.get((row["buyer"], row["offer"], row["key"]), [])
            name = f"key {row['key']} of buyer {row['buyer']} on {row['offer']}"
            if row["refused"]:
                finding.expect(not bodies, f"{name} was refused each time and has an order")
                continue
            asked = str(row["bodies"]).split(",")
            good = len(bodies) <= 1 and all(body in asked for body in bodies)
            finding.expect(good, f"{name} asked for {asked} and has orders of {bodies}")


async def _looks(given: Given, session: AsyncSession, fates: Fates, finding: Finding) -> None:
    """An ordered claim is never lost; one that was said to be lost is."""
    sql = "SELECT * FROM requests WHERE op = 'look' AND (ordered = 1 OR code = 'claim_lost')"
    for page in walk(given, sql):
        orders = await _by_id(session, _ORDERS, [row["claim_id"] for row in page])
        for row in page:
            claim_id, has = row["claim_id"], row["claim_id"] in orders
            if row["ordered"]:
                finding.expect(has, f"{claim_id} was said to be ordered and has no order")
            else:
                lost = fates.is_lost(claim_id) and not has
                finding.expect(lost, f"{claim_id} was said to be lost and is not")


async def _pages_shown(given: Given, session: AsyncSession, fates: Fates, finding: Finding) -> None:
    rows = (
        "SELECT id, claim_id, amount_fen FROM payment_attempts WHERE id = ANY(CAST(:ids AS text[]))"
    )
    for page in walk(given, "SELECT * FROM requests WHERE op = 'pay' AND type = 'ok'"):
        attempts = await _by_id(session, rows, [row["told_attempt_id"] for row in page])
        for row in page:
            attempt = attempts.get(row["told_attempt_id"])
            found = [attempt["claim_id"], attempt["amount_fen"]] if attempt else []
            told = [row["claim_id"], row["amount_fen"]]
            name = f"request {row['id']} was shown attempt {row['told_attempt_id']}"
            finding.expect(found == told, f"{name} of {told}, its row is {found}")


async def _refunds_promised(
    given: Given, session: AsyncSession, fates: Fates, finding: Finding
) -> None:
    rows = "SELECT id, order_id, amount_fen FROM refunds WHERE id = ANY(CAST(:ids AS text[]))"
    for page in walk(given, "SELECT * FROM requests WHERE op = 'refund' AND type = 'ok'"):
        refunds = await _by_id(session, rows, [row["refund_id"] for row in page])
        for row in page:
            refund = refunds.get(row["refund_id"])
            found = [refund["order_id"], refund["amount_fen"]] if refund else []
            told = [row["order_id"], row["amount_fen"]]
            name = f"request {row['id']} was promised refund {row['refund_id']}"
            finding.expect(found == told, f"{name} of {told}, its row is {found}")


async def _cancels(given: Given, session: AsyncSession, fates: Fates, finding: Finding) -> None:
    """A cancelled claim is released; only a late payment may have retaken it since."""
    rows = "SELECT claim_id, claim_state FROM orders WHERE claim_id = ANY(CAST(:ids AS text[]))"
    for page in walk(given, "SELECT * FROM requests WHERE op = 'cancel' AND type = 'ok'"):
        orders = await _by_id(session, rows, [row["claim_id"] for row in page])
        for row in page:
            order = orders.get(row["claim_id"])
            state = order["claim_state"] if order else "released"
            young = not given.at_rest and row["answered_at_ms"] >= given.wall_now_ms - given.lag_ms
            fine = young or state not in ("held", "paying")
            finding.expect(fine, f"{row['claim_id']} was cancelled and is {state}")


async def i7_same_key_same_answer(given: Given) -> LawResult:
    """One (buyer, offer, key) and body has one claim, price and deadline; another body is 422."""
    if not given.history:
        return not_checked("I7", _NO_HISTORY)
    finding = Finding("I7", "a repeated key has the same answer, with another body it is refused")
    async with snapshot(given.db) as session:
        fates = await read_fates(session)
    ordered = given.scratch.execute(
        "SELECT * FROM requests WHERE op = 'claim' ORDER BY buyer, offer, \"key\", asked_at_ms"
    )
    for key, rows in groupby(ordered, lambda row: (row["buyer"], row["offer"], row["key"])):
        group = list(rows)
        if len(group) > 1:
            finding.look(len(group))
            for why in _contradictions(group, fates):
                finding.problem(f"key {key[2]} of buyer {key[0]} on {key[1]}: {why}")
    return finding.result()


def _contradictions(group: Sequence[sqlite3.Row], fates: Fates) -> Iterator[str]:
    granted = [
        row for row in group if row["type"] == "ok" and not fates.is_lost(row["told_claim_id"])
    ]
    if not granted:
        return
    answers = {(row["told_claim_id"], row["price_fen"], row["expires_at_ms"]) for row in granted}
    if len(answers) > 1:
        yield f"answered with {sorted(answers)}"
    bodies = {(row["qty"], row["price_id"]) for row in granted}
    if len(bodies) > 1:
        yield f"granted for different bodies {sorted(bodies)}"
    if sum(not row["replay"] for row in granted) > len(answers):
        yield "two answers say that they are the first"
    first = min(granted, key=lambda row: row["answered_at_ms"])
    for row in group:
        # Only what was asked after the answer was there can be held against it.
        later = row["asked_at_ms"] > first["answered_at_ms"] and row["type"] == "fail"
        same = (row["qty"], row["price_id"]) == (first["qty"], first["price_id"])
        if later and (row["status"] == 409 or (same and row["status"] == 422)):
            yield f"request {row['id']} was then answered {row['status']} {row['code']}"
