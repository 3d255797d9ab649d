"""HQ's board on the wire. Times in ms of the server's clock, money in fen."""

import msgspec


class Tiles(msgspec.Struct, frozen=True, kw_only=True):
    """The figures since `since_ms`: money taken, orders written, orders paid, money given back.

    `viewers` counts now, in all rooms; null while the hot store cannot be asked.
    """

    gmv_fen: int
    orders: int
    paid: int
    refunds_fen: int
    viewers: int | None


class Second(msgspec.Struct, frozen=True):
    """What happened in the second that begins at `at_ms`: claims that became orders, and pays."""

    at_ms: int
    claims: int
    paid: int


class BoardOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer's stock: total = available + held + sold. `live`: the hot store's own figures."""

    offer_id: str
    name: str
    available: int
    held: int
    sold: int
    total: int
    live: bool


class Mark(msgspec.Struct, frozen=True):
    """Something on the time axis; `kind`: flash_start, live, pause, end or pin.

    `what` names it: the offer, or the room.
    """

    at_ms: int
    kind: str
    what: str


class RoomWatched(msgspec.Struct, frozen=True):
    """How many watch a live or paused room now."""

    room_id: str
    viewers: int


class LawLight(msgspec.Struct, frozen=True, kw_only=True):
    """A law's last check: whether it holds, on how many facts, how long ago."""

    law: str
    ok: bool
    checked: int
    age_ms: int
    detail: str


class BoardOut(msgspec.Struct, frozen=True, kw_only=True):
    """The evening as HQ sees it; `not_checked` are laws whose source a server does not have.

    `rooms` is empty while the hot store cannot be asked.
    """

    at_ms: int
    zone: str
    since_ms: int
    tiles: Tiles
    series: tuple[Second, ...]
    offers: tuple[BoardOffer, ...]
    marks: tuple[Mark, ...]
    rooms: tuple[RoomWatched, ...]
    laws: tuple[LawLight, ...]
    not_checked: tuple[str, ...]
