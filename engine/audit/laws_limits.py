"""I8: what each buyer has, per order, offer and campaign, in both stores."""

from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from engine import keys
from engine.audit.compare import compare
from engine.audit.hot import scan_fields
from engine.audit.report import Finding, LawResult
from engine.audit.sources import Given, pages, read_aside, snapshot

_LIVE = "claim_state IN ('held', 'paying', 'paid')"
_BUYERS = {
    "offer": f"""
SELECT o.shard, o.offer_id AS of, o.buyer_id, sum(o.units) AS units,
       max((f.config ->> 'per_buyer_max')::bigint) AS most
FROM orders o JOIN offers f ON f.id = o.offer_id WHERE {_LIVE} GROUP BY 1, 2, 3 ORDER BY 1, 2
""",
    "campaign": f"""
SELECT o.shard, o.campaign_id AS of, o.buyer_id, sum(o.units) AS units, max(c.most) AS most
FROM orders o JOIN (
  SELECT campaign_id, max((config ->> 'per_campaign_max')::bigint) AS most
  FROM offers GROUP BY 1
) c ON c.campaign_id = o.campaign_id WHERE {_LIVE} GROUP BY 1, 2, 3 ORDER BY 1, 2
""",
}
_TOO_MANY = """
SELECT o.id, o.qty, (f.config ->> 'per_order_max')::bigint AS most
FROM orders o JOIN offers f ON f.id = o.offer_id
WHERE o.qty > (f.config ->> 'per_order_max')::bigint
"""
# The right of a new customer goes with the seat, or with the claim where there is none.
_NEW_TWICE = """
SELECT campaign_id, buyer_id, count(*) AS n FROM orders
WHERE newcomer AND claim_state IN ('held', 'paying', 'paid') AND (team_id IS NULL OR seat = 'taken')
GROUP BY 1, 2 HAVING count(*) > 1
"""
_NOT_NEW = """
SELECT o.id, o.team_id FROM orders o JOIN teams t ON t.id = o.team_id
JOIN offers f ON f.id = o.offer_id
WHERE o.seat = 'taken' AND NOT o.newcomer AND o.buyer_id <> t.opener_id
AND (f.config -> 'team' ->> 'newcomers_only')::boolean
"""
_NOT_MEANT = """
SELECT o.id FROM orders o JOIN offers f ON f.id = o.offer_id
WHERE f.config ->> 'audience' = 'new' AND NOT o.newcomer
"""
# Across campaigns the settler lets only the order stand that was paid first.
_NOT_FIRST = """
SELECT o.id, o.buyer_id, b.id AS earlier FROM orders o
JOIN orders b ON b.buyer_id = o.buyer_id AND b.id <> o.id AND b.payment_id IS NOT NULL
  AND b.state NOT IN ('refunding', 'refunded')
  AND (b.paid_at_ms, b.id COLLATE "C") < (o.paid_at_ms, o.id COLLATE "C")
WHERE o.newcomer AND o.claim_state = 'paid' AND o.state IN ('paid', 'ready')
"""
_BUYERS_OF = text("SELECT buyer_id FROM orders WHERE claim_id = ANY(CAST(:ids AS text[]))")
Sums = dict[tuple[int, str], int]  # (shard, offer or campaign) → units of all its buyers


async def i8_limits_hold(given: Given) -> LawResult:
    """Units not released or returned ≤ limit; at rest the script's counters are these units."""
    finding = Finding("I8", "no buyer holds more than the limits of order, offer and campaign")
    async with snapshot(given.db) as session:
        aside = await _buyers_aside(session)
        sums: Sums = Counter()
        for what, sql in _BUYERS.items():
            async for page in pages(session, sql):
                for row in page:
                    name = f"buyer {row['buyer_id']} has {row['units']} units of {what} {row['of']}"
                    finding.expect(row["units"] <= row["most"], f"{name}, limit {row['most']}")
                if given.at_rest:
                    await _same_counters(given, page, aside, sums, finding)
        async for page in pages(session, _TOO_MANY):
            for row in page:
                finding.expect(False, f"order {row['id']} of {row['qty']}, limit {row['most']}")
        await _newcomers(session, finding)
    await _hot_limits(given, aside, sums, finding)
    return finding.result()


