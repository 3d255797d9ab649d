"""Stocking, readiness and pick-ups on the wire. Units are pieces, times ms."""

from typing import Annotated

import msgspec

from campaigns.campaign.schemas import StoreId

OfferId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class StockingLine(msgspec.Struct, frozen=True, kw_only=True):
    """What a store needs of an offer, for orders that stand: those of formed teams, or paid ones.

    `store_id` is empty for orders of customers whom no guide's store and no choice of theirs
    gives one. `to_stock` units are still to come, `ready` wait for their customers, `fulfilled`
    were handed over; refunded ones are in none. `expected_from_ms`: when the first of those to
    come are promised.
    """

    store_id: str
    store_name: str
    offer_id: str
    kind: str
    campaign_name: str
    sku_id: str
    sku_name: str
    ready_after_days: int
    orders: int
    to_stock: int
    ready: int
    fulfilled: int
    expected_from_ms: int | None


class StockingPage(msgspec.Struct, frozen=True):
    """One page by store and offer; `next` goes into `after` for the next one."""

    lines: tuple[StockingLine, ...]
    next: str | None


class ReadyIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The goods of this offer are in this store."""

    offer_id: OfferId
    store_id: StoreId


class ReadyOut(msgspec.Struct, frozen=True, kw_only=True):
    """`orders` and `units` that became ready now; `undecided` orders wait for their team."""

    offer_id: str
    store_id: str
    orders: int
    units: int
    undecided: int


class PickUpStoreIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the customer wants to fetch the goods."""

    store_id: StoreId


class PickUpStore(msgspec.Struct, frozen=True):
    """A store as its customers know it."""

    store_id: str
    name: str
    city: str
    address: str


class PickUpView(msgspec.Struct, frozen=True, kw_only=True):
    """How an order reaches its customer.

    `state` is the order's; `stands` is false while its team is undecided. `code` is for the
    customer alone, once the goods are there: it is good until `code_expires_at_ms`, and this
    view always has a fresh one. `says` is all that in a sentence.
    """

    order_id: str
    state: str
    stands: bool
    store: PickUpStore | None
    units: int
    ready_after_days: int
    expected_from_ms: int | None
    ready_at_ms: int | None
    fulfilled_at_ms: int | None
    code: str | None
    code_expires_at_ms: int | None
    says: str


class PickUpIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A code as scanned or read aloud; spaces, dashes and small letters do not matter."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class PickUpOut(msgspec.Struct, frozen=True, kw_only=True):
    """Hand over so many units of this; the order is fulfilled."""

    order_id: str
    offer_id: str
    sku_id: str
    sku_name: str
    units: int
    fulfilled_at_ms: int
