"""What the T laws look at in PostgreSQL: the archive's teams, and the rows beside them.

The archive is walked once for all of them, in one snapshot with the rows that were settled from
it, so both must say the same at any time.
"""

import asyncio
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from engine.audit.archive import BATCHES_MAX, Payload
from engine.audit.report import Finding
from engine.audit.sources import Given, pages, read_aside, snapshot
from engine.audit.team_rights import LawName
from engine.audit.team_walk import TeamWalk
from engine.events import decode
from engine.offers import OfferConfig

_CONFIGS = "SELECT id, config FROM offers WHERE config ->> 'kind' IN ('team', 'crowd')"
_LETTERS = "SELECT shard, epoch, seq FROM dead_letters WHERE state IN ('open', 'discarded')"
_BATCHES = """
SELECT b.shard, b.epoch, b.payload FROM event_batches b
WHERE NOT b.orphaned ORDER BY b.shard, b.epoch, b.first_seq
"""
_ROWS = """
SELECT id, state, paid, subsidy, step, captain_id, deadline_ms FROM teams
"""
_SEATS = """
SELECT claim_id, team_id, seat, buyer_id FROM orders
WHERE team_id IS NOT NULL AND state <> 'rejected'
"""
_COMMANDS = "SELECT id, seats FROM team_commands WHERE applied_seq IS NOT NULL"
_SEAT_KINDS = ("claim.", "team.", "crowd.", "offer.opened", "offer.closed")
_NAMES = ("team_id", "from_team_id", "claim_id", "command_id")
_payload = msgspec.msgpack.Decoder(Payload)


async def walked(given: Given) -> TeamWalk:
    """The walk over all archived batches, and the rows held against it; once per audit."""
    if "teams" not in given.kept:
        async with snapshot(given.db) as session:
            given.kept["teams"] = await _walk(given, session)
    found: TeamWalk = given.kept["teams"]
    return found


async def tell(given: Given, law: LawName, finding: Finding) -> None:
    """What the walk has found of this law."""
    walk = await walked(given)
    finding.look(walk.facts[law] - len(walk.problems[law]))
    for problem in walk.problems[law]:
        finding.expect(False, problem)


async def _walk(given: Given, session: AsyncSession) -> TeamWalk:
    configs: dict[str, OfferConfig] = {}
    async for page in pages(session, _CONFIGS):
        for row in page:
            configs[row["id"]] = msgspec.convert(row["config"], OfferConfig)
    walk = TeamWalk(configs)
    if not configs:
        return walk  # an evening without group buys need not be read again
    buried = set()
    async for page in pages(session, _LETTERS):
        buried |= {tuple(row.values()) for row in page}
    async for page in pages(session, _BATCHES, rows_max=BATCHES_MAX):
        for row in page:
            _read(walk, row["shard"], row["epoch"], row["payload"], buried)
            await asyncio.sleep(0)  # a worker has more to do than to check laws
    if given.at_rest:  # else a script's last events may not be settled yet
        walk.end()
    await _rows(session, walk)
    walk.unsure |= set(await read_aside(session))
    walk.set_aside()
    return walk


def _read(walk: TeamWalk, shard: int, epoch: int, payload: bytes, buried: set[Any]) -> None:
    try:
        entries = _payload.decode(payload)
    except msgspec.DecodeError:
        return  # I10 names it
    for seq, fields in entries:
        if (shard, epoch, seq) in buried:
            walk.unsure |= {fields[name] for name in _NAMES if fields.get(name)}
        elif fields.get("kind", "").startswith(_SEAT_KINDS):
            try:
                event = decode(seq, fields)
            except ValueError:
                continue  # likewise
            walk.read(event, shard, epoch)


async def _rows(session: AsyncSession, walk: TeamWalk) -> None:
    """Teams, seats and commands in PostgreSQL are what the archive makes of them."""
    known = set()
    async for page in pages(session, _ROWS):
        for row in page:
            known.add(row["id"])
            team = walk.teams.get(row["id"])
            if team is None:
                walk.expect("T1", False, f"team {row['id']} is in no archived event")
                continue
            said = (row["paid"], row["subsidy"], row["step"])
            told = (len(team.paid), team.subsidy, team.step)
            text_ = f"team {row['id']}: its row says paid, subsidy, step = {said}"
            walk.expect("T1", said == told, f"{text_}, events say {told}")
            text_ = f"team {row['id']}: its row is {row['state']}, events say {team.state}"
            walk.expect("T4", row["state"] == team.state, text_)
            text_ = f"team {row['id']}: its row is led by {row['captain_id']}"
            led = team.captain in (row["captain_id"], None)
            walk.expect("T3", led, f"{text_}, events say {team.captain}")
            early = 0 < team.closed_at_ms < row["deadline_ms"]
            text_ = f"team {row['id']} closed at {team.closed_at_ms}"
            walk.expect("T1", not early, f"{text_}, its deadline is {row['deadline_ms']}")
    for team_id in sorted(walk.teams.keys() - known)[:100]:
        walk.expect("T1", False, f"team {team_id} was settled and has no row")
    async for page in pages(session, _SEATS):
        for row in page:
            claim = walk.claims.get(row["claim_id"])
            found = (row["team_id"], row["seat"], row["buyer_id"])
            seat = claim and (claim.team_id, claim.seat, claim.buyer_id)
            text_ = f"order of claim {row['claim_id']} has team, seat, buyer = {found}"
            walk.expect("T3", found == seat, f"{text_}, events say {seat}")
    async for page in pages(session, _COMMANDS):
        for row in page:
            told_seats = walk.commands.pop(row["id"], None)
            text_ = f"subsidy {row['id']} of {row['seats']} seats, events say {told_seats}"
            walk.expect("T3", row["seats"] == told_seats, text_)
    for command_id in sorted(walk.commands):
        walk.expect("T3", False, f"subsidy {command_id} was settled and its row does not know")
