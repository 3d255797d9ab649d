"""Topic events: what the log of a room, a team or a member says, one frozen Struct a kind.

An event names the part of its topic's state that it replaces (`part_of`; "" = none), so a topic's
state is its parts and its last comments. Nobody's ids, phone numbers or other personal data go
into a room's events; a nickname stands with a comment only. Prices are in fen.
"""

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from engine.offers import Audience

RoomStateWord = Literal["scheduled", "live", "paused", "ended"]
OfferStateWord = Literal["scheduled", "open", "closed", "frozen"]
ClaimStateWord = Literal["held", "paying", "paid", "released", "returned"]
TeamStateWord = Literal["opening", "forming", "reached", "closing", "formed", "failed"]
TeamKindWord = Literal["team", "crowd"]


class _Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """`at_ms`: when it happened, by the clock of whoever decided it."""

    at_ms: int


class Host(msgspec.Struct, frozen=True):
    """The guide who runs the room."""

    guide_id: str
    name: str


class RoomStore(msgspec.Struct, frozen=True):
    """Where the room is held."""

    store_id: str
    name: str


class Price(msgspec.Struct, frozen=True):
    """Unit price in fen from `from_ms` on."""

    price_id: str
    price_fen: int
    from_ms: int


class Step(msgspec.Struct, frozen=True):
    """From `seats` paid seats on, a crowd's unit costs `price_fen`."""

    seats: int
    price_id: str
    price_fen: int


class TeamCard(msgspec.Struct, frozen=True, kw_only=True):
    """What a group buy's card has besides: `size` seats (0: a crowd) of `seat_qty` units (0: as
    ordered), for `term_ms`; the captain's own price; a crowd's ladder and its `charging`."""

    size: int
    seat_qty: int
    term_ms: int
    newcomers_only: bool
    captain_price: Price | None
    steps: tuple[Step, ...]
    charging: str


class RoomNow(_Said, frozen=True, kw_only=True, tag="room"):
    """Part `room`."""

    room_id: str
    title: str
    state: RoomStateWord
    host: Host
    store: RoomStore
    starts_at_ms: int


class Shelf(_Said, frozen=True, kw_only=True, tag="shelf"):
    """Part `shelf`: the offers in order."""

    offers: tuple[str, ...]


class OfferNow(_Said, frozen=True, kw_only=True, tag="offer"):
    """Part `offer:<id>`. `late`: where a late payment lands, `refund` or `retake`, of a seat
    `refund`, `seat`, `other` or `new`. `team`: only of a group buy."""

    offer_id: str
    name: str
    sku_id: str
    offer_kind: str
    state: OfferStateWord
    prices: tuple[Price, ...]
    shelf_price_fen: int
    mall_price_fen: int
    starts_at_ms: int
    ends_at_ms: int
    per_order_max: int
    per_buyer_max: int
    late: str
    audience: Audience | UnsetType = UNSET  # only of an offer that is not everybody's
    team: TeamCard | UnsetType = UNSET


class Stock(_Said, frozen=True, kw_only=True, tag="stock"):
    """Part `stock:<id>`: available + held + sold == total."""

    offer_id: str
    available: int
    held: int
    sold: int
    total: int


class CrowdNow(msgspec.Struct, frozen=True, kw_only=True):
    """An offer's crowd: `paid` seats, `pending` ones held or being paid, the `step` latched."""

    team_id: str
    state: TeamStateWord
    paid: int
    pending: int
    step: int
    deadline_ms: int


class OfferTeams(_Said, frozen=True, kw_only=True, tag="teams"):
    """Part `teams:<id>` of a room: teams of the offer that can be joined now, or its crowd."""

    offer_id: str
    open_teams: int
    crowd: CrowdNow | None = None


class TeamNow(_Said, frozen=True, kw_only=True, tag="team"):
    """Part `team` of a team's own topic; `size` 0 of a crowd, `pending` seats are not yet paid."""

    team_id: str
    offer_id: str
    team_kind: TeamKindWord
    state: TeamStateWord
    size: int
    paid: int
    pending: int
    subsidy: int
    step: int
    deadline_ms: int


class TeamTold(_Said, frozen=True, kw_only=True, tag="team_event"):
    """Replaces nothing: `what` has just happened, `team.opened`, `team.seat_filled`,
    `team.seat_left`, `team.formed`, `team.failed`, `crowd.reached`, `crowd.formed` …

    `nickname`: of who opened or joined; `paid` seats after it; `step` of a crowd's ladder; `why`
    it was decided: `full`, `reached`, `deadline`, `empty` or `cancelled`.
    """

    team_id: str
    offer_id: str
    what: str
    nickname: str = ""
    paid: int = 0
    step: int = 0
    why: str = ""


class Pin(_Said, frozen=True, kw_only=True, tag="pin"):
    """Part `pin`: what the host shows now."""

    offer_id: str | None


class Comment(_Said, frozen=True, kw_only=True, tag="comment"):
    """Replaces nothing: it goes to the last comments."""

    id: str
    nickname: str
    text: str


class Recovered(_Said, frozen=True, kw_only=True, tag="recovered"):
    """Replaces nothing: this shard was rebuilt, pages read their own claims anew."""

    shard: int


