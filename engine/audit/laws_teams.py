"""T1 to T7: seats, teams and crowds, by the archive, in both stores and in the refunds.

Most of each law is asked of every event in the archive (team_walk.py); here the rows, the hot
store and the ledger are held against it.
"""

from typing import Any

from sqlalchemy import RowMapping

from engine import keys
from engine.audit.hot import scan, scan_fields
from engine.audit.hot_teams import Counts, HotTeam, hot_teams, rows_of_hot
from engine.audit.report import Finding, LawResult
from engine.audit.sources import GRACE_MS, Given, pages, snapshot
from engine.audit.team_facts import tell, walked
from engine.audit.team_states import DECIDED, WalkTeam


async def t1_seats_within_capacity(given: Given) -> LawResult:
    """Seats taken ≤ size; formed exactly when all are paid, reached when its threshold was."""
    finding = Finding("T1", "no team has more seats taken than it has; each forms when it is full")
    await tell(given, "T1", finding)
    rows = await rows_of_hot(given) if given.at_rest else {}
    unsure = (await walked(given)).unsure
    for team in await hot_teams(given):
        if team.counts is None:
            finding.expect(False, f"team {team.team_id} has counters that are no numbers")
            continue
        _one_hot_team(team, team.counts, finding)
        if given.at_rest and team.team_id not in unsure:
            _beside_rows(team, team.counts, rows.pop(team.team_id, None), finding)
    for team_id, said in rows.items():
        gone = said[0] in DECIDED or team_id in unsure
        finding.expect(gone, f"team {team_id} is {said[0]}, not in the hot store")
    return finding.result()


def _one_hot_team(team: HotTeam, counts: Counts, finding: Finding) -> None:
    parts = (counts.held, counts.paying, counts.paid, counts.subsidy)
    inside = min(parts) >= 0 and (team.kind == "crowd" or sum(parts) <= counts.size)
    text = f"team {team.team_id} of {counts.size} has held, paying, paid, subsidy = {parts}"
    finding.expect(inside, text)
    if team.kind == "team":
        full = counts.paid + counts.subsidy == counts.size
        finding.expect(full == (team.state == "formed"), f"{text}, it is {team.state}")
    if team.state not in DECIDED:
        same = team.seats == sum(parts[:3])
        finding.expect(same, f"{text}, and {team.seats} seats are taken")
        if team.kind == "team":
            same = team.seen == parts[:3] and not team.astray
            finding.expect(same, f"{text}, its claims are {team.seen} {team.astray}")


def _beside_rows(
    team: HotTeam, counts: Counts, said: tuple[Any, ...] | None, finding: Finding
) -> None:
    """What claims of a decided team become is no more the team's."""
    has: tuple[Any, ...] = (team.state, *counts[2:])
    if team.state in DECIDED:
        has, said = (has[0], *has[3:]), said and (said[0], *said[3:])
    text = f"team {team.team_id}: state, held, paying, paid, subsidy, step = {has}"
    finding.expect(has == said, f"{text}, its rows say {said}")


_TWICE = """
SELECT team_id, buyer_id, count(*) AS n FROM orders
WHERE seat = 'taken' AND team_id IS NOT NULL AND claim_state IN ('held', 'paying', 'paid')
GROUP BY 1, 2 HAVING count(*) > 1
"""
_SEATED = "SELECT count(*) AS n FROM orders WHERE seat = 'taken'"


