"""A batch's teams: what their own topics are told, and what rooms hear of them.

A team's topic has each of its events, and at the end of the batch the team as it is. A crowd may
have ten thousand seats: of these only the state at the end is told, and each step of its ladder.
Rooms hear of a few openings and formings in a batch and of all that a crowd reaches; how many
teams are open is in a tick. Of people only nicknames are told.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from campaigns.people.models import Member
from campaigns.room.team_parts import team_now
from engine.db import Database
from engine.events import (
    CrowdReached,
    Decided,
    SeatFilled,
    SeatLeft,
    TeamEvent,
    TeamOpened,
    TeamSubsidised,
)
from engine.inventory import Inventory
from engine.room_events import TeamTold, TopicEvent, team_topic, topic_event, without_personal
from workers.broadcast.translate import AboutClaim, Batch

_OF_TEAMS = ("team.opened", "team.formed")  # of these rooms hear a few


def filled(batch: Batch) -> list[SeatFilled]:
    """Seats of teams that were paid, whose buyers are to be named."""
    return [event for event in batch.seats if isinstance(event, SeatFilled)]


async def team_events(
    db: Database, batch: Batch, about: Mapping[str, AboutClaim]
) -> list[tuple[int, TeamTold]]:
    """(seq, what is said) of the events that are told one by one."""
    events = [event for event in batch.seats if _is_told(event)]
    buyers = {event.seq: event.opener_id for event in events if isinstance(event, TeamOpened)}
    for event in filled(batch):
        if event.claim_id in about:
            buyers[event.seq] = about[event.claim_id].buyer_id
    names = await _nicknames(db, sorted(set(buyers.values())))
    return [
        (
            event.seq,
            TeamTold(
                at_ms=event.at_ms,
                team_id=event.team_id,
                offer_id=event.offer_id,
                what=str(event.__struct_config__.tag),
                nickname=names.get(buyers.get(event.seq, ""), ""),
                paid=getattr(event, "paid", 0),
                step=getattr(event, "step", 0),
                why=event.why if isinstance(event, Decided) else "",
            ),
        )
        for event in events
    ]


def _is_told(event: TeamEvent) -> bool:
    if isinstance(event, TeamOpened):
        return event.team_kind == "team"  # a crowd is opened with its offer
    return isinstance(event, SeatFilled | SeatLeft | TeamSubsidised | CrowdReached | Decided)


async def _nicknames(db: Database, buyers: Sequence[str]) -> dict[str, str]:
    if not buyers:
        return {}
    async with db.begin() as session:
        rows = await session.execute(
            select(Member.id, Member.nickname).where(Member.id.in_(buyers))
        )
        return {member_id: without_personal(nickname) for member_id, nickname in rows}


async def to_teams(
    inventory: Inventory, batch: Batch, said: Sequence[tuple[int, TeamTold]]
) -> dict[str, list[TopicEvent]]:
    """topic → events of each team that the batch touches; last what it is now."""
    told: dict[str, list[TopicEvent]] = {team_topic(one): [] for one in batch.teams}
    for seq, event in said:
        one = topic_event(batch.origin(seq), event, seq=seq)
        told[team_topic(event.team_id)].append(one)
    found = await asyncio.gather(
        *(team_now(inventory, batch.shard, team_id) for team_id in batch.teams)
    )
    for team_id, now in zip(batch.teams, found, strict=True):
        if now is not None:
            told[team_topic(team_id)].append(topic_event(batch.tick_origin(team_id), now))
    return {topic: events for topic, events in told.items() if events}


def to_rooms(said: Sequence[tuple[int, TeamTold]], most: int) -> list[tuple[int, TeamTold]]:
    """Of these what rooms hear: all of crowds, `most` openings and formings of each offer, and as
    many of the teams that end because their campaign was cancelled."""
    count: Counter[str] = Counter()
    heard = []
    for seq, event in said:
        if event.what in _OF_TEAMS or (event.what == "team.failed" and event.why == "cancelled"):
            count[event.offer_id] += 1
            if count[event.offer_id] > most:
                continue
        elif not event.what.startswith("crowd."):
            continue
        heard.append((seq, event))
    return heard
