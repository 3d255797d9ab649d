"""What is still under way: rows with work due, shards that are not open or not settled.

One list serves three: `await_rest` waits until nothing of it is left, S1 says that none of it
is older than its deadline, and the laws that hold at rest rely on it. What falls due within
`SOON_MS` is under way too: it would change one store while an audit reads the other.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine import keys
from engine.audit.sources import read_positions, snapshot
from engine.db import Database
from engine.errors import Unavailable
from engine.ids import now_ms
from engine.wire import Wire

_SHOWN_MAX = 20
_POLL_S = 0.1
SOON_MS = 10_000  # longer than an audit of a full evening takes


class Work(NamedTuple):
    """Rows of `table` that wait for somebody.

    `due` is when work on a row began to be due, in ms; `late` the same for a system that is
    running: there, what is leased or waits for its next try is not late. `clock` is the hot
    store's for deadlines that its scripts set. `lapses`: it falls due by the clock alone. `name`:
    the column that names a row.
    """

    what: str
    table: str
    waits: str
    due: str
    late: str
    clock: str = "wall"
    lapses: bool = False
    name: str = "id"


_ASKED = "greatest(pay_expires_at_ms, next_at_ms, lease_until_ms)"
# Of a cancelled offer's teams the campaign decides, not their deadline.
_CANCELLED = "EXISTS (SELECT 1 FROM offers f WHERE f.id = teams.offer_id AND f.state = 'cancelled')"
_CANCELLED_PAY_MS = (
    "(SELECT min(c.created_at_ms) + max((f.config ->> 'pay_ms')::bigint) FROM offer_commands c"
    " JOIN offers f ON f.id = c.offer_id WHERE c.offer_id = teams.offer_id"
    " AND c.kind = 'cancel' AND f.state = 'cancelled')"
)
# An offer is over at its end, or once it was closed.
_OVER_MS = (
    "(SELECT least((f.config ->> 'ends_at_ms')::bigint, (SELECT min(c.created_at_ms)"
    " FROM offer_commands c WHERE c.offer_id = f.id AND c.kind IN ('close', 'cancel')"
    " AND c.applied_seq IS NOT NULL)) FROM offers f WHERE f.id = waits.offer_id)"
)
WORK = (
    Work(
        "offer command is not applied",
        "offer_commands",
        "applied_seq IS NULL",
        "created_at_ms",
        "created_at_ms",
    ),
    Work(
        "payment attempt is only begun",
        "payment_attempts",
        "state = 'begun'",
        "created_at_ms",
        "greatest(next_at_ms, lease_until_ms)",
    ),
    Work(
        "payment attempt is open past its time to pay",
        "payment_attempts",
        "state = 'open'",
        "CASE WHEN reason = '' THEN pay_expires_at_ms ELSE 0 END",
        _ASKED,
        lapses=True,
    ),
    Work(
        "payment attempt is not applied",
        "payment_attempts",
        "state = 'open' AND applied_seq IS NULL",
        "created_at_ms",
        _ASKED,
    ),
    Work(
        "payment attempt ended, its claim is not released",
        "payment_attempts",
        "state IN ('closed', 'void') AND reason <> 'refused' AND released_seq IS NULL AND EXISTS"
        " (SELECT 1 FROM orders o WHERE o.claim_id = payment_attempts.claim_id"
        " AND o.claim_state = 'paying' AND o.attempt_id = payment_attempts.id)",
        "next_at_ms",
        "next_at_ms",
    ),
    Work(
        "payment has not met its claim",
        "payment_facts",
        "outcome IS NULL",
        "received_at_ms",
        "received_at_ms",
    ),
    Work(
        "somebody waits for an offer that is over",
        "waits",
        "true",
        _OVER_MS,
        _OVER_MS,
        "hot",
        lapses=True,
        name="offer_id",
    ),
    Work(
        "refund is not done",
        "refunds",
        "state <> 'done'",
        "created_at_ms",
        "CASE state WHEN 'due' THEN greatest(next_at_ms, lease_until_ms) ELSE created_at_ms END",
    ),
    Work(
        "refund is done, its units are not back",
        "refunds",
        "state = 'done' AND units > 0 AND applied_seq IS NULL",
        "done_at_ms",
        "done_at_ms",
    ),
    Work(
        "order was rejected, its claim is not released",
        "orders",
        "release_due",
        "claimed_at_ms",
        "claimed_at_ms",
        "hot",
    ),
    Work(
        "order is refunding without a refund under way",
        "orders",
        "state = 'refunding' AND NOT EXISTS (SELECT 1 FROM refunds r"
        " WHERE r.payment_id = orders.payment_id AND r.state <> 'done')",
        "paid_at_ms",
        "paid_at_ms",
        "hot",
    ),
    Work(
        "team is past its deadline and not decided",
        "teams",
        "decided_at_ms IS NULL",
        f"CASE WHEN {_CANCELLED} THEN 0 ELSE deadline_ms END",
        # Those who are paying have until then; once cancelled, nobody begins to pay any more.
        f"least(deadline_ms, {_CANCELLED_PAY_MS})"
        " + (SELECT (f.config -> 'team' ->> 'closing_max_ms')::bigint FROM offers f"
        " WHERE f.id = teams.offer_id)",
        "hot",
        lapses=True,
    ),
    Work(
        "team is decided, its splits or refunds are not written",
        "teams",
        "decided_at_ms IS NOT NULL AND booked_at_ms IS NULL",
        "decided_at_ms",
        "decided_at_ms",
        "hot",
    ),
    Work(
        "crowd is formed, the difference it guarantees is not written for all",
        "teams",
        "guarantee_due",
        "decided_at_ms",
        "decided_at_ms",
        "hot",
    ),
    Work(
        "team command is not applied",
        "team_commands",
        "applied_seq IS NULL AND outcome IS NULL",
        "created_at_ms",
        "created_at_ms",
    ),
)
# I5's business as a law; for rest the sweeper's turn has to be over.
_LAPSED = Work(
    "order's hold has lapsed, or soon will",
    "orders",
    "claim_state = 'held' AND NOT EXISTS (SELECT 1 FROM payment_attempts a"
    " WHERE a.claim_id = orders.claim_id AND a.state = 'open')",
    "expires_at_ms",
    "expires_at_ms",
    "hot",
    lapses=True,
)


class Stuck(NamedTuple):
    """How many rows were looked at, how many of them wait too long, and the first of these."""

    looked_at: int
    waiting: int
    ids: tuple[str, ...]


async def stuck(session: AsyncSession, work: Work, cut_ms: int, *, at_rest: bool) -> Stuck:
    """Rows whose work was due before `cut_ms`."""
    when = work.due if at_rest else work.late
    condition = f"({work.waits}) AND coalesce({when}, 0) <= :cut"
    rows = await session.execute(
        text(
            f"SELECT {work.name} AS id, count(*) OVER () AS n FROM {work.table} WHERE {condition}"
            " ORDER BY 1 LIMIT :most"
        ),
        {"cut": cut_ms, "most": _SHOWN_MAX},
    )
    found = rows.all()
    looked_at = await session.scalar(text(f"SELECT count(*) FROM {work.table}"))
    return Stuck(looked_at or 0, found[0].n if found else 0, tuple(row.id for row in found))


async def hot_clock_ms(wire: Wire) -> int:
    """The hot store's clock."""
    seconds, micros = await wire.call("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def unsettled(db: Database, wire: Wire) -> AsyncIterator[str]:
    """Shards that are not open on this hot store, or have events that are not settled."""
    async with snapshot(db) as session:
        shards = await read_positions(session)
    for shard in shards:
        epoch, sealed, seq = await wire.call("HMGET", keys.meta(shard.shard), *_META)
        if shard.state != "open" or sealed != b"" or int(epoch or 0) != shard.epoch:
            yield f"shard {shard.shard} is {shard.state}, the hot store has epoch {epoch!r}"
        elif int(seq) != shard.seq:
            yield f"shard {shard.shard} is settled to seq {shard.seq} of {int(seq)}"


_META = ("epoch", "sealed", "seq")


async def under_way(db: Database, wire: Wire) -> list[str]:
    """Everything that is not at rest, as sentences; empty at rest."""
    found = [one async for one in unsettled(db, wire)]
    clocks = {"wall": now_ms(), "hot": await hot_clock_ms(wire)}
    async with snapshot(db) as session:
        for work in (*WORK, _LAPSED):
            cut_ms = clocks[work.clock] + (SOON_MS if work.lapses else 0)
            waiting = await stuck(session, work, cut_ms, at_rest=True)
            found += [f"{work.table} {one}: {work.what}" for one in waiting.ids]
    return found


async def await_rest(db: Database, wire: Wire, wait_s: float) -> list[str]:
    """Wait until nothing is under way, at most `wait_s`; what still is (empty: at rest)."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while True:
        try:
            left = await under_way(db, wire)
        except Unavailable as error:
            left = [f"the hot store cannot be reached: {error.title}"]
        if not left or loop.time() >= until:
            return left
        await asyncio.sleep(_POLL_S)
