"""Rooms on the wire."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from campaigns.campaign.schemas import Ms
from engine.room_events import Host, RoomStore

SHELF_MAX = 100  # no more fit into a setting either
COUNTDOWN_MAX_MS = 600_000

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Title = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
Offers = Annotated[Sequence[Id], msgspec.Meta(max_length=SHELF_MAX)]


class _In(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Strict: an unknown field is a misunderstanding."""


class RoomIn(_In, frozen=True, kw_only=True):
    """A room to schedule. A guide hosts it in the own store; HQ names the host and the store."""

    title: Title
    store_id: Id | None = None  # None: the store that the guide works in
    starts_at_ms: Ms
    host_guide_id: Id | None = None
    offers: Offers = ()


class ShelfIn(_In, frozen=True, kw_only=True):
    """The offers of the room, in order; it replaces the shelf."""

    offers: Offers


class PinIn(_In, frozen=True, kw_only=True):
    """The offer that is shown now, or null for none."""

    offer_id: Id | None


class LaunchIn(_In, frozen=True, kw_only=True):
    """An approved flash of the shelf, and how long the countdown runs before it opens."""

    offer_id: Id
    countdown_ms: Annotated[int, msgspec.Meta(ge=0, le=COUNTDOWN_MAX_MS)]


class RoomView(msgspec.Struct, frozen=True, kw_only=True):
    """A room as everybody sees it. `state`: scheduled, live, paused or ended."""

    room_id: str
    title: str
    state: str
    host: Host
    store: RoomStore
    starts_at_ms: int
    went_live_at_ms: int | None
    ended_at_ms: int | None
    shelf: tuple[str, ...]
    pin: str | None
    server_time_ms: int


class RoomList(msgspec.Struct, frozen=True):
    """Live rooms, then paused ones, then those to come (soonest first), then the last ended."""

    rooms: tuple[RoomView, ...]
    server_time_ms: int


class LaunchOut(msgspec.Struct, frozen=True, kw_only=True):
    """A launch that is committed: from when to when the offer is open.

    `in_effect`: buyers can claim it from its start; else the worker repeats it in a moment.
    """

    command_id: str
    offer_id: str
    starts_at_ms: int
    ends_at_ms: int
    in_effect: bool


class RoomTokenOut(msgspec.Struct, frozen=True, kw_only=True):
    """A token for the gateway's first frame, what it may read, and where the gateway is."""

    token: str
    expires_at_ms: int
    gateway_url: str
    topics: tuple[str, ...]
