"""The seat command as a pure function of the state, in the manner of `decide`."""

from dataclasses import dataclass

from engine.events import TeamOpened
from engine.replay.asking import (
    ClaimRequest,
    hold,
    limit_reached,
    price_now,
    refused_before,
    takes_right,
)
from engine.replay.draft import Draft, Outcome, say
from engine.replay.landing import opened
from engine.replay.shard import Shard, Team


@dataclass(frozen=True, kw_only=True, slots=True)
class SeatRequest(ClaimRequest):
    """What a seat asks for, as `Teams.seat` takes it."""

    team_id: str = ""
    consent: bool = False


def seat(shard: Shard, ask: SeatRequest, *, nonce: str, now_ms: int, lag_max_ms: int) -> Outcome:
    """held, or as `claim` | no_team | unknown_team | in_team | team_over | team_full | team_open |
    newcomers_only."""
    before = refused_before(shard, ask, now_ms, lag_max_ms)
    if before is not None:
        return before
    config = shard.offers[ask.offer_id].config
    rules = config.team
    if config.kind not in ("team", "crowd") or rules is None:
        return say("no_team")
    team_id = rules.crowd_id if config.kind == "crowd" and not ask.team_id else ask.team_id
    if not team_id and shard.offers[ask.offer_id].state == "finishing":
        return say("closed")
    team = shard.teams.get(team_id) if team_id else None
    price = price_now(shard, ask.offer_id, now_ms)
    if not team_id and rules.captain_price is not None:
        price = rules.captain_price
    refused = (
        (_over(shard, ask, team, now_ms) if team_id else None)
        or (say("price_changed", *price) if price[0] != ask.price_id else None)
        or _limits(shard, ask, opens=not team_id)
        or _no_room(shard, ask, team)
    )
    if refused is not None:
        return refused
    draft = Draft(shard, now_ms)
    if team is None:
        team_id = f"tem-s{shard.shard}-e{shard.epoch}-{shard.seq + 1}-{nonce}"
        opens = opened(config, ask.offer_id, ask.buyer_id, team_id, now_ms)
        draft.emit(TeamOpened, **opens)
    deadline_ms = draft.shard.teams[team_id].deadline_ms
    return hold(
        draft,
        ask,
        price,
        min(now_ms + config.hold_ms, deadline_ms),
        nonce,
        team_id=team_id,
        consent="1" if ask.consent else "",
        newcomer="1" if takes_right(config, joins=team is not None) else "",
    )


def _over(shard: Shard, ask: SeatRequest, team: Team | None, now_ms: int) -> Outcome | None:
    if team is None or team.offer_id != ask.offer_id:
        return say("unknown_team")
    mine = shard.seats.get((team.team_id, ask.buyer_id))
    if mine is not None:
        return say("in_team", mine)
    if not team.is_open(now_ms):
        says = not team.is_undecided or now_ms < team.deadline_ms
        return say("team_over", team.state if says else "closing")
    return None


def _limits(shard: Shard, ask: SeatRequest, *, opens: bool) -> Outcome | None:
    config = shard.offers[ask.offer_id].config
    assert config.team is not None
    if config.team.seat_qty and ask.qty != config.team.seat_qty:
        return say("limit_reached", "seat", config.team.seat_qty)
    if config.team.newcomers_only and not opens and "n" not in ask.traits:
        return say("newcomers_only")
    return limit_reached(shard, ask, joins=not opens)


def _no_room(shard: Shard, ask: SeatRequest, team: Team | None) -> Outcome | None:
    offer = shard.offers[ask.offer_id]
    rules = offer.config.team
    assert rules is not None
    if team is None:
        other = shard.openers.get((ask.offer_id, ask.buyer_id))
        if other is not None:
            return say("team_open", other)
        if offer.available < rules.size * rules.seat_qty:
            return say("sold_out")
    elif not team.has_seat:
        return say("team_full")
    return say("sold_out") if ask.qty > offer.available else None
