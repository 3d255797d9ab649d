"""What a load run is told, and what it tells back: one JSON file each way.

Pure data and arithmetic, without Locust, so that it can be read and tested in any process.
"""

from typing import Literal

import msgspec

Phase = Literal["warm-up", "spike", "plateau", "tail"]
PHASES: tuple[Phase, ...] = ("warm-up", "spike", "plateau", "tail")
# Where each phase ends, as a share of the run; the sale opens with the spike.
ENDS = {"warm-up": 0.2, "spike": 0.35, "plateau": 0.8, "tail": 1.0}
EARLY_SHARE = 0.3  # of the users are there from the beginning; the rest gather before the start
TAIL_SHARE = 0.25  # of the users stay to the end
SPAWN_PER_S_MAX = 200.0

# What an answer to a claim may be on such an evening; anything else is a failure.
EXPECTED = frozenset(
    {
        "held",
        "replay",
        "sold_out",
        "limit_reached",
        "price_changed",
        "not_open",
        "closed",
        "key_reused",
        "busy",
        "reopening",
    }
)
# And to a seat.
SEAT_EXPECTED = EXPECTED | {"team_full", "team_over", "in_team", "team_open"}


class Customer(msgspec.Struct, frozen=True):
    """A customer with a bearer token."""

    buyer: str
    token: str


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One run: against what, from when (wall clock, ms), for how long, by whom."""

    base_url: str
    hero_offer: str
    side_offer: str
    begins_at_ms: int
    seconds: int
    users_max: int
    customers: tuple[Customer, ...]
    history: str  # folder for the audit
    result: str  # file for `LoadResult`
    seed: int
    scenario: str = "flash_sale"
    captains: tuple[str, ...] = ()  # team_rush only: the buyers who open the teams
    # room_crowd only: who watches which room; each a `WatchPlan` for one client process
    viewers: int = 0
    room_topic: str = ""
    crowds: tuple[msgspec.Raw, ...] = ()

    def at_ms(self, share: float) -> int:
        """The wall clock at this share of the run."""
        return self.begins_at_ms + round(self.seconds * 1000 * share)

    @property
    def sale_starts_at_ms(self) -> int:
        return self.at_ms(ENDS["warm-up"])

    @property
    def sale_ends_at_ms(self) -> int:
        return self.at_ms(ENDS["plateau"])

    @property
    def ends_at_ms(self) -> int:
        return self.at_ms(1.0)

    def phase(self, at_ms: float) -> Phase:
        """Which phase an intended start belongs to."""
        for phase in PHASES:
            if at_ms < self.at_ms(ENDS[phase]):
                return phase
        return "tail"

    def users(self, at_ms: float) -> tuple[int, float] | None:
        """(users, spawned per s) wanted now; None when the run is over.

        Everybody gathers before the sale opens, so that the spike is made of requests and not
        of users that are still being started.
        """
        if at_ms >= self.ends_at_ms:
            return None
        if self.phase(at_ms) == "tail":
            return max(1, round(self.users_max * TAIL_SHARE)), SPAWN_PER_S_MAX
        gather_s = self.seconds * ENDS["warm-up"] / 2
        per_s = min(SPAWN_PER_S_MAX, max(1.0, self.users_max / gather_s))
        early = at_ms < self.begins_at_ms + gather_s * 500
        return (max(1, round(self.users_max * EARLY_SHARE)) if early else self.users_max), per_s


class LoadResult(msgspec.Struct, kw_only=True):
    """What the run saw. Times in ms from the intended start of each request."""

    requests: int
    failures: dict[str, int]  # "request: why" → count
    claim_answers: dict[str, int]
    claim_ms: dict[str, list[float]]  # by phase
    ordered_ms: list[float]  # from the answer `held` until the order was seen
    generator_cpu_s: float
    seconds: float
    room: msgspec.Raw = msgspec.Raw(b"null")  # a `RoomSeen` when there was a room


def percentile(values: list[float], share: float) -> float:
    """The smallest value with at least this share at or below it; 0.0 of nothing."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
