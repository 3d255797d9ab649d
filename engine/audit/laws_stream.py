"""I10: the stream is complete, each event was applied once, and the archive says what was settled.

The archive is folded from its first event and the result compared with the rows, both ways:
every settled event has its effect, and nothing that counts as settled is without its event.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.audit.archive import ArchiveReader, ToldClaim, told_claim
from engine.audit.report import Finding, LawResult
from engine.audit.sources import Given, ShardNow, pages, read_positions, snapshot
from engine.stream import look

TAIL_MAX = 200_000

_EPOCHS = text("SELECT epoch, last_seq FROM shard_epochs WHERE shard = :shard ORDER BY epoch")
_LETTERS = "SELECT id, shard, epoch, seq, claim_id, error FROM dead_letters WHERE state = 'open'"
_GAPS = "SELECT cause FROM incidents WHERE kind = 'gap' AND resolved_at_ms IS NULL"


async def i10_stream_complete(given: Given) -> LawResult:
    """Seq without a gap, each event applied once, the archive equals what was settled."""
    finding = Finding("I10", "no event is missing, each was applied once, orders follow from them")
    async with snapshot(given.db) as session:
        shards = await read_positions(session)
        for shard in shards:
            text_ = f"shard {shard.shard} is sealed: `kaituan rebuild {shard.shard} --past-gap`"
            finding.expect(shard.state != "sealed", text_)
        async for page in pages(session, _LETTERS):
            for row in page:
                name = f"dead letter {row['id']} (shard {row['shard']} seq {row['seq']})"
                finding.expect(False, f"{name} of claim {row['claim_id']}: {row['error'][:120]}")
        async for page in pages(session, _GAPS):
            for row in page:
                finding.expect(False, f"incident {row['cause']} is not resolved")
    for shard in shards:
        await _tail(given, shard, finding)
    async with snapshot(given.db) as session:
        reader = ArchiveReader(given, session, finding)
        await reader.begin()
        for shard in await read_positions(session):
            await _epochs(reader, session, shard, finding)
        await _orders(given, session, finding)
        for kind, table, columns in _APPLIED:
            await _applied(given, session, finding, (kind, table, columns))
    return finding.result()


async def _tail(given: Given, shard: ShardNow, finding: Finding) -> None:
    """What is not settled yet must go on where the position stands, up to what meta promises."""
    after = shard.seq
    while shard.state == "open" and after - shard.seq < TAIL_MAX:
        seen = await look(given.wire, shard.shard, shard.epoch, after, 1_000)
        if seen.epoch != shard.epoch:  # being reopened; at rest that is not rest
            why = f"shard {shard.shard}: the hot store is in epoch {seen.epoch}, not {shard.epoch}"
            finding.expect(not given.at_rest, why)
            return
        for expected, (seq, _) in enumerate(seen.entries, after + 1):
            if not finding.expect(
                seq == expected, f"shard {shard.shard}: seq {seq} where {expected} is next"
            ):
                return
        after = seen.entries[-1][0] if seen.entries else after
        if not seen.entries:
            text_ = f"shard {shard.shard}: the stream ends at {after}, meta says {seen.seq}"
            finding.expect(after == seen.seq, text_)
            return


async def _epochs(
    reader: ArchiveReader, session: AsyncSession, shard: ShardNow, finding: Finding
) -> None:
    rows = (await session.execute(_EPOCHS, {"shard": shard.shard})).all()
    known = [row.epoch for row in rows]
    text_ = f"shard {shard.shard} is in epoch {shard.epoch}, known are {known}"
    finding.expect(known == list(range(1, shard.epoch + 1)), text_)
    for epoch, last_seq in rows:
        is_now = epoch == shard.epoch
        if (last_seq is None) != is_now:
            finding.problem(f"shard {shard.shard} epoch {epoch} has last_seq {last_seq}")
        await reader.read_epoch(shard.shard, epoch, shard.seq if is_now else last_seq or 0)


_FIELDS = ToldClaim.__struct_fields__
_ORDERS = f"SELECT claim_id, state, {', '.join(_FIELDS)} FROM orders"
# What an order's own state may be while its claim is in a state.
_STATES = {
    "held": {"open", "rejected"},
    "paying": {"open", "rejected"},
    "released": {"released", "rejected"},
    "paid": {"paid", "ready", "fulfilled", "completed", "refunding", "refunded"},
    "returned": {"paid", "refunding", "refunded"},
}


async def _orders(given: Given, session: AsyncSession, finding: Finding) -> None:
    """Every order is what its events say, and every claim that was held has its order."""
    scratch = given.scratch
    count = 0
    async for page in pages(session, _ORDERS):
        for row in page:
            claim_id = row["claim_id"]
            aside = scratch.execute("SELECT 1 FROM aside WHERE claim_id = ?", (claim_id,))
            if aside.fetchone():
                continue
            count += 1
            told = told_claim(scratch, claim_id)
            why = "its claim is in no archived event" if told is None else _differs(dict(row), told)
            finding.expect(not why, f"order of claim {claim_id}: {why}")
    told_count = scratch.execute(
        "SELECT count(*) FROM told_claims WHERE claim_id NOT IN (SELECT claim_id FROM aside)"
    ).fetchone()[0]
    if told_count != count:
        await _orphans(given, session, finding)


def _differs(row: dict[str, object], told: ToldClaim) -> str:
    # A rebuild drops what the guard had rejected; no event says so.
    if row["state"] == "rejected" and row["claim_state"] == "released":
        told.claim_state = "released"
    pairs = [(name, row[name], getattr(told, name)) for name in _FIELDS]
    wrong = [
        f"{name} is {found!r}, events say {said!r}" for name, found, said in pairs if found != said
    ]
    if not wrong and row["state"] not in _STATES[told.claim_state]:
        wrong = [f"it is {row['state']} while its claim is {told.claim_state}"]
    return "; ".join(wrong)


async def _orphans(given: Given, session: AsyncSession, finding: Finding) -> None:
    """Claims that were held and settled, and have no order."""
    query = text("SELECT claim_id FROM orders WHERE claim_id = ANY(CAST(:ids AS text[]))")
    cursor = given.scratch.execute(
        "SELECT claim_id FROM told_claims WHERE claim_id NOT IN (SELECT claim_id FROM aside)"
    )
    while page := cursor.fetchmany(1_000):
        ids = [row[0] for row in page]
        for claim_id in sorted(set(ids) - set(await session.scalars(query, {"ids": ids}))):
            finding.expect(False, f"claim {claim_id} was settled and has no order")


# kind in the archive, table, columns (epoch, seq, word) of rows that count as applied
_APPLIED = (
    ("command", "offer_commands", "applied_epoch, applied_seq, '' AS word"),
    ("attempt", "payment_attempts", "applied_epoch, applied_seq, '' AS word"),
    ("released", "payment_attempts", "NULL::bigint AS applied_epoch, released_seq, '' AS word"),
    ("fact", "payment_facts", "applied_epoch, applied_seq, outcome AS word"),
    ("refund", "refunds", "applied_epoch, applied_seq, '' AS word"),
    ("team command", "team_commands", "applied_epoch, applied_seq, '' AS word"),
)


async def _applied(
    given: Given, session: AsyncSession, finding: Finding, what: tuple[str, str, str]
) -> None:
    """Rows that count as applied point to their event, and each settled event has its row."""
    kind, table, columns = what
    column = "released_seq" if kind == "released" else "applied_seq"
    rows = f"SELECT id, {columns} FROM {table} WHERE {column} IS NOT NULL"
    count = 0
    async for page in pages(session, rows):
        for row in page:
            found = given.scratch.execute(
                "SELECT epoch, seq, word FROM told_ids WHERE kind = ? AND id = ?", (kind, row["id"])
            ).fetchone()
            said = tuple(found) if found else ()
            epoch = said[0] if said and kind == "released" else row["applied_epoch"]
            has = (epoch, row[column], row["word"])
            text_ = f"{table} {row['id']} says it was applied by {has}, the archive says {said}"
            finding.expect(said == has, text_)
            count += bool(found)
    told = given.scratch.execute("SELECT count(*) FROM told_ids WHERE kind = ?", (kind,))
    if told.fetchone()[0] != count:
        await _forgotten(given, session, finding, (kind, table, column))


async def _forgotten(
    given: Given, session: AsyncSession, finding: Finding, what: tuple[str, str, str]
) -> None:
    """Settled events whose row does not know of it."""
    kind, table, column = what
    query = text(
        f"SELECT id FROM {table} WHERE {column} IS NOT NULL AND id = ANY(CAST(:ids AS text[]))"
    )
    cursor = given.scratch.execute("SELECT id FROM told_ids WHERE kind = ?", (kind,))
    while page := cursor.fetchmany(1_000):
        ids = [row[0] for row in page]
        for row_id in sorted(set(ids) - set(await session.scalars(query, {"ids": ids}))):
            finding.expect(False, f"{table} {row_id} does not know that its event was settled")
