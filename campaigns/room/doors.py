"""The demo's doors: where a visitor of the demo signs in, in development mode and only there.

The demo writes its sign-ins into `doors.json` of its data folder; a production server has no
such file, and would not show it.
"""

from pathlib import Path

import msgspec
from litestar import Controller, get
from sqlalchemy import case, select

from campaigns.auth import PUBLIC, route
from campaigns.given import TheDb, TheSettings
from campaigns.health import missing_route
from campaigns.room.models import Room
from engine.settings import Settings

FILE = "doors.json"
ROOMS_MAX = 10


class Login(msgspec.Struct, frozen=True):
    """A sign-in with a password."""

    login: str
    password: str


class GuideLogin(msgspec.Struct, frozen=True):
    """A guide's sign-in."""

    login: str
    password: str
    name: str


class Customer(msgspec.Struct, frozen=True):
    """A customer of the sample chain, who signs in by the code that development mode shows."""

    phone: str
    nickname: str


class Keys(msgspec.Struct, frozen=True):
    """What the demo writes down."""

    hq: Login
    guides: tuple[GuideLogin, ...]
    customers: tuple[Customer, ...]


class DoorsOut(msgspec.Struct, frozen=True, kw_only=True):
    """The rooms to enter (a live one first) and who may sign in."""

    rooms: tuple[str, ...]
    hq: Login
    guides: tuple[GuideLogin, ...]
    customers: tuple[Customer, ...]


class DoorsController(Controller):
    """Only where the demo runs."""

    tags = ("demo",)

    @get(
        "/v1/demo/doors",
        **route(PUBLIC, "The demo's sign-ins", {404: "Not a demo (`route_not_found`)."}),
    )
    async def doors(self, db: TheDb, settings: TheSettings) -> DoorsOut:
        """Invented people of the sample chain; never in production."""
        keys = read_keys(settings)
        if keys is None:
            raise missing_route()
        first = case((Room.state == "live", 0), (Room.state == "paused", 1), else_=2)
        rooms = (
            select(Room.id)
            .where(Room.state != "ended")
            .order_by(first, Room.starts_at_ms.desc())
            .limit(ROOMS_MAX)
        )
        async with db.begin() as session:
            found = tuple(await session.scalars(rooms))
        return DoorsOut(rooms=found, hq=keys.hq, guides=keys.guides, customers=keys.customers)


def read_keys(settings: Settings) -> Keys | None:
    """The demo's sign-ins; None in production, without a demo, or when they cannot be read."""
    if settings.mode != "development":
        return None
    try:
        return msgspec.json.decode((Path(settings.data_dir) / FILE).read_bytes(), type=Keys)
    except (OSError, msgspec.MsgspecError):
        return None
