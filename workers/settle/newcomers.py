"""Whose order stands as a new customer's: across all campaigns the one that was paid first.

A script sees one campaign; what the buyer paid elsewhere is known here. An order by the right of a
new customer loses when its buyer has kept an order that was paid before it: a held one is let go,
a paid one refunded, both with the reason `not_new`. It is judged with each payment of its buyer,
whichever shard settles it, so it does not matter which is settled first.

Batches of one buyer wait for each other: before all other locks each takes its buyers' buckets,
alone when a newcomer's claim is among its own, else together with others. Rows of other shards
are locked in one sorted statement with the batch's own.
"""

import zlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.events import AnyEvent, ClaimHeld, ClaimPaid
from engine.ids import parse_claim_id
from workers.settle.book import Book, Intents, NewRefund, OrderNow

NOT_NEW: Final = "not_new"
# What leaves the store is not taken back: a refund finds only these.
_REFUNDABLE: Final = ("paid", "ready")
_GOING_BACK: Final = ("refunding", "refunded")

_LOCKS: Final = 0x6E6577  # the first number of our advisory locks: "new"
_BUCKETS: Final = 256
_BUYERS = text("SELECT buyer_id, newcomer FROM orders WHERE claim_id = ANY(CAST(:ids AS text[]))")
_LOCK = text(
    "SELECT CASE WHEN alone THEN CAST(pg_advisory_xact_lock(:space, bucket) AS text)"
    " ELSE CAST(pg_advisory_xact_lock_shared(:space, bucket) AS text) END"
    " FROM unnest(CAST(:buckets AS int[]), CAST(:alone AS boolean[])) AS asked(bucket, alone)"
)
_NEWCOMERS = text(
    "SELECT claim_id FROM orders WHERE newcomer AND buyer_id = ANY(CAST(:ids AS text[]))"
    " AND ((claim_state = 'held' AND NOT release_due)"
    " OR (claim_state = 'paid' AND state IN ('paid', 'ready')))"
)
_KEPT = text(
    "SELECT buyer_id, id, paid_at_ms FROM orders WHERE buyer_id = ANY(CAST(:ids AS text[]))"
    " AND payment_id IS NOT NULL AND state NOT IN ('refunding', 'refunded')"
)


class Judged(NamedTuple):
    """The buyers of a batch whose newcomers' orders are looked at, and the claims of these that
    stand or wait already, of any shard."""

    buyers: frozenset[str] = frozenset()
    claims: frozenset[str] = frozenset()


async def lock_buyers(session: AsyncSession, events: Sequence[AnyEvent]) -> Judged:
    """Take the locks of the batch's buyers, before any other lock; whom to judge.

    Nothing is asked when nobody paid and no newcomer claimed.
    """
    paid = sorted({event.claim_id for event in events if isinstance(event, ClaimPaid)})
    buyers: dict[str, bool] = {}  # and whether a newcomer's claim of theirs is in the batch
    for event in events:
        if isinstance(event, ClaimHeld) and (event.newcomer == "1" or event.claim_id in paid):
            buyers[event.buyer_id] = buyers.get(event.buyer_id, False) or event.newcomer == "1"
    if paid:
        for buyer_id, newcomer in await session.execute(_BUYERS, {"ids": paid}):
            buyers[buyer_id] = buyers.get(buyer_id, False) or newcomer
    if not buyers:
        return Judged()
    buckets: dict[int, bool] = {}
    for buyer_id, alone in buyers.items():
        bucket = zlib.crc32(buyer_id.encode()) % _BUCKETS
        buckets[bucket] = buckets.get(bucket, False) or alone
    wanted = sorted(buckets.items())
    await session.execute(
        _LOCK,
        {
            "space": _LOCKS,
            "buckets": [bucket for bucket, _ in wanted],
            "alone": [alone for _, alone in wanted],
        },
    )
    # A statement of its own, begun with the locks: it sees what others committed meanwhile.
    claims = frozenset(await session.scalars(_NEWCOMERS, {"ids": sorted(buyers)}))
    return Judged(frozenset(buyers), claims)


async def load_kept(
    session: AsyncSession, book: Book, judged: Judged, events: Iterable[AnyEvent]
) -> None:
    """What judged buyers have paid and kept, of those who have a newcomer's order."""
    mine = {order.buyer_id for order in book.orders.values() if order.newcomer}
    mine |= {one.buyer_id for one in events if isinstance(one, ClaimHeld) and one.newcomer == "1"}
    buyers = sorted(mine & judged.buyers)
    if not buyers:
        return
    book.kept = {buyer_id: {} for buyer_id in buyers}
    for buyer_id, order_id, paid_at_ms in await session.execute(_KEPT, {"ids": buyers}):
        book.kept[buyer_id][order_id] = paid_at_ms


def judge_newcomers(book: Book) -> None:
    """Let go or refund the newcomers' orders of judged buyers who have paid something before."""
    for order in book.orders.values():
        kept = book.kept.get(order.buyer_id)
        if kept is None:
            continue
        if order.payment_id is None or order.state in _GOING_BACK:
            kept.pop(order.id, None)
        else:
            assert order.paid_at_ms is not None
            kept[order.id] = order.paid_at_ms
    newcomers = [one for one in book.orders.values() if one.newcomer and one.buyer_id in book.kept]
    # The earliest first: who loses counts against nobody.
    for order in sorted(newcomers, key=lambda one: (one.paid_at_ms or 0, one.id)):
        kept = book.kept[order.buyer_id]
        if order.claim_state == "held" and order.state == "open":
            if kept:
                order.release_due, order.reason = True, NOT_NEW
                book.touched_orders.add(order.claim_id)
        elif order.claim_state == "paid" and order.state in _REFUNDABLE:
            own = (order.paid_at_ms or 0, order.id)
            if any((paid_at_ms, one) < own for one, paid_at_ms in kept.items()):
                del kept[order.id]
                _refund(book, order)


def _refund(book: Book, order: OrderNow) -> None:
    """All that nobody asked back yet, with its units: in a team that is decided already as any
    refund after the sale."""
    assert order.payment_id is not None
    born = parse_claim_id(order.claim_id)
    assert born is not None
    asked = book.intents.get(order.payment_id, Intents())
    left_fen, left_units = order.paid_fen - asked.fen, order.qty - asked.units
    if left_fen > 0:
        book.new_refunds.append(
            NewRefund(
                payment_id=order.payment_id,
                order_id=order.id,
                claim_id=order.claim_id,
                cause=NOT_NEW,
                amount_fen=left_fen,
                units=left_units,
                shard=born.shard,
            )
        )
    order.state, order.reason = "refunding", NOT_NEW
    book.touched_orders.add(order.claim_id)
