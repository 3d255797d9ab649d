"""Repeats what was committed in PostgreSQL but is not yet applied by a settled event.

A row is applied only when the settler commits the event that carries its id, never because a
script returned: the reply, the event or the hot store itself may have been lost. Every script
is idempotent by that id, and the epoch is read in the same statement as the row, so a row read
before a rebuild is not repeated after it. Long lists are walked in turns, so that rows that
cannot be applied never stand in the way of others.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from sqlalchemy import TextClause, select, text

from campaigns.offer.service import apply_offer_command
from campaigns.order.models import Order
from campaigns.payment.attempts import release_by_receipt, repeat_begin
from campaigns.payment.facts import apply_fact
from campaigns.refund.done import give_units_back
from campaigns.team.subsidy import apply_team_command
from engine.ids import now_ms
from engine.models import ShardPosition
from engine.teams import Teams
from workers.alarms import raise_alarm
from workers.loop import Parts, describe, each, is_outage

log = logging.getLogger(__name__)

TOLD_MAX: Final = 1_000


class Due(NamedTuple):
    """A row to repeat, in the order (at_ms, id)."""

    at_ms: int
    id: str
    epoch: int


class Kind(NamedTuple):
    """A list of unapplied rows, how one is repeated, and the replies that never can be applied."""

    name: str
    query: TextClause
    repeat: Callable[[Parts, Due], Awaitable[str]]
    hopeless: frozenset[str] = frozenset()


def _query(table: str, at_ms: str, condition: str) -> TextClause:
    """Unapplied rows of a shard that has an epoch, after the cursor; constants of this file."""
    return text(
        f"SELECT t.{at_ms}, t.id, p.epoch FROM {table} t"  # noqa: S608
        f" JOIN shard_position p ON p.shard = t.shard WHERE {condition}"
        f" AND t.{at_ms} <= :before AND (t.{at_ms}, t.id) > (:after_ms, :after_id)"
        f" ORDER BY t.{at_ms}, t.id LIMIT :limit"
    )


async def _release(parts: Parts, due: Due, why: str) -> str:
    async with parts.db.begin() as session:
        row = (
            await session.execute(
                select(Order, ShardPosition.epoch)
                .join(ShardPosition, ShardPosition.shard == Order.shard)
                .where(Order.id == due.id, Order.release_due)
            )
        ).one_or_none()
    if row is None:
        return "done"
    order, epoch = row
    reply = await parts.inventory.release(
        order.shard,
        order.claim_id,
        attempt_id=order.attempt_id or "",
        why=why,
        epoch=epoch,
    )
    return reply.what


KINDS = (
    Kind(
        "command",
        _query("offer_commands", "created_at_ms", "t.applied_seq IS NULL"),
        lambda parts, due: apply_offer_command(parts.db, parts.inventory, due.id, epoch=due.epoch),
    ),
    Kind(
        "attempt",
        _query(
            "payment_attempts",
            "created_at_ms",
            "t.state = 'open' AND t.reason = '' AND t.applied_seq IS NULL",
        ),
        lambda parts, due: repeat_begin(parts.db, parts.inventory, due.id),
    ),
    Kind(
        "fact",
        _query("payment_facts", "received_at_ms", "t.outcome IS NULL"),
        lambda parts, due: apply_fact(parts.db, parts.inventory, due.id),
    ),
    Kind(
        "receipt",
        _query(
            "payment_attempts",
            "next_at_ms",
            "t.state IN ('closed', 'void') AND t.released_seq IS NULL AND t.reason <> 'refused'"
            " AND EXISTS (SELECT 1 FROM orders o WHERE o.id = t.order_id"
            " AND o.claim_state IN ('held', 'paying'))",
        ),
        lambda parts, due: release_by_receipt(parts.db, parts.inventory, due.id),
    ),
    Kind(
        "rejected",
        _query("orders", "claimed_at_ms", "t.release_due AND t.state = 'rejected'"),
        lambda parts, due: _release(parts, due, "rejected"),
        frozenset({"paid", "returned", "unknown"}),
    ),
    Kind(  # paying or paid meanwhile: the settler will see, and judge the payment
        "not new",
        _query("orders", "claimed_at_ms", "t.release_due AND t.state = 'open'"),
        lambda parts, due: _release(parts, due, "not_new"),
        frozenset({"unknown"}),
    ),
    Kind(
        "units",
        _query(
            "refunds",
            "done_at_ms",
            "t.state = 'done' AND t.units > 0 AND t.applied_seq IS NULL",
        ),
        lambda parts, due: give_units_back(parts.db, parts.inventory, due.id),
        frozenset({"not_paid", "too_many", "unknown"}),
    ),
    Kind(
        "team command",
        _query("team_commands", "created_at_ms", "t.applied_seq IS NULL AND t.outcome IS NULL"),
        lambda parts, due: apply_team_command(
            parts.db,
            Teams(parts.inventory.wire, parts.inventory.epochs),
            due.id,
            epoch=due.epoch,
        ),
        frozenset({"unknown"}),
    ),
)


class Repeats:
    """The walk through the lists; it remembers where each was left, and what it has told."""

    def __init__(self, parts: Parts, kinds: tuple[Kind, ...] = KINDS) -> None:
        self._parts = parts
        self._kinds = kinds
        self._cursors: dict[str, tuple[int, str]] = {}
        self._told: set[str] = set()

    async def run_once(self) -> int:
        """The next batch of each list, repeated; how many rows."""
        count = 0
        for kind in self._kinds:
            batch = await self._next(kind)
            count += await each(batch, lambda due, kind=kind: self._isolated(kind, due))  # type: ignore[misc]
        return count

    async def _next(self, kind: Kind) -> list[Due]:
        settings = self._parts.settings
        limit = settings.outside_batch_max
        after_ms, after_id = self._cursors.pop(kind.name, (0, ""))
        given: dict[str, Any] = {
            "before": now_ms() - settings.repeat_after_ms,
            "after_ms": after_ms,
            "after_id": after_id,
            "limit": limit,
        }
        async with self._parts.db.begin() as session:
            rows = [Due(*row) for row in await session.execute(kind.query, given)]
        if len(rows) == limit:  # else the list ends here, and the next turn begins at its front
            self._cursors[kind.name] = (rows[-1].at_ms, rows[-1].id)
        return rows

    async def _isolated(self, kind: Kind, due: Due) -> None:
        try:
            reply = await kind.repeat(self._parts, due)
        except Exception as error:
            if is_outage(error):
                raise
            if self._is_news(f"{kind.name}:{due.id}:{describe(error)}"):
                log.exception("repeats: %s %s", kind.name, due.id)
            return
        if reply in kind.hopeless and self._is_news(f"{kind.name}:{due.id}:{reply}"):
            async with self._parts.db.begin() as session:
                await raise_alarm(
                    session,
                    f"not_applied:{kind.name}:{due.id}",
                    kind="not_applied",
                    shard=None,
                    detail={"row": kind.name, "id": due.id, "reply": reply},
                )

    def _is_news(self, line: str) -> bool:
        if line in self._told:
            return False
        if len(self._told) >= TOLD_MAX:
            self._told.clear()
        self._told.add(line)
        return True


async def run_once(parts: Parts) -> int:
    """One batch of each list from its front; how many rows."""
    return await Repeats(parts).run_once()
