"""What a crowd process is told, and what it tells back: one JSON document each way."""

import msgspec


class Buyer(msgspec.Struct, frozen=True):
    """An invented customer of the sample chain."""

    phone: str
    habit: str  # prompt, lapser, closer, underpayer


class GroupOffer(msgspec.Struct, frozen=True, kw_only=True):
    """An offer that is bought in teams, and the prices that its page shows."""

    offer_id: str
    size: int  # 0: a crowd
    price_id: str
    captain_price_id: str = ""  # empty: as everybody


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """Customers who know each other: the first opens a team, the others come by its link."""

    story: str  # full, rush, lone, drifter, unpaid, late, leaver, short
    offer: GroupOffer
    phones: tuple[str, ...]
    after_ms: int  # from the start of the sale


class Joiner(msgspec.Struct, frozen=True, kw_only=True):
    """A customer of the crowd offer."""

    phone: str
    after_ms: int
    pays: bool


class GroupPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Who buys in teams, and who in the crowd."""

    crowd: GroupOffer
    parties: tuple[Party, ...]
    joiners: tuple[Joiner, ...]


class CrowdPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One client process: whom it plays, against what, until when (ms)."""

    name: str
    base_url: str
    buyers: tuple[Buyer, ...]
    hero_offer: str
    side_offer: str
    starts_at_ms: int
    ends_at_ms: int
    history: str
    seed: int
    groups: GroupPlan | None = None


class Tally(msgspec.Struct):
    """What a crowd has seen so far; written to its standard output twice a second."""

    signed_in: int = 0
    requests: int = 0
    held: int = 0
    sold_out: int = 0
    limited: int = 0
    retried: int = 0
    replayed: int = 0
    key_reused: int = 0
    paid: int = 0
    lapsed: int = 0
    late: int = 0
    refunds: int = 0
    opened: int = 0  # teams
    joined: int = 0  # seats by a link or the list of open teams
    full: int = 0  # seats refused: the team was full or over
    crowded: int = 0  # seats of the crowd
    stepped: int = 0  # the crowd's price had changed meanwhile
    late_seats: int = 0  # payments after their close that have a seat all the same
    lost: int = 0
    finished: int = 0
    asking: list[str] = []  # teams that hope for a seat of the merchant's
    errors: list[str] = []

    def add(self, other: "Tally") -> None:
        """Sum up; at most ten errors are kept."""
        for name in msgspec.structs.fields(Tally):
            if name.name == "errors":
                self.errors = (self.errors + other.errors)[:10]
            elif name.name == "asking":
                self.asking = self.asking + other.asking
            else:
                value = getattr(self, name.name) + getattr(other, name.name)
                setattr(self, name.name, value)