async def t2_nobody_twice(given: Given) -> LawResult:
    """No buyer twice in a team, no two undecided teams of an offer opened by one buyer."""
    finding = Finding("T2", "no buyer sits twice in a team or has two open teams of an offer")
    await tell(given, "T2", finding)
    async with snapshot(given.db) as session:
        async for page in pages(session, _SEATED):
            finding.look(page[0]["n"])
        async for page in pages(session, _TWICE):
            for row in page:
                text = f"buyer {row['buyer_id']} has {row['n']} seats in team {row['team_id']}"
                finding.expect(False, text)
    teams = {team.team_id: team for team in await hot_teams(given)}
    for shard in given.shards:
        prefix = keys.groups(shard.shard) + "openers:"
        async for names in scan(given.wire, prefix + "*"):
            for name in names:
                async for found in scan_fields(given.wire, "HSCAN", name):
                    for buyer, team_id in found.items():
                        _one_opener(given, teams.get(team_id), (buyer, team_id), finding)
    return finding.result()


def _one_opener(
    given: Given, team: HotTeam | None, found: tuple[str, str], finding: Finding
) -> None:
    """Whoever counts as having a team open has it; beside a sale it may just have been decided."""
    buyer, team_id = found
    right = team is not None and (team.opener_id, team.state in DECIDED) == (buyer, False)
    if given.at_rest:
        finding.expect(right, f"buyer {buyer} counts as having team {team_id} open")


_FORMED = """
SELECT t.id, t.kind, t.size, t.paid, t.subsidy,
       (SELECT count(*) FROM orders o WHERE o.team_id = t.id AND o.seat = 'taken'
        AND o.payment_id IS NOT NULL) AS payers,
       (SELECT count(*) FROM orders o WHERE o.team_id = t.id AND o.seat = 'taken'
        AND o.payment_id IS NULL) AS unpaid,
       (SELECT coalesce(sum(c.seats), 0) FROM team_commands c WHERE c.team_id = t.id
        AND c.applied_seq IS NOT NULL) AS labelled
FROM teams t WHERE t.state = 'formed'
"""
_SUBSIDIES = """
SELECT c.id, c.amount_fen, c.applied_seq, coalesce(sum(p.amount_fen), 0)::bigint AS posted,
       bool_and(p.source = 'subsidy' AND p.destination = 'hq') AS right_accounts,
       c.seats * (f.config -> 'team' ->> 'seat_qty')::int AS units, c.created_at_ms,
       f.config -> 'prices' AS prices
FROM team_commands c JOIN offers f ON f.id = c.offer_id
LEFT JOIN ledger_transactions l ON l.reference = 'subsidy:' || c.id
LEFT JOIN postings p ON p.transaction_id = l.id GROUP BY c.id, f.id
"""


async def t3_seats_are_claims(given: Given) -> LawResult:
    """Each seat is one claim; in a formed team all are paid, or labelled and ledgered."""
    finding = Finding("T3", "each seat is one claim, each of a formed team paid or a subsidy")
    await tell(given, "T3", finding)
    unsure = (await walked(given)).unsure
    async with snapshot(given.db) as session:
        async for page in pages(session, _FORMED):
            for row in page:
                if row["id"] in unsure:
                    continue
                said = (row["paid"], row["subsidy"], 0)
                found = (row["payers"], row["labelled"], row["unpaid"])
                full = row["kind"] == "crowd" or row["paid"] + row["subsidy"] == row["size"]
                text = f"formed team {row['id']} of {row['size']} says paid, subsidy, unpaid {said}"
                finding.expect(said == found and full, f"{text}, orders and commands {found}")
        async for page in pages(session, _SUBSIDIES):
            for row in page:
                due = row["amount_fen"] if row["applied_seq"] is not None else 0
                text = f"subsidy {row['id']} of {due} fen is in the ledger with {row['posted']}"
                right = row["posted"] == due and row["right_accounts"] is not False
                finding.expect(right, text)
                # By the clock of whoever wrote it, which may just have passed into an interval.
                asked = (row["created_at_ms"], row["created_at_ms"] - GRACE_MS)
                fens = [row["units"] * _price_at(row["prices"], at_ms) for at_ms in asked]
                text = f"subsidy {row['id']} is for {row['amount_fen']} fen, its seats cost {fens}"
                finding.expect(row["amount_fen"] in fens, text)
    return finding.result()


