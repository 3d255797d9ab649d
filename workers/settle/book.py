"""The book of one batch: the rows that its events touch, as they are while folding.

Loaded once, changed in memory by `fold`, written back in a few statements. Nothing here does
I/O, so what an event means can be read and tested without a database.
"""

from typing import Any

import msgspec

from engine.ledger.entries import Entry


class OrderNow(msgspec.Struct, kw_only=True):
    """An order while folding; `fresh` ones are inserted, the others updated."""

    id: str
    claim_id: str
    offer_id: str
    campaign_id: str
    version: int
    buyer_id: str
    qty: int
    units: int
    price_id: str
    unit_price_fen: int
    amount_fen: int
    state: str
    claim_state: str
    claimed_at_ms: int
    expires_at_ms: int
    idem_key: str
    body_hash: str
    touch: str
    credit: dict[str, Any]
    reason: str = ""
    pay_expires_at_ms: int | None = None
    attempt_id: str | None = None
    payment_id: str | None = None
    paid_at_ms: int | None = None
    paid_fen: int = 0
    refunded_fen: int = 0  # read only: refunds.done writes it
    release_due: bool = False
    team_id: str | None = None
    seat: str = ""
    consent: bool = False
    newcomer: bool = False
    split_fen: int | None = None
    final_price_fen: int | None = None
    fresh: bool = False


class OfferNow(msgspec.Struct):
    """An offer's guarded counters while folding, and what of it never changes.

    `promised` is the ladder (seats, price_id, fen) of a crowd with the upgrade guarantee.
    """

    id: str
    state: str
    total: int
    held: int
    sold: int
    campaign_id: str
    sku_id: str
    kind: str
    promised: list[list[Any]] | None = None


class TeamNow(msgspec.Struct, kw_only=True):
    """A team while folding; `fresh` ones are inserted, the others updated."""

    id: str
    offer_id: str
    campaign_id: str
    version: int
    kind: str
    opener_id: str
    captain_id: str
    size: int
    state: str
    opened_at_ms: int
    deadline_ms: int
    why: str = ""
    paid: int = 0
    subsidy: int = 0
    step: int = 0
    decided_at_ms: int | None = None
    booked_at_ms: int | None = None
    reached_at_ms: int | None = None
    guarantee_due: bool = False
    fresh: bool = False

    @property
    def is_decided(self) -> bool:
        """Formed or failed."""
        return self.decided_at_ms is not None


class WaitNow(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a waiting list."""

    offer_id: str
    buyer_id: str
    qty: int
    price_id: str
    idem_key: str
    body_hash: str
    touch: str
    place: int
    joined_at_ms: int


class TeamCommandNow(msgspec.Struct):
    """A command on a team while folding."""

    id: str
    team_id: str
    amount_fen: int
    applied: bool


class Promise(msgspec.Struct, frozen=True):
    """A crowd formed at `final_fen` a unit: who paid more by `formed_at_ms` gets the difference."""

    campaign_id: str
    sku_id: str
    formed_at_ms: int
    final_fen: int


class Intents(msgspec.Struct, frozen=True):
    """What a payment's refund intents come to, done or not."""

    fen: int = 0
    units: int = 0


class FactNow(msgspec.Struct):
    """A payment fact while folding."""

    id: str
    amount_fen: int
    outcome: str | None
    order_id: str | None
    claim_id: str | None


class RefundNow(msgspec.Struct):
    """A refund while folding."""

    id: str
    units: int
    applied: bool


class NewRefund(msgspec.Struct, frozen=True):
    """A refund intent that an event asks for; `units` go back on sale once it is done."""

    payment_id: str
    order_id: str | None
    claim_id: str
    cause: str
    amount_fen: int
    units: int = 0
    shard: int | None = None  # of its claim; None: the batch's


class GuardTrip(msgspec.Struct, frozen=True):
    """The SQL guard said no to a claim: its offer is frozen and an incident is written."""

    offer_id: str
    claim_id: str
    held: int
    sold: int
    total: int


class Poison(Exception):
    """This event cannot follow from the rows that are there; it goes to the dead letters."""


class Book(msgspec.Struct, kw_only=True):
    """Everything one batch touches. `seq` of the event goes with each applied id."""

    shard: int
    epoch: int
    orders: dict[str, OrderNow] = {}  # by claim_id; with all paid members of deciding teams
    teams: dict[str, TeamNow] = {}
    offers: dict[str, OfferNow] = {}
    facts: dict[str, FactNow] = {}
    refunds: dict[str, RefundNow] = {}
    commands: dict[str, bool] = {}  # known offer commands, and whether they were applied
    team_commands: dict[str, TeamCommandNow] = {}
    intents: dict[str, Intents] = {}  # by payment of those members; missing: none
    promises: dict[tuple[str, str], Promise] = {}  # by campaign and SKU
    attempts: set[str] = set()  # known payment attempts
    # Buyers whose newcomers' orders are judged → order_id → paid_at_ms of all that they have kept.
    kept: dict[str, dict[str, int]] = {}
    credits: dict[str, dict[str, Any]] = {}  # claim_id → snapshot for the order

    touched_orders: set[str] = set()
    touched_offers: set[str] = set()
    touched_teams: set[str] = set()
    waits: dict[tuple[str, str], WaitNow | None] = {}  # by (offer, buyer); None: not any more
    touched_waits: set[tuple[str, str]] = set()
    applied_commands: dict[str, int] = {}
    applied_team_commands: dict[str, int] = {}
    applied_attempts: dict[str, int] = {}
    paid_attempts: dict[str, int] = {}
    released_attempts: dict[str, int] = {}
    applied_facts: dict[str, tuple[str, int]] = {}  # id → outcome, seq
    applied_refunds: dict[str, int] = {}
    new_refunds: list[NewRefund] = []
    postings: list[Entry] = []
    guard_trips: list[GuardTrip] = []
