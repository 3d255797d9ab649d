"""I1, I2, I4 and I5: the stock in the hot store, alone and beside PostgreSQL's."""

from engine import keys
from engine.audit.compare import compare
from engine.audit.hot import CLAIMS_PAGE_MAX, HotClaim, read_claims, scan_fields
from engine.audit.report import Finding, LawResult
from engine.audit.sources import GRACE_MS, Given, pages, snapshot


async def i1_stock_adds_up(given: Given) -> LawResult:
    """Per offer, read at one instant: available + held + sold == total, none below zero."""
    finding = Finding("I1", "available + held + sold == total for every offer in the hot store")
    for offer in (await compare(given)).hot:
        name = f"offer {offer.offer_id}"
        if offer.unreadable:
            finding.expect(False, f"{name} has counters that are no numbers: {offer.unreadable}")
            continue
        parts = (offer.available, offer.held, offer.sold)
        text = (
            f"{name}: {offer.available} available + {offer.held} held + {offer.sold} sold, "
            f"total {offer.total}"
        )
        finding.expect(sum(parts) == offer.total and min(parts) >= 0, text)
    return finding.result()


async def i2_holds_match(given: Given) -> LawResult:
    """The held counter is the sum of the hold records; each held claim has its deadline; as many
    wait for an offer as stand in its list, each with an entry."""
    finding = Finding("I2", "held units equal the hold records, deadlines and lists match them")
    compared = await compare(given)
    for offer in compared.hot:
        text = f"offer {offer.offer_id}: held {offer.held}, {offer.holds} hold records sum to "
        finding.expect(offer.held == offer.hold_units, text + str(offer.hold_units))
        text = f"offer {offer.offer_id}: {offer.waiting} wait, {offer.listed} stand in the list, "
        text += f"{offer.entries} have an entry"
        finding.expect(offer.waiting == offer.listed == offer.entries, text)
    for shard in given.shards:
        for offer in compared.hot:
            if offer.shard == shard.shard:
                key = keys.holds(shard.shard) + offer.offer_id
                async for found in scan_fields(given.wire, "HSCAN", key):
                    await _look_at(
                        given, shard.shard, [(offer.offer_id, one) for one in found], finding
                    )
        async for found in scan_fields(given.wire, "ZSCAN", keys.deadlines(shard.shard)):
            await _look_at(given, shard.shard, [("-", one) for one in found], finding)
    return finding.result()


async def _look_at(
    given: Given, shard: int, pairs: list[tuple[str, str]], finding: Finding
) -> None:
    for start in range(0, len(pairs), CLAIMS_PAGE_MAX):
        for claim in await read_claims(given.wire, shard, pairs[start : start + CLAIMS_PAGE_MAX]):
            finding.expect(*_places_agree(claim))


def _places_agree(claim: HotClaim) -> tuple[bool, str]:
    live = claim.state in ("held", "paying")
    hold = claim.units if live else ""
    deadline = claim.expires_at_ms if claim.state == "held" else ""
    text = (
        f"claim {claim.claim_id} is {claim.state or 'unknown'} with {claim.units or 'no'} units; "
        f"hold record {claim.hold_units or 'none'}, deadline {claim.deadline or 'none'}"
    )
    return claim.hold_units == hold and claim.deadline == deadline, text


async def i4_both_stores_agree(given: Given) -> LawResult:
    """Per offer: held and sold in the hot store equal the units of the orders by claim_state, and
    as many wait as the rows say."""
    finding = Finding("I4", "held and sold in the hot store equal the orders by claim_state")
    compared = await compare(given)
    for sides in compared.offers:
        hot, rows = sides.hot, sides.rows
        if rows is None:
            finding.expect(False, f"offer {hot.offer_id if hot else ''} has no row in PostgreSQL")
            continue
        if hot is None:
            gone = rows.state == "scheduled" or rows.keep_until_ms <= given.hot_now_ms
            finding.expect(gone, f"offer {rows.id} is {rows.state}, the hot store has none such")
            continue
        held, sold = hot.held - hot.aside_held, hot.sold - hot.aside_sold
        text = (
            f"offer {rows.id}: hot store held {held}, sold {sold}, total {hot.total}; "
            f"orders held {rows.held}, sold {rows.sold}, total {rows.total}"
        )
        finding.expect((held, sold, hot.total) == (rows.held, rows.sold, rows.total), text)
        text = (
            f"offer {rows.id}: {hot.waiting} wait in the hot store, {len(rows.waits)} in the rows"
        )
        finding.expect(hot.waiting == len(rows.waits), text)
    for why in compared.unsure.values():
        if given.at_rest:
            finding.expect(False, f"{why}: its offers could not be compared")
    return finding.result()


_OVERDUE_HELD = """
SELECT o.claim_id, o.expires_at_ms FROM orders o
JOIN shard_position p ON p.shard = o.shard AND p.state = 'open'
LEFT JOIN shard_epochs e ON e.shard = p.shard AND e.epoch = p.epoch
WHERE o.claim_state = 'held'
  AND greatest(o.expires_at_ms, coalesce(e.opened_at_ms, 0)) < :cut
  AND NOT EXISTS (SELECT 1 FROM payment_attempts a WHERE a.claim_id = o.claim_id
                  AND (a.state = 'open' OR EXISTS (SELECT 1 FROM payment_facts f
                       WHERE f.attempt_id = a.id AND f.outcome IS NULL)))
"""
# A begun close leaves its try on the attempt's row; whoever has no such row is forgotten.
_OVERDUE_PAYING = """
SELECT o.claim_id, o.attempt_id FROM orders o
LEFT JOIN payment_attempts a ON a.id = o.attempt_id
WHERE o.claim_state = 'paying' AND o.pay_expires_at_ms < :cut
  AND (a.id IS NULL OR (a.tries = 0 AND a.state IN ('begun', 'open')))
"""
_WAITING = "SELECT count(*) AS n FROM orders WHERE claim_state IN ('held', 'paying')"


async def i5_no_undersell(given: Given) -> LawResult:
    """No settled hold past its deadline, no overdue payment that nobody closes, no unit astray."""
    finding = Finding("I5", "lapsed holds are back on sale and overdue payments are being closed")
    cut = {"cut": given.hot_now_ms - max(GRACE_MS, given.lag_ms)}
    async with snapshot(given.db) as session:
        async for page in pages(session, _WAITING):
            finding.look(page[0]["n"])
        async for page in pages(session, _OVERDUE_HELD, cut):
            for row in page:
                late_ms = given.hot_now_ms - row["expires_at_ms"]
                finding.problem(f"claim {row['claim_id']} is held {late_ms} ms past its deadline")
        async for page in pages(session, _OVERDUE_PAYING, cut):
            for row in page:
                finding.problem(
                    f"claim {row['claim_id']} is overdue, nobody closes attempt {row['attempt_id']}"
                )
    for sides in (await compare(given)).offers:
        hot, rows = sides.hot, sides.rows
        if hot is None or rows is None or hot.held or rows.held or hot.aside_sold:
            continue
        text = (
            f"offer {rows.id}: nothing is held, {hot.available} available, "
            f"{rows.total} total − {rows.sold} paid"
        )
        finding.expect(hot.available == rows.total - rows.sold, text)
    return finding.result()
