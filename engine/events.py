"""Events: facts in a shard's stream, one frozen Struct a kind; the field names are the scripts'.

`decode` turns a stream entry into its Struct and raises msgspec.ValidationError for what no
script of ours can have written: such an event is poison and goes to the dead letters.
"""

from collections.abc import Mapping
from typing import Annotated, get_args

import msgspec

# Lua counts exactly up to here, and PostgreSQL's bigint holds it.
Whole = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Event(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True
):
    """`seq` counts without a gap per shard and epoch; `at_ms` is the hot store's clock."""

    seq: Whole
    at_ms: Whole


class OfferOpened(Event, frozen=True, kw_only=True, tag="offer.opened"):
    offer_id: str
    command_id: str
    total: Whole


class OfferRestocked(Event, frozen=True, kw_only=True, tag="offer.restocked"):
    offer_id: str
    command_id: str
    units: Whole
    total: Whole


class OfferClosed(Event, frozen=True, kw_only=True, tag="offer.closed"):
    """`state`: closed, frozen or cancelled, or finishing (cancelled, its open teams go on)."""

    offer_id: str
    command_id: str
    state: str


class ClaimHeld(Event, frozen=True, kw_only=True, tag="claim.held"):
    """What was known at the decision; `touch` says by which room or share link it came.

    A seat names its `team_id`; `consent` = 1: may be moved to another team of the offer;
    `newcomer` = 1: it uses the right of a new customer.
    """

    claim_id: str
    offer_id: str
    campaign_id: str
    version: Whole
    buyer_id: str
    qty: Whole
    price_id: str
    price_fen: Whole
    expires_at_ms: Whole
    key: str
    body_hash: str
    touch: str
    team_id: str = ""
    consent: str = ""
    newcomer: str = ""


class ClaimPaying(Event, frozen=True, kw_only=True, tag="claim.paying"):
    claim_id: str
    offer_id: str
    attempt_id: str
    pay_expires_at_ms: Whole


class ClaimPaid(Event, frozen=True, kw_only=True, tag="claim.paid"):
    """`retaken` = 1: the claim had been released and its units were taken again.

    `landed` says where a late payment's seat is (`seat`, `other`, `new`), in `team_id`.
    """

    claim_id: str
    offer_id: str
    fact_id: str
    attempt_id: str
    units: Whole
    retaken: Whole
    team_id: str = ""
    landed: str = ""


class ClaimReleased(Event, frozen=True, kw_only=True, tag="claim.released"):
    """`why`: lapsed, closed, void, rejected, cancelled (its buyer let it go),
    campaign_cancelled (a seat), not_new, wrong_amount, wrong_currency, or late (its seat had left
    its team, and its payment found no landing)."""

    claim_id: str
    offer_id: str
    why: str
    attempt_id: str
    units: Whole


class ClaimReturned(Event, frozen=True, kw_only=True, tag="claim.returned"):
    claim_id: str
    offer_id: str
    refund_id: str
    units: Whole
    left: Whole


class PaymentLate(Event, frozen=True, kw_only=True, tag="payment.late"):
    """`why`: refund (the declared landing) or what stood against a retake."""

    claim_id: str
    offer_id: str
    fact_id: str
    attempt_id: str
    why: str


class PaymentRefused(Event, frozen=True, kw_only=True, tag="payment.refused"):
    """`why`: second_payment, wrong_amount or wrong_currency."""

    claim_id: str
    offer_id: str
    fact_id: str
    attempt_id: str
    why: str


class WaitJoined(Event, frozen=True, kw_only=True, tag="wait.joined"):
    """An entry carries all that its claim.held will say, should units come free for it."""

    offer_id: str
    buyer_id: str
    qty: Whole
    price_id: str
    key: str
    body_hash: str
    touch: str
    place: Whole


class WaitLeft(Event, frozen=True, kw_only=True, tag="wait.left"):
    offer_id: str
    buyer_id: str


class WaitSkipped(Event, frozen=True, kw_only=True, tag="wait.skipped"):
    """`why`: price_changed, limit_reached or closed."""

    offer_id: str
    buyer_id: str
    why: str


class TeamOpened(Event, frozen=True, kw_only=True, tag="team.opened"):
    """`team_kind`: team (its opener is the captain) or crowd (nobody's; `size` 0)."""

    team_id: str
    offer_id: str
    campaign_id: str
    version: Whole
    team_kind: str
    opener_id: str
    size: Whole
    deadline_ms: Whole


