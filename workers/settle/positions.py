"""The rows that say which epoch a shard is in: read, begun, taken over, opened, sealed.

Each change is one conditional UPDATE in one transaction: whoever hits the row has won.
"""

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.ids import now_ms
from engine.incidents import record_incident


class Position(msgspec.Struct):
    """Where a shard's settling stands, as this process last read or wrote it."""

    shard: int
    epoch: int
    seq: int
    run_id: str
    state: str


class LostRace(Exception):
    """Another settler moved the position: read it anew."""


_LOCK = text("SELECT pg_try_advisory_xact_lock(7001, :shard)")
_MOVE = text(
    "UPDATE shard_position SET seq = :last, updated_at_ms = :now"
    " WHERE shard = :shard AND epoch = :epoch AND seq = :seq AND state IN ('open', 'reopening')"
)
_READ = text("SELECT shard, epoch, seq, run_id, state FROM shard_position WHERE shard = :shard")
_BEGIN = text(
    "INSERT INTO shard_position (shard, epoch, seq, run_id, state, updated_at_ms)"
    " VALUES (:shard, 0, 0, '', 'reopening', 0) ON CONFLICT (shard) DO NOTHING"
)
_RAISE = text(
    "UPDATE shard_position SET epoch = epoch + 1, seq = 0, state = 'reopening', run_id = '',"
    " updated_at_ms = :now WHERE shard = :shard AND epoch = :epoch AND seq = :seq"
    " AND state = :state"
)
_CLOSE = text(
    "UPDATE shard_epochs SET last_seq = :seq, closed_at_ms = :now"
    " WHERE shard = :shard AND epoch = :epoch"
)
_NEW = text("INSERT INTO shard_epochs (shard, epoch, reason) VALUES (:shard, :epoch, :reason)")
# Where a closed epoch ended, unless a later one was opened after it.
_LAST = text(
    "SELECT last_seq FROM shard_epochs WHERE shard = :shard AND epoch = :epoch AND NOT EXISTS"
    " (SELECT 1 FROM shard_epochs later WHERE later.shard = :shard AND later.epoch > :epoch"
    " AND later.opened_at_ms IS NOT NULL)"
)
_HOLD = text("SELECT 1 FROM shard_position WHERE shard = :shard AND epoch = :epoch FOR SHARE")
_SNAPSHOT = text(
    "UPDATE shard_epochs SET snapshot = :snapshot, opened_at_ms = :now"
    " WHERE shard = :shard AND epoch = :epoch"
)
_OPEN = text(
    "UPDATE shard_position SET state = 'open', run_id = :run_id, updated_at_ms = :now"
    " WHERE shard = :shard AND epoch = :epoch AND state IN ('reopening', 'open')"
)
_SEAL = text(
    "UPDATE shard_position SET state = 'sealed', updated_at_ms = :now"
    " WHERE shard = :shard AND epoch = :epoch AND seq = :seq AND state <> 'sealed'"
)
_RESOLVE = text(
    "UPDATE incidents SET resolved_at_ms = :now"
    " WHERE shard = :shard AND kind = 'gap' AND resolved_at_ms IS NULL"
)
_LAST_BEAT = text("SELECT updated_at_ms FROM shard_position WHERE shard = :shard")
_BEAT = text(
    "UPDATE shard_position SET updated_at_ms = :now WHERE shard = :shard AND epoch = :epoch"
)


async def read(session: AsyncSession, shard: int) -> Position | None:
    """The shard's position; None when PostgreSQL has never heard of it."""
    row = (await session.execute(_READ, {"shard": shard})).one_or_none()
    return None if row is None else Position(*row)


async def move(session: AsyncSession, position: Position, last: int) -> None:
    """Move the row from `position` to `last` in this transaction, or raise LostRace.

    The advisory lock only saves a second settler its work; the UPDATE decides.
    """
    if not await session.scalar(_LOCK, {"shard": position.shard}):
        raise LostRace
    moved = await session.execute(
        _MOVE,
        {
            "shard": position.shard,
            "epoch": position.epoch,
            "seq": position.seq,
            "last": last,
            "now": now_ms(),
        },
    )
    if moved.rowcount != 1:  # type: ignore[attr-defined]
        raise LostRace