class MyClaim(_Said, frozen=True, kw_only=True, tag="claim"):
    """Part `claim:<claim_id>`. `why` says why it was released, else ""."""

    claim_id: str
    offer_id: str
    state: ClaimStateWord
    units: int
    why: str = ""
    price_fen: int | UnsetType = UNSET
    expires_at_ms: int | UnsetType = UNSET
    pay_expires_at_ms: int | UnsetType = UNSET


class MyPayment(_Said, frozen=True, kw_only=True, tag="payment"):
    """Part `payment:<claim_id>`: a payment that does not stand, and is refunded."""

    claim_id: str
    offer_id: str
    what: Literal["late", "refused"]
    why: str


class MyWait(_Said, frozen=True, kw_only=True, tag="wait"):
    """Part `wait:<offer_id>`: the place in an offer's waiting list, or that it is over.

    `why` says why it was `skipped`: price_changed, limit_reached or closed. Who was served hears
    of a claim of that offer instead, later than this.
    """

    offer_id: str
    state: Literal["waiting", "left", "skipped"]
    place: int | UnsetType = UNSET
    why: str = ""


AnyTopicEvent = (
    RoomNow
    | Shelf
    | OfferNow
    | Stock
    | Pin
    | Comment
    | Recovered
    | OfferTeams
    | TeamNow
    | TeamTold
    | MyClaim
    | MyPayment
    | MyWait
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyTopicEvent] = msgspec.json.Decoder(AnyTopicEvent)


class TopicEvent(NamedTuple):
    """What goes into a log: its cause, the part it replaces, its JSON.

    `seq`: of the shard event that caused it (0: none); what lies below the log's mark is left
    out. `was`: append only while the part's text is still this ("": no text yet; None: always).
    """

    origin: str
    part: str
    event: str
    seq: int = 0
    was: str | None = None


# A mobile number, also full-width, a space, dash or dot between its digits; perhaps +86 before.
# Digits before it are no part of it: `1234 138-0013-8000` holds one.
_MOBILE = re.compile(
    r"(?<![0-9])((?:\+|00)?86[ .-]?)?([1１][ .-]?[3-9３-９](?:[ .-]?[0-9０-９]){9})(?![0-9])"
)
_OPEN_ID = re.compile(r"(?<![0-9A-Za-z_-])o[A-Za-z0-9_-]{27}(?![0-9A-Za-z_-])")


def _shown(found: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", unicodedata.normalize("NFKC", found[2]))
    return f"{found[1] or ''}{digits[:3]}****{digits[-4:]}"


def readable(text: str) -> str:
    """The text without what nobody sees: control characters, and marks that turn the direction
    of what follows or hide between the digits of a number. Joined emoji stay joined."""
    seen: list[str] = []
    for one in text:
        joins = one == "\u200d" and bool(seen) and not seen[-1].isdigit()
        if joins or one.isspace() or not unicodedata.category(one).startswith("C"):
            seen.append(one)
    return "".join(seen)


def without_personal(text: str) -> str:
    """The readable text with each mobile number as `138****1234` and each open id as `o****`.

    What people write in a room shows nobody's number, their own neither.
    """
    return _OPEN_ID.sub("o****", _MOBILE.sub(_shown, readable(text)))


def encode(event: AnyTopicEvent) -> str:
    """The event's JSON as it goes over the wire."""
    return _encoder.encode(event).decode()


def decode(text: str | bytes) -> AnyTopicEvent:
    """The event of a JSON text; msgspec.ValidationError when it is none."""
    return _decoder.decode(text)


def to_json(event: AnyTopicEvent) -> dict[str, Any]:
    """The event as a JSON object, as `room_commands.event` keeps it."""
    built: dict[str, Any] = msgspec.json.decode(_encoder.encode(event))
    return built


def part_of(event: AnyTopicEvent) -> str:
    """Which part of its topic's state this event replaces; "" for none."""
    match event:
        case RoomNow():
            return "room"
        case Shelf():
            return "shelf"
        case Pin():
            return "pin"
        case OfferNow():
            return f"offer:{event.offer_id}"
        case Stock():
            return f"stock:{event.offer_id}"
        case OfferTeams():
            return f"teams:{event.offer_id}"
        case TeamNow():
            return "team"
        case MyClaim():
            return f"claim:{event.claim_id}"
        case MyPayment():
            return f"payment:{event.claim_id}"
        case MyWait():
            return f"wait:{event.offer_id}"
        case _:
            return ""


def topic_event(
    origin: str, event: AnyTopicEvent, *, seq: int = 0, was: str | None = None
) -> TopicEvent:
    """The event as it goes into a log."""
    return TopicEvent(origin, part_of(event), encode(event), seq, was)


def room_topic(room_id: str) -> str:
    """The topic of a room."""
    return f"room:{room_id}"


def team_topic(team_id: str) -> str:
    """The topic of a team or crowd."""
    return f"team:{team_id}"


def me_topic(member_id: str) -> str:
    """The topic of one member."""
    return f"me:{member_id}"


def state_hash(parts: Mapping[str, str], comments: Sequence[str]) -> str:
    """sha256 of a topic's state: sorted (part, canonical JSON), and comment ids oldest first.

    Two viewers with the same hash see the same screen.
    """
    told = [
        [part, msgspec.json.encode(msgspec.json.decode(parts[part]), order="sorted").decode()]
        for part in sorted(parts)
    ]
    ids = [msgspec.json.decode(text)["id"] for text in comments]
    return hashlib.sha256(msgspec.json.encode([told, ids])).hexdigest()