class SeatEvent(Event, frozen=True, kw_only=True):
    """`paid` are the paid seats after it."""

    team_id: str
    offer_id: str
    claim_id: str
    paid: Whole


class SeatFilled(SeatEvent, frozen=True, kw_only=True, tag="team.seat_filled"):
    pass


class CrowdProgress(SeatEvent, frozen=True, kw_only=True, tag="crowd.progress"):
    pass


class SeatLeft(SeatEvent, frozen=True, kw_only=True, tag="team.seat_left"):
    """`why`: as the release, refunded, unpaid (at the end of closing) or moved.

    `captain_id` leads from now on.
    """

    why: str
    captain_id: str


class CrowdSeatLeft(SeatEvent, frozen=True, kw_only=True, tag="crowd.seat_left"):
    why: str
    captain_id: str


class SeatMoved(Event, frozen=True, kw_only=True, tag="team.seat_moved"):
    """A rescue; `team_id` is the new team."""

    team_id: str
    from_team_id: str
    offer_id: str
    claim_id: str


class TeamSubsidised(Event, frozen=True, kw_only=True, tag="team.subsidised"):
    """`honour` = 1: a cancelled campaign keeps its word, outside of the offer's budget."""

    team_id: str
    offer_id: str
    command_id: str
    seats: Whole
    honour: str = ""


class CrowdReached(Event, frozen=True, kw_only=True, tag="crowd.reached"):
    """The ladder's `step` (from 1) is latched, with its price."""

    team_id: str
    offer_id: str
    step: Whole
    price_id: str
    price_fen: Whole
    paid: Whole


class Closing(Event, frozen=True, kw_only=True):
    """The deadline: no new seats; `paying` ones are still being settled.

    A cancelled offer's team closes earlier: then `deadline_ms` is its deadline from now on.
    """

    team_id: str
    offer_id: str
    paying: Whole
    paid: Whole
    deadline_ms: Whole = 0


class TeamClosing(Closing, frozen=True, kw_only=True, tag="team.closing"):
    pass


class CrowdClosing(Closing, frozen=True, kw_only=True, tag="crowd.closing"):
    pass


class Decided(Event, frozen=True, kw_only=True):
    """`why`: full, reached, deadline, empty or cancelled. No seat event follows."""

    team_id: str
    offer_id: str
    why: str
    paid: Whole
    subsidy: Whole
    step: Whole


class TeamFormed(Decided, frozen=True, kw_only=True, tag="team.formed"):
    pass


class TeamFailed(Decided, frozen=True, kw_only=True, tag="team.failed"):
    pass


class CrowdFormed(Decided, frozen=True, kw_only=True, tag="crowd.formed"):
    pass


class CrowdFailed(Decided, frozen=True, kw_only=True, tag="crowd.failed"):
    pass


TeamEvent = (
    TeamOpened
    | SeatFilled
    | SeatLeft
    | SeatMoved
    | TeamSubsidised
    | TeamClosing
    | TeamFormed
    | TeamFailed
    | CrowdProgress
    | CrowdSeatLeft
    | CrowdReached
    | CrowdClosing
    | CrowdFormed
    | CrowdFailed
)
WaitEvent = WaitJoined | WaitLeft | WaitSkipped
AnyEvent = (
    OfferOpened
    | OfferRestocked
    | OfferClosed
    | ClaimHeld
    | ClaimPaying
    | ClaimPaid
    | ClaimReleased
    | ClaimReturned
    | PaymentLate
    | PaymentRefused
    | WaitEvent
    | TeamEvent
)


_KINDS: dict[str, type[AnyEvent]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyEvent)
}


def decode(seq: int, fields: Mapping[str, str]) -> AnyEvent:
    """The event of one stream entry; msgspec.ValidationError when it cannot be one."""
    # Measured: 1.3 µs into the kind's own Struct, 13 µs into the union of all of them.
    kind = _KINDS.get(fields.get("kind", ""))
    if kind is None:
        raise msgspec.ValidationError(f"Invalid value {fields.get('kind')!r} - at `$.kind`")
    return msgspec.convert({**fields, "seq": seq}, kind, strict=False)
