"""Room tokens over HTTP's back: whom the gateway may show what.

Anybody may watch a room. Who is signed in also gets the own topic, and a name to comment under,
and may follow a team.
"""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from campaigns.pages import gateway_url
from campaigns.people.models import Member, Staff
from campaigns.room.models import Room
from campaigns.room.parts import missing_room, open_room_log
from campaigns.room.schemas import RoomTokenOut
from campaigns.room.service import Rooms
from campaigns.team.models import Team
from engine import keys
from engine.errors import Missing, NotSignedIn, Unavailable
from engine.ids import now_ms, shard_of_team
from engine.room_events import me_topic, room_topic, team_topic
from engine.room_tokens import RoomRole, RoomTokens
from engine.settings import Settings
from engine.tokens import Access


async def give_token(
    rooms: Rooms, tokens: RoomTokens, settings: Settings, who: Access | None, room_id: str
) -> RoomTokenOut:
    """A token for this room, five minutes at most; Missing `room_not_found`.

    NotSignedIn `bad_token` when the signed-in person is not known any more.
    """
    async with rooms.db.begin() as session:
        if await session.scalar(select(Room.id).where(Room.id == room_id)) is None:
            raise missing_room()
        role, nickname = await _viewer(session, who)
    await _have_log(rooms, room_id)
    return _signed(tokens, settings, who, role, nickname, room_topic(room_id))


async def give_team_token(
    rooms: Rooms, tokens: RoomTokens, settings: Settings, who: Access, team_id: str
) -> RoomTokenOut:
    """A token for a team's topic and the own one; Missing `team_not_found`.

    A team that has just been opened may not be settled yet: then the hot store knows it.
    """
    async with rooms.db.begin() as session:
        is_known = await session.scalar(select(Team.id).where(Team.id == team_id)) is not None
        role, nickname = await _viewer(session, who)
    if not is_known and not await _is_hot(rooms, team_id):
        raise Missing("team_not_found", "There is no such team.", "Its link may be cut short.")
    return _signed(tokens, settings, who, role, nickname, team_topic(team_id))


async def _is_hot(rooms: Rooms, team_id: str) -> bool:
    """Its id names its shard, unless it is a crowd's, which is settled before anybody knows it."""
    shard = shard_of_team(team_id)
    if shard is None:
        return False
    try:
        return bool(await rooms.inventory.wire.call("EXISTS", keys.groups(shard) + team_id))
    except Unavailable:
        return False


def _signed(
    tokens: RoomTokens,
    settings: Settings,
    who: Access | None,
    role: RoomRole,
    nickname: str,
    topic: str,
) -> RoomTokenOut:
    topics = [topic]
    subject = "" if who is None or role == "viewer" else who.subject
    if subject:
        topics.append(me_topic(subject))
    expires_at_ms = now_ms() + settings.room_token_ttl_ms
    if who is not None:
        expires_at_ms = min(expires_at_ms, who.expires_at_ms)  # never longer than the sign-in
    token = tokens.sign(
        subject, role, nickname=nickname, topics=topics, expires_at_ms=expires_at_ms
    )
    return RoomTokenOut(
        token=token,
        expires_at_ms=expires_at_ms,
        gateway_url=gateway_url(settings),
        topics=tuple(topics),
    )


async def _viewer(session: AsyncSession, who: Access | None) -> tuple[RoomRole, str]:
    """As what, and under which name, who asks is known."""
    if who is None or who.role == "load":
        return "viewer", ""
    if who.role == "customer":
        name = await session.scalar(select(Member.nickname).where(Member.id == who.subject))
    else:
        name = await session.scalar(select(Staff.name).where(Staff.id == who.subject))
    if name is None:
        raise NotSignedIn("bad_token", "This sign-in is not valid. Please sign in again.")
    return who.role, name


async def _have_log(rooms: Rooms, room_id: str) -> None:
    """The room's log, begun now when the hot store lost it; the gateway only reads it."""
    try:
        if not await rooms.inventory.wire.call("EXISTS", keys.log_meta(room_topic(room_id))):
            await open_room_log(rooms.db, rooms.inventory, rooms.logs, room_id)
    except Unavailable:
        return  # the token is good all the same: the gateway waits for the store, too
