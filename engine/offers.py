"""What the hot store is told of an offer, and PostgreSQL keeps for a rebuild.

`OfferConfig` becomes the fields of the offer's hash and comes back from them; group buys carry
their `TeamRules` beside it. Prices are in fen, times in ms, ids opaque.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

# Who may buy: everybody, members, customers with a guide, or customers without a paid order. The
# first letter of each but `all` is the trait in the token that lets a buyer in.
Audience = Literal["all", "members", "bound", "new"]


class TeamRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a group buy has beside its offer.

    `size` seats (2 or 3; 0: a crowd) of `seat_qty` units each (0: as ordered); a team lasts
    `term_ms` from its opening, at most to the offer's end; at `closing_max_ms` after a deadline
    unpaid seats count as such. `captain_price` is (price_id, fen) for whoever opens a team.
    A crowd has its team's id `crowd_id`, the `steps` of its ladder (paid seats, price_id, fen),
    rising, and `charging`: `low` (the step in force) or `regular` (the difference comes back).
    `subsidy_max` seats in all may be filled by the merchant.
    """

    size: int
    seat_qty: int
    term_ms: int
    closing_max_ms: int
    newcomers_only: bool = False
    captain_price: tuple[str, int] | None = None
    crowd_id: str = ""
    steps: tuple[tuple[int, str, int], ...] = ()
    charging: str = ""
    subsidy_max: int = 0

    def flat(self) -> dict[str, str]:
        """The offer hash's fields."""
        fields = {name: str(value) for name, value in msgspec.structs.asdict(self).items()}
        fields["newcomers_only"] = "1" if self.newcomers_only else ""
        price = self.captain_price
        fields["captain_price"] = f"{price[0]}|{price[1]}" if price else ""
        fields["steps"] = " ".join(
            f"{least}|{price_id}|{fen}" for least, price_id, fen in self.steps
        )
        return fields


class OfferConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What `offer_open` tells the hot store; also kept in PostgreSQL for a rebuild.

    `prices` are (price_id, unit price in fen, valid from_ms), the first valid from 0.
    `late` is the landing of a late payment: `refund`, or `retake` for sales without teams, or for
    a seat how far it may go: `seat` (its own), `other` (also another team), `new` (also its own
    new one). `on_cancel` says what becomes of open teams should the campaign be cancelled:
    `finish`, `refund` or `honour`. The `audience` `new` also takes the buyer's right of a new
    customer: one such claim in a campaign.
    """

    campaign_id: str
    version: int
    kind: str
    starts_at_ms: int
    ends_at_ms: int
    hold_ms: int
    pay_ms: int
    per_order_max: int
    per_buyer_max: int
    per_campaign_max: int
    keep_until_ms: int
    late: str
    prices: tuple[tuple[str, int, int], ...]
    team: TeamRules | None = None
    on_cancel: str = "finish"
    audience: Audience = "all"

    def flat(self) -> dict[str, str]:
        """The hash's fields. Prices as `price_id|fen|from_ms …`, newest first: a sorted set of
        them cost the claim script 8 to 20 µs more than reading one more field."""
        fields = {
            name: str(value)
            for name, value in msgspec.structs.asdict(self).items()
            if name != "team"
        }
        if self.team is not None:
            fields |= self.team.flat()
        listed = sorted(self.prices, key=lambda price: price[2], reverse=True)
        fields["prices"] = " ".join(f"{price_id}|{fen}|{since}" for price_id, fen, since in listed)
        return fields

    def json(self) -> str:
        """What the script decodes: all strings, so that JSON cannot round a number."""
        return msgspec.json.encode(self.flat()).decode()


def config_of(fields: Mapping[str, str], step: int = 0) -> OfferConfig:
    """The config that `flat` wrote. A crowd's price list is switched by its steps: with `step`
    latched, what is read is the list at the beginning."""
    own = [name for name in OfferConfig.__struct_fields__ if name != "team"]
    config: dict[str, Any] = {name: fields[name] for name in own if name in fields}
    config["prices"] = [price.split("|") for price in reversed(fields["prices"].split())]
    if "size" in fields:
        team: dict[str, Any] = {name: fields[name] for name in TeamRules.__struct_fields__}
        team["newcomers_only"] = fields["newcomers_only"] == "1"
        team["captain_price"] = (
            fields["captain_price"].split("|") if fields["captain_price"] else None
        )
        team["steps"] = [one.split("|") for one in fields["steps"].split()]
        config["team"] = team
        if step and fields["charging"] == "low":
            config["prices"] = [[*team["steps"][0][1:], "0"]]
    return msgspec.convert(config, OfferConfig, strict=False)