def _price_at(prices: list[list[Any]], at_ms: int) -> int:
    """Fen a unit; the first interval has always begun."""
    begun = [price for price in prices if price[2] <= at_ms] or prices[:1]
    return int(max(begun, key=lambda price: price[2])[1])


async def t4_decided_once(given: Given) -> LawResult:
    """Formed and failed never both, no seat event after either."""
    finding = Finding("T4", "a team is formed or failed, once; then no seat of it changes")
    await tell(given, "T4", finding)
    return finding.result()


_MEMBERS = """
SELECT o.id, o.team_id, o.state, o.claim_state, o.qty, o.units, o.unit_price_fen, o.paid_fen,
       o.split_fen, t.kind, t.state AS decided, t.booked_at_ms, t.decided_at_ms,
       f.config -> 'team' ->> 'charging' AS charging,
       (f.config -> 'team' -> 'steps' -> (t.step - 1) ->> 2)::bigint AS final_fen,
       coalesce(r.fen, 0)::bigint AS fen, coalesce(r.units, 0)::bigint AS back,
       coalesce(r.undone, 0) AS undone, coalesce(r.failed, 0) AS for_failing,
       coalesce(r.others, 0) AS others, coalesce(r.difference, 0)::bigint AS difference
FROM orders o JOIN teams t ON t.id = o.team_id JOIN offers f ON f.id = o.offer_id
LEFT JOIN (
  SELECT payment_id, sum(amount_fen) AS fen, sum(units) AS units,
         count(*) FILTER (WHERE state <> 'done') AS undone,
         count(*) FILTER (WHERE cause = 'team_failed') AS failed,
         count(*) FILTER (WHERE cause <> 'crowd_difference') AS others,
         sum(amount_fen) FILTER (WHERE cause = 'crowd_difference') AS difference
  FROM refunds GROUP BY payment_id) r ON r.payment_id = o.payment_id
WHERE t.decided_at_ms IS NOT NULL AND o.seat = 'taken' AND o.payment_id IS NOT NULL
"""


async def t5_failed_are_refunded(given: Given) -> LawResult:
    """Failed: refunded == paid per member; a crowd: as its charging mode declares."""
    finding = Finding("T5", "each member of a failed team has all money back, its stock once")
    cut_ms, unsure = given.hot_now_ms - given.lag_ms, (await walked(given)).unsure
    async with snapshot(given.db) as session:
        async for page in pages(session, _MEMBERS):
            for row in page:
                if row["team_id"] in unsure:
                    continue
                if row["booked_at_ms"] is None:
                    late = given.at_rest or row["decided_at_ms"] < cut_ms
                    if late and row["kind"] == "team":
                        finding.expect(False, f"team {row['team_id']} is decided, not booked")
                else:
                    _one_member(given, row, finding)
    return finding.result()


def _one_member(given: Given, row: RowMapping, finding: Finding) -> None:
    name = f"order {row['id']} of {row['decided']} team {row['team_id']}"
    by_mode = row["kind"] == "crowd" and row["charging"] == "regular"
    if row["decided"] == "failed" and not by_mode:
        text = f"{name}: {row['fen']} fen of {row['paid_fen']} and {row['back']} of {row['qty']}"
        whole = (row["fen"], row["back"]) == (row["paid_fen"], row["qty"])
        finding.expect(whole, f"{text} units are to go back")
        if given.at_rest:
            done = (row["undone"], row["units"], row["state"]) == (0, 0, "refunded")
            text = f"{name} is {row['state']} with {row['units']} units"
            finding.expect(done, f"{text}, {row['undone']} refunds are not done")
        return
    stands = row["split_fen"] is not None and row["for_failing"] == 0
    finding.expect(stands, f"{name} stands: its split is {row['split_fen']}")
    if row["kind"] == "crowd" and row["decided"] == "formed":
        each = row["unit_price_fen"] - row["final_fen"]
        most = max(each, 0) * row["qty"]
        right = row["difference"] == most if not row["others"] else row["difference"] <= most
        finding.expect(right, f"{name} gets {row['difference']} fen of difference, due are {most}")


