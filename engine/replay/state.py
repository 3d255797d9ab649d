"""What a shard is made of: offers, claims, stored answers and teams, as plain values.

They are the hot store's hashes, field by field; `engine.replay.shard` says how events change them.
"""

from dataclasses import dataclass

from engine.offers import OfferConfig

# A team takes seats in these states, and is decided in none of them.
UNDECIDED = ("opening", "forming", "reached", "closing")
# An offer takes claims in these states; a finishing one only seats of teams that are open.
SELLING = ("open", "finishing")


class Contradiction(Exception):
    """An event that does not fit the state before it; the text names both."""


@dataclass(slots=True)
class Offer:
    """`taken` are the units held, paying or sold; `subsidised` the merchant's seats; `waiting` how
    many wait for units, and `wait_place` the last place that was given."""

    config: OfferConfig
    total: int
    state: str = "open"
    taken: int = 0
    subsidised: int = 0
    waiting: int = 0
    wait_place: int = 0

    @property
    def available(self) -> int:
        return self.total - self.taken


@dataclass(slots=True)
class Claim:
    """One claim as the hot store knows it; `epoch` and `seq` are those of its birth.

    `unsaid` = 1: a rebuild made it paying because of an open attempt, and its event is to come.
    A seat has its `team_id`, `seat` = "1" while it is taken, and `taken_at_ms`; `newcomer` = "1":
    it uses the right of a new customer; `consent` = "1": it may be moved. `paid_at_ms` is a
    seat's only.
    """

    claim_id: str
    offer_id: str
    campaign_id: str
    buyer_id: str
    units: int
    price_id: str
    price_fen: int
    expires_at_ms: int
    epoch: int
    seq: int
    keep_until_ms: int
    state: str = "held"
    attempt_id: str = ""
    pay_expires_at_ms: int = 0
    payment_id: str = ""
    unsaid: int = 0
    team_id: str = ""
    consent: str = ""
    newcomer: str = ""
    seat: str = ""
    taken_at_ms: int = 0
    paid_at_ms: int = 0

    @property
    def is_live(self) -> bool:
        """Whether its units count as taken and against the limits."""
        return self.state in ("held", "paying", "paid")


@dataclass(frozen=True, slots=True)
class Answer:
    """The stored answer to a successful claim request."""

    body_hash: str
    claim_id: str
    price_id: str
    price_fen: int
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Wait:
    """An entry of a waiting list: what its claim will be; `place` counts from 1 per offer."""

    qty: int
    price_id: str
    key: str
    body_hash: str
    touch: str
    place: int


@dataclass(slots=True)
class Team:
    """One team or crowd; `held`, `paying`, `paid` and `subsidy` are seats, `step` is a crowd's
    highest latched one. `honoured` of the merchant's seats are outside of the budget. From its
    decision on nothing of it changes."""

    team_id: str
    kind: str
    state: str
    offer_id: str
    campaign_id: str
    version: int
    opener_id: str
    captain_id: str
    size: int
    deadline_ms: int
    keep_until_ms: int
    held: int = 0
    paying: int = 0
    paid: int = 0
    subsidy: int = 0
    step: int = 0
    honoured: int = 0

    @property
    def taken(self) -> int:
        """Seats that nobody else can have."""
        return self.held + self.paying + self.paid + self.subsidy

    @property
    def has_seat(self) -> bool:
        return self.kind == "crowd" or self.taken < self.size

    @property
    def is_undecided(self) -> bool:
        return self.state in UNDECIDED

    def is_open(self, now_ms: int) -> bool:
        """Whether it takes new seats; a crowd goes on after its threshold."""
        return self.state in ("forming", "reached") and now_ms < self.deadline_ms

    def count(self, state: str, by: int) -> None:
        """`by` seats more (or less) whose claim is in `state`: held, paying or paid."""
        setattr(self, state, getattr(self, state) + by)
        if min(self.held, self.paying, self.paid, self.subsidy) < 0:
            raise Contradiction(f"fewer than no seats in {self}")
        if self.kind == "team" and self.taken > self.size:
            raise Contradiction(f"{self.taken} seats taken of {self}")


def listed(config: OfferConfig, step: int) -> tuple[tuple[str, int, int], ...]:
    """The price list that holds once `step` of the crowd's ladder is latched (0: none)."""
    if step and config.team is not None and config.team.charging == "low":
        _, price_id, fen = config.team.steps[step - 1]
        return ((price_id, fen, 0),)
    return tuple(sorted(config.prices, key=lambda price: price[2]))
