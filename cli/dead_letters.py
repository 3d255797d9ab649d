"""`kaituan dead-letters list|retry|discard`: what could not be settled, and a person's decision.

While a letter is open the audit is red and later events of its claim join it. Each decision is
one transaction with its row in the audit log.
"""

import os
from collections.abc import Sequence

import click
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.audit_log import record_change
from cli.transaction import in_transaction
from engine.models import DeadLetter
from workers.settle import dead_letters

_EPOCH = text("SELECT epoch FROM shard_position WHERE shard = :shard")


@click.group("dead-letters")
def dead_letters_group() -> None:
    """Events that could not be settled: look at them, settle them now, or close them."""


@dead_letters_group.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, events included.")
def list_command(as_json: bool) -> None:
    """All open dead letters, oldest first."""
    letters = in_transaction(dead_letters.open_letters)
    if as_json:
        for letter in letters:
            click.echo(msgspec.json.encode(_shown(letter)).decode())
        return
    if not letters:
        click.echo("There are no open dead letters.")
        return
    for letter in letters:
        place = f"shard {letter.shard}, epoch {letter.epoch}, event {letter.seq}"
        kind = msgspec.msgpack.decode(letter.payload, type=dict[str, str]).get("kind", "")
        click.echo(f"{letter.id}: {kind} of {letter.claim_id or 'no claim'} ({place})")
        click.echo(f"    {letter.error.partition(chr(10))[0]}")


@dead_letters_group.command("retry")
@click.argument("letter_id", type=click.IntRange(1), metavar="ID")
def retry_command(letter_id: int) -> None:
    """Settle the letter and the later ones of its claim, in order, once the cause is gone."""

    async def decide(session: AsyncSession) -> tuple[int, str]:
        letters = await dead_letters.retry(session, letter_id)
        _record(session, "dead_letter.retry", letters)
        now = await session.scalar(_EPOCH, {"shard": letters[0].shard})
        older = any(letter.epoch != now for letter in letters)
        return len(letters), _rebuild_hint(letters) if older else ""

    count, hint = in_transaction(decide)
    click.echo(f"Settled: {_letters(count)}.{hint}")


@dead_letters_group.command("discard")
@click.argument("letter_id", type=click.IntRange(1), metavar="ID")
@click.option("--note", required=True, help="Why this is right; kept with the letter.")
def discard_command(letter_id: int, note: str) -> None:
    """Close the letter and the later ones of its claim without any effect."""
    if not note.strip():
        raise click.BadParameter("Say why in a few words.", param_hint="--note")

    async def decide(session: AsyncSession) -> tuple[int, str]:
        letters = await dead_letters.discard(session, letter_id, note)
        _record(session, "dead_letter.discard", letters, note=note)
        return len(letters), _rebuild_hint(letters)

    count, hint = in_transaction(decide)
    click.echo(f"Closed without effect: {_letters(count)}.{hint}")


def _record(
    session: AsyncSession, action: str, letters: Sequence[DeadLetter], **detail: str
) -> None:
    ids = [letter.id for letter in letters]
    subject = letters[0].claim_id or f"dead_letter:{ids[0]}"
    record_change(session, f"cli:uid-{os.getuid()}", action, subject, letters=ids, **detail)


def _letters(count: int) -> str:
    return "1 letter" if count == 1 else f"{count} letters of the claim"


def _rebuild_hint(letters: Sequence[DeadLetter]) -> str:
    shard = letters[0].shard
    return f" Run `kaituan rebuild {shard}` so that the hot store says the same as the rows."


def _shown(letter: DeadLetter) -> dict[str, object]:
    event = msgspec.msgpack.decode(letter.payload, type=dict[str, str])
    names = ("id", "shard", "epoch", "seq", "claim_id", "error", "created_at_ms")
    return {**{name: getattr(letter, name) for name in names}, "event": event}
