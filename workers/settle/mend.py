"""Teams whose script lost its tail: the rows are made what the whole script would have left.

A script's events may fall into two batches. When the hot store dies between them, the claim's
event is settled and its team's is lost. Before a rebuild the seats, counts, captains and ladder
steps of undecided teams follow from their orders; whom nobody sits with any more is closing, and
its end is said, as that of a full one, as soon as anybody looks (`due_now`).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncSession

from engine.ids import now_ms

_SEATS_LEFT = text(
    "UPDATE orders o SET seat = 'left' FROM teams t WHERE o.shard = :shard AND t.id = o.team_id"
    " AND t.decided_at_ms IS NULL AND o.seat = 'taken' AND o.claim_state IN ('released',"
    " 'returned')"
)
# offer_open says its crowd's team right behind the offer.
_CROWDS = text(
    """
    INSERT INTO teams (id, shard, offer_id, campaign_id, version, kind, opener_id, captain_id,
                       size, state, why, paid, subsidy, step, opened_at_ms, deadline_ms)
    SELECT f.config -> 'team' ->> 'crowd_id', f.shard, f.id, f.campaign_id, f.version, 'crowd', '',
           '', 0, 'forming', '', 0, 0, 0, :now, CAST(f.config ->> 'ends_at_ms' AS bigint)
    FROM offers f WHERE f.shard = :shard AND f.state <> 'scheduled'
      AND f.config -> 'team' ->> 'crowd_id' <> ''
    ON CONFLICT (id) DO NOTHING
    """
)
_UNDECIDED = text(
    """
    SELECT t.id, t.kind, t.state, t.paid, t.subsidy, t.step, t.captain_id,
           f.config -> 'team' -> 'steps' AS steps, count(o.id) AS seats,
           count(o.id) FILTER (WHERE o.claim_state = 'paid') AS seats_paid,
           coalesce(bool_or(o.buyer_id = t.captain_id), false) AS is_led,
           coalesce((array_agg(o.buyer_id ORDER BY (o.claim_state <> 'paid'),
             CASE WHEN o.claim_state = 'paid' THEN o.paid_at_ms ELSE o.claimed_at_ms END,
             o.claim_id COLLATE "C"))[1], '') AS next_captain
    FROM teams t JOIN offers f ON f.id = t.offer_id
    LEFT JOIN orders o ON o.team_id = t.id AND o.seat = 'taken'
    WHERE t.shard = :shard AND t.decided_at_ms IS NULL
    GROUP BY t.id, f.id
    """
)
_MEND = text(
    "UPDATE teams SET state = given.state, paid = given.paid, step = given.step,"
    " captain_id = given.captain_id FROM unnest(CAST(:id AS text[]), CAST(:state AS text[]),"
    " CAST(:paid AS int[]), CAST(:step AS int[]), CAST(:captain_id AS text[]))"
    " AS given(id, state, paid, step, captain_id) WHERE teams.id = given.id"
)
_FIELDS = ("state", "paid", "step", "captain_id")


async def mend_teams(session: AsyncSession, shard: int) -> int:
    """Make up for lost tails, in the caller's transaction; how many teams were changed."""
    await session.execute(_SEATS_LEFT, {"shard": shard})
    await session.execute(_CROWDS, {"shard": shard, "now": now_ms()})
    changed: list[dict[str, Any]] = []
    for row in (await session.execute(_UNDECIDED, {"shard": shard})).mappings():
        wanted = _whole(row)
        if any(row[name] != wanted[name] for name in _FIELDS):
            changed.append({"id": row["id"], **wanted})
    if changed:
        columns = {name: [one[name] for one in changed] for name in ("id", *_FIELDS)}
        await session.execute(_MEND, columns)
    return len(changed)


def _whole(row: RowMapping) -> dict[str, Any]:
    """What the team's row says once every seat event has been told."""
    state, paid, step = row["state"], row["seats_paid"], row["step"]
    if row["kind"] == "crowd":
        step = max(step, _step_of(row["steps"], paid))
        state = "reached" if step and state == "forming" else state
        return {"state": state, "paid": paid, "step": step, "captain_id": ""}
    if row["seats"] == 0:
        state = "closing"
    elif state == "opening" and paid:
        state = "forming"
    captain_id = row["captain_id"] if row["is_led"] else row["next_captain"]
    return {"state": state, "paid": paid, "step": step, "captain_id": captain_id}


def _step_of(steps: Sequence[Sequence[Any]], paid: int) -> int:
    return sum(1 for least, _, _ in steps if paid >= least)
