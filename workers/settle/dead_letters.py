"""Dead letters: events that could not be settled, kept in order, resolved only by a person.

`retry` folds a claim's letters again, in order, in one transaction; `discard` closes them with a
note. Until then the audit is red and later events of the claim follow the first one here.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby

import msgspec
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from engine.errors import Conflict, Missing
from engine.events import decode
from engine.ids import now_ms
from engine.models import DeadLetter
from workers.settle.away import is_outage
from workers.settle.book import Poison
from workers.settle.fold import fold
from workers.settle.load import load_book
from workers.settle.newcomers import judge_newcomers
from workers.settle.write import write_book

_OPEN = text(
    "SELECT DISTINCT claim_id FROM dead_letters"
    " WHERE state = 'open' AND claim_id = ANY(CAST(:ids AS text[]))"
)


_HOLD_OPEN = text("SELECT state FROM shard_position WHERE shard = :shard FOR SHARE")


async def claims_with_open_letters(session: AsyncSession, claims: Collection[str]) -> set[str]:
    """Those of `claims` whose events must follow an open letter."""
    if not claims:
        return set()
    return set(await session.scalars(_OPEN, {"ids": sorted(claims)}))


async def bury(
    session: AsyncSession,
    shard: int,
    epoch: int,
    poison: Sequence[tuple[int, Mapping[str, str], str]],
) -> None:
    """Write (seq, fields, why) as open letters."""
    now = now_ms()
    session.add_all(
        DeadLetter(
            shard=shard,
            epoch=epoch,
            seq=seq,
            claim_id=fields.get("claim_id", "").replace("\x00", "") or None,
            payload=msgspec.msgpack.encode(dict(fields)),
            error=why,
            state="open",
            created_at_ms=now,
        )
        for seq, fields, why in poison
    )
    await session.flush()


async def open_letters(session: AsyncSession) -> Sequence[DeadLetter]:
    """All open letters, oldest first."""
    query = select(DeadLetter).where(DeadLetter.state == "open").order_by(DeadLetter.id)
    return (await session.scalars(query)).all()


async def _letters_like(session: AsyncSession, letter_id: int) -> list[DeadLetter]:
    """The letter and the open ones of the same claim, in the order of their events."""
    letter = await session.get(DeadLetter, letter_id)
    if letter is None or letter.state != "open":
        raise Missing("no_dead_letter", f"There is no open dead letter {letter_id}")
    if letter.claim_id is None:
        return [letter]
    query = (
        select(DeadLetter)
        .where(DeadLetter.state == "open", DeadLetter.claim_id == letter.claim_id)
        .order_by(DeadLetter.epoch, DeadLetter.seq)
        .with_for_update()
    )
    return list((await session.scalars(query)).all())


async def retry(session: AsyncSession, letter_id: int) -> Sequence[DeadLetter]:
    """Settle the letter and the later ones of its claim now; which. Conflict if refused.

    The shard must be open, and stays so until the transaction ends: a rebuild that reads the
    rows at the same time would see half of it.
    """
    letters = await _letters_like(session, letter_id)
    shard = letters[0].shard
    state = await session.scalar(_HOLD_OPEN, {"shard": shard})
    if state != "open":
        raise Conflict("shard_not_open", f"Shard {shard} is {state}", "Try again once it is open.")
    for epoch, some in groupby(letters, key=lambda one: one.epoch):
        try:
            events = [
                decode(one.seq, msgspec.msgpack.decode(one.payload, type=dict[str, str]))
                for one in some
            ]
            book = await load_book(session, shard, epoch, events)
            for event in events:
                fold(book, event)
            judge_newcomers(book)
            await write_book(session, book)
        except (Poison, ValueError, msgspec.ValidationError, DBAPIError) as error:
            if is_outage(error):
                raise
            raise Conflict("still_poison", "It still cannot be settled", _first(error)) from error
    _resolve(letters, "settled", "")
    return letters


async def discard(session: AsyncSession, letter_id: int, note: str) -> Sequence[DeadLetter]:
    """Close the letter and the later ones of its claim without effect; which."""
    letters = await _letters_like(session, letter_id)
    _resolve(letters, "discarded", note)
    return letters


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _resolve(letters: Sequence[DeadLetter], state: str, note: str) -> None:
    for letter in letters:
        letter.state, letter.note, letter.resolved_at_ms = state, note, now_ms()
