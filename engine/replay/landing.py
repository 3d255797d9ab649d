"""Where a late payment lands, as its offer declares: `includes/landing.lua` as a pure function."""

from typing import Any, NamedTuple

from engine.inventory import OfferConfig
from engine.replay.shard import Claim, Shard, Team
from engine.replay.state import SELLING

NEAR_MAX = 8


class Landing(NamedTuple):
    """`how`: "" (a sale without teams), seat, other or new; `opens` is what team.opened says."""

    how: str
    team_id: str
    opens: dict[str, Any] | None = None


def land(shard: Shard, claim: Claim, *, is_live: bool, nonce: str, now_ms: int) -> Landing | str:
    """The landing, or why there is none. `is_live`: its units are still held for it."""
    offer = shard.offers[claim.offer_id]
    against = _against(shard, claim, is_live, now_ms)
    if against:
        return against
    if claim.newcomer == "1" and (claim.campaign_id, claim.buyer_id) in shard.newcomers:
        return "limit_reached"
    if not claim.team_id:
        return Landing("", "")
    rules = offer.config
    assert rules.team is not None
    own = shard.teams[claim.team_id]
    if _fits(shard, own, claim, now_ms):
        return Landing("seat", own.team_id)
    if own.kind == "crowd" or rules.late == "seat":
        return "no_seat"
    if claim.consent == "1" and (not rules.team.newcomers_only or claim.newcomer == "1"):
        for team in _near(shard, claim.offer_id, now_ms):
            if _fits(shard, team, claim, now_ms):
                return Landing("other", team.team_id)
    left = offer.available + (claim.units if is_live else 0)
    if (
        rules.late != "new"
        or offer.state != "open"
        or left < rules.team.size * rules.team.seat_qty
        or (claim.offer_id, claim.buyer_id) in shard.openers
    ):
        return "no_seat"
    team_id = f"tem-s{shard.shard}-e{shard.epoch}-{shard.seq + 1}-{nonce}"
    return Landing("new", team_id, opened(rules, claim.offer_id, claim.buyer_id, team_id, now_ms))


def opened(
    rules: OfferConfig, offer_id: str, buyer_id: str, team_id: str, now_ms: int
) -> dict[str, Any]:
    """What team.opened says of a new team, which never outlives its offer."""
    assert rules.team is not None
    return {
        "team_id": team_id,
        "offer_id": offer_id,
        "campaign_id": rules.campaign_id,
        "version": rules.version,
        "team_kind": "team",
        "opener_id": buyer_id,
        "size": rules.team.size,
        "deadline_ms": min(now_ms + rules.team.term_ms, rules.ends_at_ms),
    }


def _against(shard: Shard, claim: Claim, is_live: bool, now_ms: int) -> str:
    offer = shard.offers[claim.offer_id]
    rules = offer.config
    if rules.late == "refund":
        return "refund"
    if offer.state == "cancelled":
        return "cancelled"
    if offer.state not in SELLING or now_ms >= rules.ends_at_ms:
        return "closed"
    if is_live:
        return ""
    mine = shard.limits[claim.offer_id, claim.buyer_id] + claim.units
    everywhere = shard.limits[claim.campaign_id, claim.buyer_id] + claim.units
    if mine > rules.per_buyer_max or everywhere > rules.per_campaign_max:
        return "limit_reached"
    return "sold_out" if claim.units > offer.available or offer.waiting else ""


def _fits(shard: Shard, team: Team, claim: Claim, now_ms: int) -> bool:
    free = (team.team_id, claim.buyer_id) not in shard.seats
    return team.is_open(now_ms) and team.has_seat and free


def _near(shard: Shard, offer_id: str, now_ms: int) -> list[Team]:
    joinable = (
        team
        for team in shard.teams.values()
        if team.kind == "team" and team.offer_id == offer_id and team.state == "forming"
    )
    listed = (team for team in joinable if team.has_seat and team.deadline_ms >= now_ms)
    return sorted(listed, key=lambda team: (team.deadline_ms, team.team_id.encode()))[:NEAR_MAX]
