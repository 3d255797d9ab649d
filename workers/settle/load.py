"""Read the rows that a batch of events touches, locked, in a few statements.

Locks are always taken in this order: buyers (newcomers.py), offers, teams, orders, (facts and
refunds unlocked: only the settler decides them), then the ledger's accounts; whoever else locks
more than one keeps it.
"""

from collections.abc import Collection, Iterable, Sequence
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
    SeatEvent,
    SeatMoved,
    TeamEvent,
    TeamFailed,
    TeamFormed,
    TeamSubsidised,
)
from engine.ledger.splits import Credit, SplitPlan, to_snapshot
from workers.settle.book import (
    Book,
    FactNow,
    Intents,
    OfferNow,
    OrderNow,
    Promise,
    RefundNow,
    TeamCommandNow,
    TeamNow,
)
from workers.settle.booking import COVERED
from workers.settle.newcomers import load_kept, lock_buyers
from workers.settle.waiting import load_waits

RULE = "v1"

_OFFERS = text(
    "SELECT id, state, total, held, sold, campaign_id, sku_id, kind,"
    " CASE WHEN config -> 'upgrade_guarantee' = 'true' THEN config -> 'team' -> 'steps' END"
    " FROM offers WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR UPDATE"
)
# Other rows point to teams: only FOR NO KEY UPDATE lets them be inserted meanwhile.
_TEAMS = text(
    "SELECT id, offer_id, campaign_id, version, kind, opener_id, captain_id, size, state,"
    " opened_at_ms, deadline_ms, why, paid, subsidy, step, decided_at_ms, booked_at_ms,"
    " reached_at_ms, guarantee_due FROM teams"
    " WHERE id = ANY(CAST(:ids AS text[])) ORDER BY id FOR NO KEY UPDATE"
)
ORDER_COLUMNS = (
    "id, claim_id, offer_id, campaign_id, version, buyer_id, qty, units, price_id,"
    " unit_price_fen, amount_fen, state, claim_state, claimed_at_ms, expires_at_ms, idem_key,"
    " body_hash, touch, credit, reason, pay_expires_at_ms, attempt_id, payment_id, paid_at_ms,"
    " paid_fen, refunded_fen, release_due, team_id, seat, consent, newcomer, split_fen,"
    " final_price_fen"
)
_ORDERS = text(
    f"SELECT {ORDER_COLUMNS} FROM orders WHERE claim_id = ANY(CAST(:ids AS text[])) "  # noqa: S608
    "ORDER BY id FOR UPDATE"
)
_ORDERS_AND_MEMBERS = text(
    f"SELECT {ORDER_COLUMNS} FROM orders WHERE claim_id = ANY(CAST(:ids AS text[]))"  # noqa: S608
    " OR (team_id = ANY(CAST(:teams AS text[])) AND seat = 'taken' AND claim_state = 'paid')"
    " ORDER BY id FOR UPDATE"
)
_INTENTS = text(
    "SELECT payment_id, CAST(sum(amount_fen) AS bigint), CAST(sum(units) AS int) FROM refunds"
    " WHERE payment_id = ANY(CAST(:ids AS text[])) GROUP BY payment_id"
)
_TEAM_COMMANDS = text(
    "SELECT id, team_id, amount_fen, applied_seq IS NOT NULL FROM team_commands"
    " WHERE id = ANY(CAST(:ids AS text[]))"
    " OR (team_id = ANY(CAST(:failed AS text[])) AND applied_seq IS NOT NULL)"
)
# Crowds that formed with the guarantee; at most one of a SKU and campaign (kind_rules.py).
_PROMISES = text(
    "SELECT f.campaign_id, f.sku_id, t.decided_at_ms,"
    " CAST(f.config -> 'team' -> 'steps' -> (t.step - 1) ->> 2 AS bigint)"
    " FROM offers f JOIN teams t ON t.offer_id = f.id"
    " WHERE f.campaign_id = ANY(CAST(:ids AS text[])) AND f.kind = 'crowd'"
    " AND f.config -> 'upgrade_guarantee' = 'true' AND t.state = 'formed'"
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
_OF_CLAIMS = (
    *(ClaimHeld, ClaimPaying, ClaimPaid, ClaimReleased, ClaimReturned, SeatEvent, SeatMoved),
)


async def load_book(
    session: AsyncSession, shard: int, epoch: int, events: Sequence[AnyEvent]
) -> Book:
    """The book of these events, with the touched rows locked."""
    book = Book(shard=shard, epoch=epoch)
    judged = await lock_buyers(session, events)
    offer_ids = {event.offer_id for event in events}
    for row in await _rows(session, _OFFERS, offer_ids):
        book.offers[row[0]] = OfferNow(*row)
    await _load_promises(session, book, events)
    await _load_teams(session, book, events)
    await _load_orders(session, book, events, judged.claims)
    await load_kept(session, book, judged, events)
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
    await load_waits(session, book, events)
    await _load_credits(session, book, [event for event in events if isinstance(event, ClaimHeld)])
    return book


async def _load_promises(session: AsyncSession, book: Book, events: Sequence[AnyEvent]) -> None:
    """What formed crowds promised to orders that these events make stand; most batches have none.

    A crowd and the orders it covers are of one shard, whose events are settled one batch after
    the other: whichever of the crowd's forming and an order's standing is settled second sees
    the first.
    """
    standing = {event.offer_id for event in events if isinstance(event, ClaimPaid | TeamFormed)}
    campaigns = {
        offer.campaign_id
        for offer_id in standing
        if (offer := book.offers.get(offer_id)) is not None and offer.kind in COVERED
    }
    for row in await _rows(session, _PROMISES, campaigns):
        book.promises[row[0], row[1]] = Promise(*row)


async def _load_teams(session: AsyncSession, book: Book, events: Sequence[AnyEvent]) -> None:
    ids = {
        event.team_id for event in events if isinstance(event, TeamEvent | ClaimHeld | ClaimPaid)
    }
    for row in await _mappings(session, _TEAMS, ids - {""}):
        book.teams[row["id"]] = TeamNow(**row)
    commands = {event.command_id for event in events if isinstance(event, TeamSubsidised)}
    failed = {event.team_id for event in events if isinstance(event, TeamFailed)}
    if not commands and not any(book.teams[one].subsidy for one in failed & book.teams.keys()):
        return
    given = {"ids": sorted(commands), "failed": sorted(failed)}
    for found in await session.execute(_TEAM_COMMANDS, given):
        book.team_commands[found[0]] = TeamCommandNow(*found)


async def _load_orders(
    session: AsyncSession, book: Book, events: Sequence[AnyEvent], judged: Collection[str]
) -> None:
    """Those of the events, all members of teams that are decided by them, and the newcomers'
    orders that are judged by them, of whatever shard."""
    claims = sorted(
        {event.claim_id for event in events if isinstance(event, _OF_CLAIMS)}.union(judged)
    )
    teams = sorted(
        {event.team_id for event in events if isinstance(event, TeamFormed | TeamFailed)}
    )
    if not claims and not teams:
        return
    given = {"ids": claims, "teams": teams} if teams else {"ids": claims}
    found = await session.execute(_ORDERS_AND_MEMBERS if teams else _ORDERS, given)
    for row in found:
        order = OrderNow(**row._mapping)
        book.orders[order.claim_id] = order
    asked = [one for one in book.orders.values() if one.team_id in teams or one.claim_id in judged]
    book.intents = await intents_of(session, asked)


async def intents_of(session: AsyncSession, orders: Iterable[OrderNow]) -> dict[str, Intents]:
    """payment → what its refund intents come to; the orders must be locked."""
    payments = {order.payment_id for order in orders if order.payment_id is not None}
    return {row[0]: Intents(*row[1:]) for row in await _rows(session, _INTENTS, payments)}


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
