"""Subsidy seats: the merchant fills seats of a team, labelled, within a budget, in the ledger.

The command is a row first, then the script decides, and the repeats run it until its event is
settled (which posts its price, subsidy → HQ). What the script refuses is noted on the row and
never run again.
"""

import hashlib
from typing import Final

import msgspec
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from campaigns.offer.models import Offer
from campaigns.team.models import UNDECIDED, Team, TeamCommand
from engine.db import Database
from engine.errors import Conflict, KaituanError, Missing, Unprocessable
from engine.ids import now_ms
from engine.offers import OfferConfig
from engine.teams import Teams
from engine.tokens import Access

REFUSALS: Final = frozenset({"over_budget", "no_seat", "not_open"})
_SAID: Final = {
    "over_budget": "The offer's budget of subsidy seats does not allow so many.",
    "no_seat": "The team has not so many free seats.",
    "not_open": "The team takes no subsidy seats: its captain has not paid, or it is decided.",
}


class SubsidyOut(msgspec.Struct):
    """`in_effect`: the seats are filled; else they will be soon, or the answer says why not."""

    command_id: str
    team_id: str
    seats: int
    amount_fen: int
    in_effect: bool


async def subsidise(
    db: Database, teams: Teams, who: Access, team_id: str, *, key: str, seats: int, reason: str
) -> SubsidyOut:
    """Fill `seats` once per key. Missing `team_not_found`; Unprocessable `key_reused`.

    Conflict `over_budget`, `no_seat` or `not_open`: then nothing was changed, also for a repeat.
    """
    digest = hashlib.sha256(f"{who.subject} {team_id} {key}".encode()).hexdigest()[:32]
    command_id = f"tcm_{digest}"
    async with db.begin() as session:
        command = await _write_once(session, who, command_id, team_id, seats, reason)
        amount_fen = command.amount_fen
    try:
        word = await apply_team_command(db, teams, command_id)
    except KaituanError:
        word = "waits"  # the repeats will run it
    if word in REFUSALS:
        raise _refused(word)
    return SubsidyOut(
        command_id=command_id,
        team_id=team_id,
        seats=seats,
        amount_fen=amount_fen,
        in_effect=word in ("subsidised", "done"),
    )


async def _write_once(
    session: AsyncSession, who: Access, command_id: str, team_id: str, seats: int, reason: str
) -> TeamCommand:
    """The command's row, new or stored, with its audit row; the errors of `subsidise`."""
    stored = await session.get(TeamCommand, command_id)
    if stored is None:
        team = await session.get(Team, team_id)
        offer = await session.get(Offer, team.offer_id) if team is not None else None
        if team is None or offer is None or team.kind != "team":
            raise Missing("team_not_found", "There is no such team")
        if team.state not in UNDECIDED:
            raise _refused("not_open")
        now = now_ms()
        added = await session.scalar(
            insert(TeamCommand)
            .values(
                id=command_id,
                team_id=team_id,
                offer_id=offer.id,
                shard=team.shard,
                kind="subsidise",
                seats=seats,
                amount_fen=seats * seat_fen(msgspec.convert(offer.config, OfferConfig), now),
                reason=reason,
                actor=who.subject,
                created_at_ms=now,
            )
            .on_conflict_do_nothing()
            .returning(TeamCommand.id)
        )
        if added is not None:
            record_change(
                session,
                who.subject,
                "team.subsidise",
                team_id,
                command_id=command_id,
                seats=seats,
                reason=reason,
            )
        stored = await session.get_one(TeamCommand, command_id)
    if (stored.seats, stored.reason) != (seats, reason):
        raise Unprocessable(
            "key_reused",
            "This Idempotency-Key belongs to another request.",
            "Nothing was changed by this one; use a new key.",
            command_id=command_id,
        )
    return stored


def seat_fen(config: OfferConfig, at_ms: int) -> int:
    """What a seat of this team offer costs at `at_ms`, in fen."""
    assert config.team is not None
    current = max(
        (price for price in config.prices if price[2] <= at_ms), key=lambda price: price[2]
    )
    return config.team.seat_qty * current[1]


async def apply_team_command(
    db: Database, teams: Teams, command_id: str, *, epoch: int | None = None
) -> str:
    """Run a committed command; the script's word, also when it was run or refused before.

    `epoch`: of the statement that found the row. Unavailable while the hot store is away.
    """
    async with db.begin() as session:
        command = (
            await session.scalars(select(TeamCommand).where(TeamCommand.id == command_id))
        ).one()
    if command.applied_seq is not None:
        return "done"
    if command.outcome is not None:
        return command.outcome
    honour = command.kind == "honour"
    reply = await teams.subsidise(
        command.shard,
        command.team_id,
        command_id=command_id,
        seats=command.seats,
        honour=honour,
        epoch=epoch,
    )
    # A promise is refused for good only by a decided team: a store that was lost may have to
    # learn again that its offer was cancelled.
    is_final = not honour or reply.details[:1] in (("formed",), ("failed",))
    if reply.what in REFUSALS and is_final:
        async with db.begin() as session:
            await session.execute(
                update(TeamCommand)
                .where(TeamCommand.id == command_id, TeamCommand.applied_seq.is_(None))
                .values(outcome=reply.what)
            )
    return reply.what


def _refused(word: str) -> Conflict:
    return Conflict(word, _SAID[word], "Nothing was changed.")
