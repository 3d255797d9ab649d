"""What each kind of offer must say and must not: the rules of group buys, all broken ones at once.

Pure, as rules.py, which calls it; the order of prices between offers is in price_guard.py.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from campaigns.campaign.schemas import OfferIn
from campaigns.problems import FieldError

# Fields that only some kinds have.
_ONLY: dict[str, tuple[str, ...]] = {
    "ready_after_days": ("regular", "team", "crowd"),
    "seat_qty": ("team", "crowd"),
    "closing_max_ms": ("team", "crowd"),
    "size": ("team",),
    "term_ms": ("team",),
    "newcomers_only": ("team",),
    "captain_price_fen": ("team",),
    "subsidy_max": ("team",),
    "steps": ("crowd",),
    "charging": ("crowd",),
    "regular_price_fen": ("crowd",),
    "upgrade_guarantee": ("crowd",),
    "duration_ms": ("flash",),
}
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(OfferIn)}
_LATE = {
    "flash": ("refund", "retake"),
    "regular": ("refund", "retake"),
    "team": ("refund", "seat", "other", "new"),
    "crowd": ("refund", "seat"),
}


class TeamTerms(NamedTuple):
    """How long teams and their closing may last, in ms."""

    term_min_ms: int
    term_max_ms: int
    closing_min_ms: int
    closing_max_ms: int


def prices_of(offer: OfferIn) -> Iterator[tuple[str, int]]:
    """All prices of an offer, each with its field."""
    for index, price in enumerate(offer.prices):
        yield f"prices[{index}].price_fen", price.price_fen
    for index, step in enumerate(offer.steps):
        yield f"steps[{index}].price_fen", step.price_fen
    for field in ("captain_price_fen", "regular_price_fen"):
        price_fen = getattr(offer, field)
        if price_fen is not None:
            yield field, price_fen


def check_kind(at: str, offer: OfferIn, terms: TeamTerms) -> Iterator[FieldError]:
    """Every rule of its kind that the offer at `at` breaks."""
    yield from _foreign_fields(at, offer)
    if offer.late is not None and offer.late not in _LATE[offer.kind]:
        allowed = ", ".join(_LATE[offer.kind])
        yield FieldError(f"{at}.late", f"A late payment of a {offer.kind} offer lands: {allowed}.")
    if offer.kind != "flash":
        for field, what in (("coupons", "take no coupon"), ("points", "earn no points")):
            if getattr(offer, field):
                yield FieldError(f"{at}.{field}", f"Group-buy orders {what}; switch it off.")
        if offer.launch == "host":
            yield FieldError(f"{at}.launch", "Only a flash is launched by a host.")
    if offer.kind == "crowd":
        yield from _crowd(at, offer)
    elif not offer.prices:
        yield FieldError(f"{at}.prices", "Give a price.")
    if offer.kind == "team":
        yield from _team(at, offer, terms)
    if offer.kind in ("team", "crowd"):
        yield from _seats(at, offer, terms)


def check_guarantees(offers: Sequence[OfferIn]) -> Iterator[FieldError]:
    """At most one crowd of a SKU promises its difference to the SKU's other orders: an order gets
    one difference, and it must be clear whose."""
    promised: dict[str, int] = {}
    for index, offer in enumerate(offers):
        if offer.upgrade_guarantee and offer.kind == "crowd":
            first = promised.setdefault(offer.sku_id, index)
            if first != index:
                yield FieldError(
                    f"offers[{index}].upgrade_guarantee",
                    f"offers[{first}] already promises the difference for {offer.sku_id}; "
                    "only one crowd of a SKU may.",
                )


def _foreign_fields(at: str, offer: OfferIn) -> Iterator[FieldError]:
    for field, kinds in _ONLY.items():
        given = getattr(offer, field)
        if offer.kind not in kinds and given not in (_DEFAULTS[field], []):
            having = " or ".join(kinds)
            yield FieldError(f"{at}.{field}", f"Only a {having} offer has it.")


def _team(at: str, offer: OfferIn, terms: TeamTerms) -> Iterator[FieldError]:
    if offer.size is None:
        yield FieldError(f"{at}.size", "Say whether a team has 2 or 3 seats.")
    elif offer.total < offer.size * (offer.seat_qty or 1):
        yield FieldError(f"{at}.total", "It is too little stock for one team.")
    if offer.term_ms is None:
        yield FieldError(f"{at}.term_ms", "Say how long a team has to fill up.")
    elif not terms.term_min_ms <= offer.term_ms <= terms.term_max_ms:
        between = f"{terms.term_min_ms} and {terms.term_max_ms} ms"
        yield FieldError(f"{at}.term_ms", f"It must be between {between}.")
    captain = offer.captain_price_fen
    if captain is not None and any(captain >= price.price_fen for price in offer.prices):
        yield FieldError(
            f"{at}.captain_price_fen", "The captain's price is a reward: below the members' price."
        )


def _crowd(at: str, offer: OfferIn) -> Iterator[FieldError]:
    if offer.prices:
        yield FieldError(f"{at}.prices", "A crowd's prices are its steps.")
    if not offer.steps:
        yield FieldError(f"{at}.steps", "Say from how many paid seats which price holds.")
        return
    for index, (before, step) in enumerate(pairwise(offer.steps), 1):
        if step.seats <= before.seats:
            yield FieldError(f"{at}.steps[{index}].seats", "Each step needs more seats.")
        if step.price_fen >= before.price_fen:
            yield FieldError(f"{at}.steps[{index}].price_fen", "Each step's price is lower.")
    if offer.steps[0].seats < 2:
        yield FieldError(f"{at}.steps[0].seats", "One buyer is no crowd.")
    if offer.steps[-1].seats * (offer.seat_qty or 1) > offer.total:
        last = len(offer.steps) - 1
        yield FieldError(f"{at}.steps[{last}].seats", "The stock is too little to get there.")
    if offer.charging == "pay_low_refund_if_failed":
        if offer.regular_price_fen is not None:
            yield FieldError(
                f"{at}.regular_price_fen", "Buyers pay the step in force; there is no other price."
            )
    elif offer.regular_price_fen is None:
        yield FieldError(f"{at}.regular_price_fen", "Say what is paid until the crowd is formed.")


def _seats(at: str, offer: OfferIn, terms: TeamTerms) -> Iterator[FieldError]:
    if offer.seat_qty is not None and offer.seat_qty > offer.per_order_max:
        yield FieldError(f"{at}.seat_qty", "A seat is more than one order may have.")
    closing = offer.closing_max_ms
    if closing is not None and not terms.closing_min_ms <= closing <= terms.closing_max_ms:
        between = f"{terms.closing_min_ms} and {terms.closing_max_ms} ms"
        yield FieldError(f"{at}.closing_max_ms", f"It must be between {between}.")