async def begin(session: AsyncSession, shard: int) -> None:
    """Give the shard its row, at epoch 0, which is never opened."""
    await session.execute(_BEGIN, {"shard": shard})


async def raise_epoch(session: AsyncSession, position: Position, reason: str) -> Position:
    """Close the position's epoch at its seq and begin the next; LostRace if another did."""
    old = {"shard": position.shard, "epoch": position.epoch, "seq": position.seq, "now": now_ms()}
    moved = await session.execute(_RAISE, {**old, "state": position.state})
    if moved.rowcount != 1:  # type: ignore[attr-defined]
        raise LostRace
    await session.execute(_CLOSE, old)
    await session.execute(
        _NEW, {"shard": position.shard, "epoch": position.epoch + 1, "reason": reason}
    )
    return Position(position.shard, position.epoch + 1, 0, "", "reopening")


async def is_whole(
    session: AsyncSession, position: Position, meta_epoch: int | None, meta_seq: int
) -> bool:
    """Whether a hot store at (meta_epoch, meta_seq) has what was settled, and nothing else.

    A higher seq than the settled one is as bad as a lower: it has effects whose events nobody
    will ever settle (they lay behind a gap). A file of an epoch that was followed by another
    one lacks what happened there, although its own end is right.
    """
    if meta_epoch is None:
        return False
    if meta_epoch == position.epoch:
        return meta_seq == position.seq
    ended = await session.scalar(_LAST, {"shard": position.shard, "epoch": meta_epoch})
    return ended is not None and bool(meta_seq == ended)


async def hold(session: AsyncSession, shard: int, epoch: int) -> None:
    """Keep the shard in this epoch until the transaction ends; LostRace if it is not."""
    if await session.scalar(_HOLD, {"shard": shard, "epoch": epoch}) is None:
        raise LostRace


async def keep_snapshot(session: AsyncSession, position: Position, snapshot: bytes) -> None:
    """The hot state with which the epoch opens."""
    await session.execute(
        _SNAPSHOT,
        {
            "shard": position.shard,
            "epoch": position.epoch,
            "snapshot": snapshot,
            "now": now_ms(),
        },
    )


async def mark_open(session: AsyncSession, position: Position, run_id: str) -> None:
    """The epoch is open on this life of the hot store, whoever said it first."""
    given = {"shard": position.shard, "epoch": position.epoch, "run_id": run_id, "now": now_ms()}
    opened = await session.execute(_OPEN, given)
    if opened.rowcount != 1:  # type: ignore[attr-defined]
        raise LostRace


async def mark_sealed(session: AsyncSession, position: Position, detail: dict[str, object]) -> None:
    """A gap: nothing goes on until a person says so. LostRace if the row has moved."""
    given = {"shard": position.shard, "epoch": position.epoch, "now": now_ms()}
    sealed = await session.execute(_SEAL, {**given, "seq": position.seq})
    if sealed.rowcount != 1:  # type: ignore[attr-defined]
        raise LostRace
    await record_incident(
        session,
        cause=f"gap:{position.shard}:{position.epoch}:{position.seq}",
        kind="gap",
        shard=position.shard,
        detail=detail,
    )


async def resolve_gaps(session: AsyncSession, shard: int) -> None:
    """A person went on past the gap."""
    await session.execute(_RESOLVE, {"shard": shard, "now": now_ms()})


async def beat(session: AsyncSession, position: Position) -> None:
    """A reopening under way says that it lives."""
    await session.execute(
        _BEAT, {"shard": position.shard, "epoch": position.epoch, "now": now_ms()}
    )


async def idle_ms(session: AsyncSession, shard: int) -> int:
    """How long ago the row last moved; a very long time when it never did."""
    beat: int | None = await session.scalar(_LAST_BEAT, {"shard": shard})
    return now_ms() - (beat or 0)
