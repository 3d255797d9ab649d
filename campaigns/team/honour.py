"""Seats that a cancelled campaign fills because it promised to: whoever has paid gets the goods.

Like a subsidy seat each is a row first, labelled `honour`, outside of the offer's budget, and in
the ledger once its event is settled. One row a seat: its id names the team and how many seats the
merchant had filled before, so however often it is asked, a missing seat is filled once.
"""

import msgspec
from sqlalchemy.dialects.postgresql import insert

from campaigns.offer.models import Offer
from campaigns.team.models import TeamCommand
from campaigns.team.subsidy import apply_team_command, seat_fen
from engine.db import Database
from engine.ids import now_ms
from engine.offers import OfferConfig
from engine.teams import Teams

REASON = "honour"


async def honour_seat(db: Database, teams: Teams, shard: int, team_id: str, filled: int) -> str:
    """Fill the next missing seat of a team that `team_decide` said is honoured; the script's word.

    `filled`: seats that the merchant has filled already. Unavailable while the hot store is away;
    the repeats run it then.
    """
    team = await teams.state(shard, team_id)
    command_id = f"tcm-honour-{team_id}-{filled}"
    async with db.begin() as session:
        offer = await session.get_one(Offer, team["offer_id"])
        config = msgspec.convert(offer.config, OfferConfig)
        await session.execute(
            insert(TeamCommand)
            .values(
                id=command_id,
                team_id=team_id,
                offer_id=offer.id,
                shard=shard,
                kind="honour",
                seats=1,
                amount_fen=seat_fen(config, now_ms()),
                reason=REASON,
                actor="system",
                created_at_ms=now_ms(),
            )
            .on_conflict_do_nothing()
        )
    return await apply_team_command(db, teams, command_id)
