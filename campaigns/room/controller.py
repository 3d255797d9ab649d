"""Rooms over HTTP: anybody may look and watch, the host and HQ run them."""

from typing import Annotated

from litestar import Controller, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from campaigns.auth import ANYBODY_OR_SIGNED_IN, HQ_OR_GUIDE, PUBLIC, route
from campaigns.given import (
    TheCatalog,
    TheDb,
    TheRooms,
    TheRoomTokens,
    TheSettings,
    Visitor,
    Who,
)
from campaigns.room import service
from campaigns.room.launch import launch
from campaigns.room.schemas import (
    LaunchIn,
    LaunchOut,
    PinIn,
    RoomIn,
    RoomList,
    RoomTokenOut,
    RoomView,
    ShelfIn,
)
from campaigns.room.token import give_token

_MISSING = {404: "No such room, or not yours to change (`room_not_found`)."}
_STATE = {409: "Not from its state (`room_state` says what is possible)."}
_INVALID = {422: "It does not fit (`room_invalid`, all fields in `errors`)."}
_RUNS = {**_MISSING, **_STATE}


class RoomController(Controller):
    """scheduled → live → paused → live → ended. For others than its host a room is read only."""

    path = "/v1/rooms"
    tags = ("rooms",)

    @get("/", **route(PUBLIC, "Rooms: live, paused, to come, and the last that ended"))
    async def list(
        self,
        db: TheDb,
        host_guide_id: Annotated[str | None, QueryParameter(max_length=64)] = None,
    ) -> RoomList:
        """At most 50 of each, and the last 10 that ended; of one host, if asked."""
        return await service.list_rooms(db, host_guide_id)

    @get("/{room_id:str}", **route(PUBLIC, "One room", {404: "No such room (`room_not_found`)."}))
    async def get(self, room_id: FromPath[str], db: TheDb) -> RoomView:
        """What it is now; its events come from the gateway."""
        return await service.get(db, room_id)

    @post("/", **route(HQ_OR_GUIDE, "Schedule a room", _INVALID))
    async def create(self, data: JSONBody[RoomIn], who: Who, rooms: TheRooms) -> RoomView:
        """A guide only for the store they work in, as its host; HQ names the host."""
        return await service.create(rooms, who, data)

    @post("/{room_id:str}/live", **route(HQ_OR_GUIDE, "Go live", _RUNS, status_code=200))
    async def live(self, room_id: FromPath[str], who: Who, rooms: TheRooms) -> RoomView:
        """From scheduled or paused; a live room stays as it is."""
        return await service.step(rooms, who, room_id, "live")

    @post("/{room_id:str}/pause", **route(HQ_OR_GUIDE, "Pause", _RUNS, status_code=200))
    async def pause(self, room_id: FromPath[str], who: Who, rooms: TheRooms) -> RoomView:
        """Viewers stay, comments wait; what is on sale goes on."""
        return await service.step(rooms, who, room_id, "pause")

    @post("/{room_id:str}/end", **route(HQ_OR_GUIDE, "End the room", _RUNS, status_code=200))
    async def end(self, room_id: FromPath[str], who: Who, rooms: TheRooms) -> RoomView:
        """For good. What is on sale goes on by its own window."""
        return await service.step(rooms, who, room_id, "end")

    @put("/{room_id:str}/shelf", **route(HQ_OR_GUIDE, "Set the shelf", {**_RUNS, **_INVALID}))
    async def shelf(
        self, room_id: FromPath[str], data: JSONBody[ShelfIn], who: Who, rooms: TheRooms
    ) -> RoomView:
        """Published offers, in order. What is pinned and not among them is unpinned."""
        return await service.put_shelf(rooms, who, room_id, data.offers)

    @put(
        "/{room_id:str}/pin",
        **route(
            HQ_OR_GUIDE,
            "Show an offer, or none",
            {**_RUNS, 422: "It is not on the shelf (`not_on_shelf`)."},
        ),
    )
    async def pin(
        self, room_id: FromPath[str], data: JSONBody[PinIn], who: Who, rooms: TheRooms
    ) -> RoomView:
        """The card above the comments, in every screen."""
        return await service.put_pin(rooms, who, room_id, data.offer_id)

    @post(
        "/{room_id:str}/launch",
        **route(
            HQ_OR_GUIDE,
            "Launch an approved flash with a countdown",
            {
                **_MISSING,
                409: "The room is not live (`room_state`), the offer has a schedule "
                "(`not_launchable`) or was launched elsewhere (`already_launched`), or the "
                "campaign's window is not now (`outside_campaign`).",
                422: "It is not on the shelf (`not_on_shelf`).",
            },
            status_code=200,
        ),
    )
    async def launch(
        self,
        room_id: FromPath[str],
        data: JSONBody[LaunchIn],
        who: Who,
        rooms: TheRooms,
        catalog: TheCatalog,
    ) -> LaunchOut:
        """Once: a repeat answers what the first launch decided, whatever countdown it asks for."""
        return await launch(rooms, catalog, who, room_id, data)

    @post(
        "/{room_id:str}/token",
        **route(
            PUBLIC,
            "A token to watch the room with",
            {
                401: "The sign-in that was sent is forged, has expired or is not known any more.",
                404: "No such room (`room_not_found`).",
            },
            status_code=200,
            security=ANYBODY_OR_SIGNED_IN,
        ),
    )
    async def token(
        self,
        room_id: FromPath[str],
        visitor: Visitor,
        rooms: TheRooms,
        room_tokens: TheRoomTokens,
        settings: TheSettings,
    ) -> RoomTokenOut:
        """Without a sign-in for the room's topic only; with one also for the own `me:` topic."""
        return await give_token(rooms, room_tokens, settings, visitor, room_id)
