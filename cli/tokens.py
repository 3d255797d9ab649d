"""`kaituan tokens -n N`: bearer tokens of sample customers for load tools, in development only."""

import asyncio
import sys
from typing import NamedTuple

import click
import msgspec
from sqlalchemy import select

from campaigns.people.models import Member
from campaigns.sign_in.service import traits_of
from cli.imports import reachable_settings
from cli.words import in_words
from engine.db import Database
from engine.errors import RefusedStart
from engine.ids import now_ms
from engine.settings import Settings
from engine.tokens import TokenKeys

TOKENS_MAX = 100_000


class SampleToken(NamedTuple):
    """A member, and a token with which a load tool acts as them."""

    buyer: str
    token: str
    expires_at_ms: int


async def sample_tokens(settings: Settings, count: int) -> list[SampleToken]:
    """Tokens of the first `count` members; RefusedStart outside development or with too few."""
    if settings.mode != "development":
        raise RefusedStart(
            "not_development",
            "Tokens of customers are only given out in development mode.",
            "This Kaituan serves real people; nothing was done.",
        )
    query = select(Member.id).order_by(Member.id).limit(count)
    db = Database(settings.database_url, pool_max=1)
    try:
        async with db.begin() as session:
            members = (await session.scalars(query)).all()
            known = await traits_of(session, members)
    finally:
        await db.close()
    if len(members) < count:
        raise RefusedStart(
            "too_few_members",
            f"There are only {len(members)} customers.",
            "Import more of them (`kaituan import FILE…`), or ask for fewer.",
        )
    keys = TokenKeys.from_setting(settings.token_secret)
    expires_at_ms = now_ms() + settings.token_ttl_ms
    return [
        SampleToken(
            member_id,
            keys.sign(
                member_id, "customer", expires_at_ms=expires_at_ms, **known[member_id]._asdict()
            ),
            expires_at_ms,
        )
        for member_id in members
    ]


@click.command("tokens")
@click.option("-n", "count", type=click.IntRange(1, TOKENS_MAX), default=10, show_default=True)
@click.option("--plain", is_flag=True, help="Only the tokens, one a line.")
def tokens(count: int, plain: bool) -> None:
    """Bearer tokens of sample customers, one JSON object a line; development mode only."""
    with in_words():
        made = asyncio.run(sample_tokens(reachable_settings(), count))
    for one in made:
        line = one.token.encode() if plain else msgspec.json.encode(one._asdict())
        sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()