_HELD = """
SELECT o.claim_id, o.team_id, t.deadline_ms FROM orders o JOIN teams t ON t.id = o.team_id
WHERE o.seat = 'taken' AND o.claim_state = 'held' AND o.state <> 'rejected'
"""


async def t6_nobody_held_past_the_deadline(given: Given) -> LawResult:
    """No seat is held after its team's deadline, in events, rows and the hot store."""
    finding = Finding("T6", "no seat is held after its team's deadline")
    await tell(given, "T6", finding)
    cut_ms = given.hot_now_ms - GRACE_MS - given.lag_ms
    async with snapshot(given.db) as session:
        async for page in pages(session, _HELD):
            for row in page:
                text = f"claim {row['claim_id']} is held, its team {row['team_id']} ended"
                finding.expect(row["deadline_ms"] > cut_ms, f"{text} at {row['deadline_ms']}")
    for team in await hot_teams(given):
        counts = team.counts
        if counts is not None and team.state not in DECIDED:
            text = f"team {team.team_id} ended at {counts.deadline_ms} with {counts.held} held"
            finding.expect(not counts.held or counts.deadline_ms > cut_ms, text)
    return finding.result()


_OUTSIDE = """
SELECT o.claim_id, f.id, f.amount_fen, f.received_at_ms, o.payment_id = f.id AS stands, o.seat,
       coalesce((SELECT sum(r.amount_fen) FROM refunds r WHERE r.payment_id = f.id), 0)::bigint
       AS refunded
FROM payment_facts f JOIN orders o ON o.claim_id = f.claim_id
WHERE o.team_id IS NOT NULL AND f.outcome IS NOT NULL
AND (o.seat <> 'taken' OR o.payment_id IS DISTINCT FROM f.id)
"""


async def t7_a_last_seat_goes_to_one(given: Given) -> LawResult:
    """Of all claims for a seat one is held at a time; who has none has no unrefunded payment."""
    finding = Finding("T7", "a last seat is held by one; nobody without a seat has paid for one")
    await tell(given, "T7", finding)
    async with snapshot(given.db) as session:
        async for page in pages(session, _OUTSIDE):
            for row in page:
                text = f"payment {row['id']} of claim {row['claim_id']} has no seat"
                back = row["refunded"] == row["amount_fen"]
                finding.expect(back, f"{text}, {row['refunded']} of {row['amount_fen']} fen back")
    if given.history:
        await _true_reasons(given, finding)
    return finding.result()


_REFUSED = """
SELECT id, offer, team_id, asked_at_ms, answered_at_ms FROM requests
WHERE op = 'claim' AND type = 'fail' AND code = 'team_full'
"""


async def _true_reasons(given: Given, finding: Finding) -> None:
    """Who was told `team_full` asked for a team that was full then, by either clock."""
    walk = await walked(given)
    by_offer: dict[str, list[WalkTeam]] = {}
    for team in walk.teams.values():
        by_offer.setdefault(team.offer_id, []).append(team)
    for row in given.scratch.execute(_REFUSED):
        if not given.at_rest and row["answered_at_ms"] > given.wall_now_ms - given.lag_ms:
            continue
        named = walk.teams.get(row["team_id"] or "")
        asked = [named] if named is not None else by_offer.get(row["offer"], [])
        from_ms, to_ms = row["asked_at_ms"] - GRACE_MS, row["answered_at_ms"] + GRACE_MS
        true = any(team.was_full(from_ms, to_ms) for team in asked)
        text = f"request {row['id']} for team {row['team_id'] or 'of ' + row['offer']}"
        finding.expect(true, f"{text} was told team_full, and it had a free seat")
