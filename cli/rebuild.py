"""`kaituan rebuild SHARD [--past-gap]`: write a shard's hot state anew from PostgreSQL.

Settlers may run meanwhile: of all that reopen a shard one wins, and this command tries again.
Only `--past-gap` goes on where events are missing; what lies behind the gap is archived as
orphaned, and its claims answer `claim_lost`.
"""

import asyncio
import os
import time

import click

from cli.imports import reachable_settings
from engine.db import Database
from engine.errors import Conflict, KaituanError, Unavailable
from engine.scripts import load_all
from engine.settings import Settings
from engine.wire import Wire
from workers.settle import positions
from workers.settle.loop import TAKE_OVER_MS
from workers.settle.positions import LostRace, Position
from workers.settle.reopen import Gap, Reopener

WITHIN_S = 60.0


@click.command("rebuild")
@click.argument("shard", type=click.IntRange(0, 999))
@click.option("--past-gap", is_flag=True, help="Go on where events are missing; see above.")
def rebuild_command(shard: int, past_gap: bool) -> None:
    """Write the hot state of SHARD anew from PostgreSQL and open it under a new epoch.

    Orders and payments are safe. With --past-gap a shard that was sealed because events are
    missing goes on: events behind the gap are archived as orphaned, and claims that were only
    known by them answer `claim_lost`.
    """
    try:
        settings = reachable_settings()
        old, new = asyncio.run(
            rebuild(settings, shard, past_gap=past_gap, actor=f"cli:uid-{os.getuid()}")
        )
    except KaituanError as error:
        raise click.ClickException(f"{error.title} {error.detail}".strip()) from None
    click.echo(
        f"Shard {shard} is open in epoch {new.epoch}, rebuilt from PostgreSQL. Epoch {old.epoch} "
        f"ended at event {old.seq}: claims of it above that answer `claim_lost`."
    )


async def rebuild(
    settings: Settings, shard: int, *, past_gap: bool, actor: str, within_s: float = WITHIN_S
) -> tuple[Position, Position]:
    """(where the old epoch ended, the new position); Conflict when the shard's state forbids it."""
    db = Database(settings.database_url, pool_max=2)
    wire = Wire(settings.redis_url, load_all().values())
    try:
        await wire.start()
        reopener = Reopener(
            db,
            wire,
            batch_max=settings.settle_batch_max,
            rebuild_batch_max=settings.rebuild_batch_max,
        )
        until = time.monotonic() + within_s
        while True:
            try:
                return await _once(db, reopener, shard, past_gap=past_gap, actor=actor)
            except (LostRace, Unavailable) as error:
                if time.monotonic() > until:
                    raise _still_busy(shard, within_s) from error
                await asyncio.sleep(0.1)
    finally:
        await wire.close()
        await db.close()


async def _once(
    db: Database, reopener: Reopener, shard: int, *, past_gap: bool, actor: str
) -> tuple[Position, Position]:
    async with db.begin() as session:
        old = await positions.read(session, shard)
        idle_ms = await positions.idle_ms(session, shard)
    if old is None:
        raise Conflict("no_shard", f"PostgreSQL has never heard of shard {shard}.")
    if old.state == "reopening" and idle_ms < TAKE_OVER_MS:
        raise LostRace  # somebody is at it; our turn comes when that is done or abandoned
    if past_gap and old.state != "sealed":
        raise Conflict(
            "not_sealed", f"Shard {shard} is {old.state}: there is no gap to go past.", _PLAIN
        )
    if not past_gap and old.state == "sealed":
        raise _sealed(shard)
    try:
        new = await reopener.reopen(old, "by hand", past_gap=past_gap, force=True, actor=actor)
    except Gap as gap:
        async with db.begin() as session:
            await positions.mark_sealed(session, old, {"after_seq": old.seq})
        raise _sealed(shard) from gap
    return old, new


_PLAIN = "Without --past-gap it can be rebuilt."


def _sealed(shard: int) -> Conflict:
    return Conflict(
        "sealed",
        f"Shard {shard} is sealed, because events are missing.",
        f"Look at the incident first. `kaituan rebuild {shard} --past-gap` then goes on without "
        "them: what is behind the gap is archived, and its claims answer `claim_lost`.",
    )


def _still_busy(shard: int, within_s: float) -> Unavailable:
    return Unavailable(
        "reopening",
        f"Shard {shard} could not be rebuilt within {within_s:.0f} s.",
        "Its hot store is away or somebody else is reopening it. Nothing is lost: try again.",
    )