async def _newcomers(session: AsyncSession, finding: Finding) -> None:
    """One claim by the right of a new customer; who joins a team for such has it, and whose order
    stands by it has paid and kept none before."""
    async for page in pages(session, _NEW_TWICE):
        for row in page:
            name = f"buyer {row['buyer_id']} has {row['n']} claims of a new customer"
            finding.expect(False, f"{name} in campaign {row['campaign_id']}")
    async for page in pages(session, _NOT_NEW):
        for row in page:
            text_ = f"order {row['id']} sits in team {row['team_id']}, which is for new customers"
            finding.expect(False, text_)
    async for page in pages(session, _NOT_MEANT):
        for row in page:
            finding.expect(False, f"order {row['id']} is of an offer for new customers only")
    async for page in pages(session, _NOT_FIRST):
        for row in page:
            name = f"order {row['id']} stands as a new customer's"
            finding.expect(False, f"{name}, and {row['buyer_id']} paid {row['earlier']} before")


async def _buyers_aside(session: AsyncSession) -> set[str]:
    """Buyers with a claim whose events could not be settled: their sums differ rightly."""
    claims = await read_aside(session)
    return set(await session.scalars(_BUYERS_OF, {"ids": claims})) if claims else set()


async def _same_counters(
    given: Given, page: Sequence[RowMapping], aside: set[str], sums: Sums, finding: Finding
) -> None:
    """The counters of these buyers; `sums` goes on with their units."""
    by_hash: dict[tuple[int, str], dict[str, int]] = {}
    for row in page:
        if row["buyer_id"] not in aside:
            by_hash.setdefault((row["shard"], row["of"]), {})[row["buyer_id"]] = int(row["units"])
    for (shard, of), units in by_hash.items():
        sums[shard, of] = sums.get((shard, of), 0) + sum(units.values())
        counters = await given.wire.call("HMGET", keys.limits(shard) + of, *units)
        for (buyer, wanted), raw in zip(units.items(), counters, strict=True):
            found = (raw or b"0").decode()
            text_ = f"the hot store counts {found} units of {of} for buyer {buyer}"
            finding.expect(found == str(wanted), f"{text_}, their orders have {wanted}")


async def _hot_limits(given: Given, aside: set[str], sums: Sums, finding: Finding) -> None:
    """Every counter that the script looks at is within its limit, and none is of nobody."""
    limits: dict[tuple[int, str], int] = {}
    for sides in (await compare(given)).offers:
        if sides.hot is None:
            continue
        shard, offer_id = sides.hot.shard, sides.hot.offer_id
        names = ("per_buyer_max", "per_campaign_max", "campaign_id")
        raw = await given.wire.call("HMGET", keys.offers(shard) + offer_id, *names)
        if None in raw:
            finding.expect(False, f"offer {offer_id} has no limits in the hot store")
            continue
        limits[shard, offer_id] = int(raw[0])
        campaign = (shard, raw[2].decode())
        limits[campaign] = max(limits.get(campaign, 0), int(raw[1]))
    for (shard, of), most in limits.items():
        total = await _counters(given, (shard, of), most, aside, finding)
        wanted = sums.get((shard, of), 0)
        if given.at_rest and total != wanted:
            total = await _total(given, (shard, of), aside)  # a scan may show a buyer twice
        if given.at_rest and total != wanted:
            text_ = f"the hot store counts {total} units of {of} for all buyers"
            finding.expect(False, f"{text_}, their orders have {wanted}")


async def _total(given: Given, of: tuple[int, str], aside: set[str]) -> int:
    """The same sum at one instant."""
    flat = [part.decode() for part in await given.wire.call("HGETALL", keys.limits(of[0]) + of[1])]
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return sum(int(units) for buyer, units in pairs if buyer not in aside)


async def _counters(
    given: Given, of: tuple[int, str], most: int, aside: set[str], finding: Finding
) -> int:
    """The sum of one hash of counters, each looked at."""
    units: Mapping[str, str]
    total, key = 0, keys.limits(of[0]) + of[1]
    async for units in scan_fields(given.wire, "HSCAN", key):
        for buyer, found in units.items():
            text_ = f"the hot store counts {found} units of {of[1]} for buyer {buyer}"
            finding.expect(0 <= int(found) <= most, f"{text_}, limit {most}")
            total += 0 if buyer in aside else int(found)
    return total
