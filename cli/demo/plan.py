"""What a crowd process is told, and what it tells back: one JSON document each way."""

import msgspec


class Buyer(msgspec.Struct, frozen=True):
    """An invented customer of the sample chain."""

    phone: str
    habit: str  # prompt, lapser, closer, underpayer


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
    lost: int = 0
    finished: int = 0
    errors: list[str] = []

    def add(self, other: "Tally") -> None:
        """Sum up; at most ten errors are kept."""
        for name in msgspec.structs.fields(Tally):
            if name.name == "errors":
                self.errors = (self.errors + other.errors)[:10]
            else:
                value = getattr(self, name.name) + getattr(other, name.name)
                setattr(self, name.name, value)
