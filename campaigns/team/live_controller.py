"""A team as it changes: what the gateway asks for before it tells."""

from litestar import Controller, post
from litestar.params import FromPath

from campaigns.auth import PEOPLE, route
from campaigns.given import TheRooms, TheRoomTokens, TheSettings, Who
from campaigns.room.schemas import RoomTokenOut
from campaigns.room.token import give_team_token


class TeamLiveController(Controller):
    """The events themselves come from the gateway."""

    tags = ("teams",)

    @post(
        "/v1/teams/{team_id:str}/token",
        **route(
            PEOPLE,
            "A token to follow a team live",
            {404: "No such team (`team_not_found`)."},
            status_code=200,
        ),
    )
    async def token(
        self,
        team_id: FromPath[str],
        who: Who,
        rooms: TheRooms,
        room_tokens: TheRoomTokens,
        settings: TheSettings,
    ) -> RoomTokenOut:
        """For the topics `team:<team_id>` and the own `me:`, five minutes at most."""
        return await give_team_token(rooms, room_tokens, settings, who, team_id)
