"""Waiting on the wire; what is asked for is asked as for a claim."""

import msgspec

from campaigns.claim.schemas import ClaimOut


class WaitOut(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`waiting`: at `place`, `before` others are ahead. `served`: the claim that the wish became.

    A claim held from the list is like any other: it has this deadline, and this key.
    """

    state: str
    offer_id: str
    qty: int
    price_id: str
    place: int | None = None
    before: int | None = None
    claim: ClaimOut | None = None


class LeftOut(msgspec.Struct, frozen=True):
    """`left`: whether you waited until now. `units` of the offer are held for you or yours: if a
    claim was held for you before you left, let it go like any other."""

    left: bool
    units: int
