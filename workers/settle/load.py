"""Read the rows that a batch of events touches, locked, in a few statements.

Locks are always taken in this order: offers, orders, (facts and refunds unlocked: only the
settler decides them), then the ledger's accounts; whoever else locks more than one keeps it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.people.attribution import credits_at
from engine.events import (
    AnyEvent,
    ClaimHeld,
    ClaimPaid,
    ClaimPaying,
    ClaimReleased,
    ClaimReturned,
    OfferClosed,
    OfferOpened,
    OfferRestocked,
    PaymentLate,
    PaymentRefused,
)
from engine.ledger.splits import Credit, SplitPlan, to_snapshot
from workers.settle.book import Book, FactNow, OfferNow, OrderNow, RefundNow

RULE = "v1"

_OFFERS = text(
    "SELECT id, state, total, held, sold FROM offers WHERE id = ANY(CAST(:ids AS text[])) "
    "ORDER BY id FOR UPDATE"
)
_ORDERS = text(
    "SELECT id, claim_id, offer_id, campaign_id, version, buyer_id, qty, units, price_id,"
    " unit_price_fen, amount_fen, state, claim_state, claimed_at_ms, expires_at_ms, idem_key,"
    " body_hash, touch, credit, reason, pay_expires_at_ms, attempt_id, payment_id, paid_at_ms,"
    " paid_fen, release_due FROM orders WHERE claim_id = ANY(CAST(:ids AS text[])) "
    "ORDER BY id FOR UPDATE"
)
_FACTS = text(
    "SELECT id, amount_fen, outcome, order_id, claim_id FROM payment_facts "
    "WHERE id = ANY(CAST(:ids AS text[]))"
)
_REFUNDS = text(
    "SELECT id, units, applied_seq IS NOT NULL FROM refunds WHERE id = ANY(CAST(:ids AS text[]))"
)
_COMMANDS = text(
    "SELECT id, applied_seq IS NOT NULL FROM offer_commands WHERE id = ANY(CAST(:ids AS text[]))"
)
_ATTEMPTS = text("SELECT id FROM payment_attempts WHERE id = ANY(CAST(:ids AS text[]))")
_PLANS = text(
    "SELECT v.campaign_id, v.version, v.body -> 'split_plan' FROM campaign_versions v "
    "JOIN unnest(CAST(:ids AS text[]), CAST(:versions AS int[])) AS asked(campaign_id, version) "
    "USING (campaign_id, version)"
)
_OLD_CLAIMS = (ClaimPaying, ClaimPaid, ClaimReleased, ClaimReturned)


async def load_book(
    session: AsyncSession, shard: int, epoch: int, events: Sequence[AnyEvent]
) -> Book:
    """The book of these events, with the touched rows locked."""
    book = Book(shard=shard, epoch=epoch)
    offer_ids = {event.offer_id for event in events}
    for row in await _rows(session, _OFFERS, offer_ids):
        book.offers[row[0]] = OfferNow(*row)
    claims = {event.claim_id for event in events if isinstance(event, _OLD_CLAIMS)}
    claims |= {event.claim_id for event in events if isinstance(event, ClaimHeld)}
    for row in await _mappings(session, _ORDERS, claims):
        book.orders[row["claim_id"]] = OrderNow(**row)
    payments = (ClaimPaid, PaymentLate, PaymentRefused)
    for row in await _rows(
        session, _FACTS, {event.fact_id for event in events if isinstance(event, payments)}
    ):
        book.facts[row[0]] = FactNow(*row)
    for row in await _rows(
        session, _REFUNDS, {event.refund_id for event in events if isinstance(event, ClaimReturned)}
    ):
        book.refunds[row[0]] = RefundNow(*row)
    offers = (OfferOpened, OfferRestocked, OfferClosed)
    commands = {event.command_id for event in events if isinstance(event, offers)}
    book.commands = {row[0]: row[1] for row in await _rows(session, _COMMANDS, commands)}
    paying = (ClaimPaying, ClaimPaid, ClaimReleased)
    attempts = {event.attempt_id for event in events if isinstance(event, paying)} - {""}
    book.attempts = {row[0] for row in await _rows(session, _ATTEMPTS, attempts)}
    await _load_credits(session, book, [event for event in events if isinstance(event, ClaimHeld)])
    return book


async def _rows(session: AsyncSession, query: Any, ids: Iterable[str]) -> Sequence[Any]:
    wanted = sorted(ids)
    if not wanted:
        return []
    return (await session.execute(query, {"ids": wanted})).all()


async def _mappings(
    session: AsyncSession, query: Any, ids: Iterable[str]
) -> Sequence[dict[str, Any]]:
    return [dict(row._mapping) for row in await _rows(session, query, ids)]


async def _load_credits(session: AsyncSession, book: Book, held: Sequence[ClaimHeld]) -> None:
    """Who is credited with each new claim, and why, as of the time of the claim."""
    if not held:
        return
    versions = sorted({(event.campaign_id, event.version) for event in held})
    rows = await session.execute(
        _PLANS, {"ids": [one for one, _ in versions], "versions": [v for _, v in versions]}
    )
    plans = {(row[0], row[1]): SplitPlan(**row[2]) for row in rows}
    credited = await credits_at(session, [(event.buyer_id, event.at_ms) for event in held])
    for event in held:
        plan = plans.get((event.campaign_id, event.version))
        if plan is None:
            continue  # fold says so: without a published version the event is poison
        promoter, upline, store = credited[event.buyer_id, event.at_ms]
        credit = Credit(promoter_id=promoter, upline_id=upline, store_id=store)
        why = {"rule": RULE, "by": "binding" if promoter else "nobody", "at_ms": event.at_ms}
        book.credits[event.claim_id] = to_snapshot(plan, credit, why)
