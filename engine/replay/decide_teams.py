"""What only teams are commanded to do, as pure functions of the state: named as the scripts."""

from collections.abc import Sequence

from engine.events import CrowdClosing, SeatMoved, TeamClosing, TeamSubsidised
from engine.replay.draft import Draft, Outcome, say
from engine.replay.shard import Claim, Shard, Team
from engine.replay.teams import is_honoured


def team_close(
    shard: Shard, *, due: Sequence[str], early: Sequence[str] = (), now_ms: int
) -> Outcome:
    """closing looked_at team_id …; `due` are the teams that the script looks at, in its order:
    when each is looked at next is no event's business. `early` ones if they were cancelled."""
    draft = Draft(shard, now_ms)
    closing = []
    looked = list(due)
    for team_id in early:
        found = shard.teams.get(team_id)
        if found is None or not found.is_undecided or team_id in looked:
            continue
        if shard.offers[found.offer_id].state == "cancelled":
            looked.append(team_id)
    for team_id in looked:
        team = draft.shard.teams[team_id]
        if team.kind == "team" and team.paid + team.subsidy >= team.size:
            draft.end(team_id, "formed", "full")  # a rebuild had lost the end of its script
        elif team.state != "closing" and team.held == 0:
            draft.emit(
                CrowdClosing if team.kind == "crowd" else TeamClosing,
                team_id=team_id,
                offer_id=team.offer_id,
                paying=team.paying,
                paid=team.paid,
                deadline_ms=_moved_deadline(draft.shard, team, now_ms),
            )
        if team.state == "closing":
            closing.append(team_id)
    return draft.done("closing", len(looked), *closing)


def _moved_deadline(shard: Shard, team: Team, now_ms: int) -> int:
    """The deadline of a team that closes before its own, behind what payers were given; else 0."""
    if now_ms >= team.deadline_ms:
        return 0
    if not team.paying:
        return now_ms
    return min(now_ms + shard.offers[team.offer_id].config.pay_ms, team.deadline_ms)


def team_decide(shard: Shard, *, team_id: str, unpaid: Sequence[str], now_ms: int) -> Outcome:
    """formed | failed | honours missing | waiting paying | left seats | not_closing state |
    unknown."""
    found = shard.teams.get(team_id)
    if found is None:
        return say("unknown")
    if found.state != "closing":
        return say("not_closing", found.state)
    rules = shard.offers[found.offer_id].config.team
    assert rules is not None
    if found.paying and now_ms < found.deadline_ms + rules.closing_max_ms:
        return say("waiting", found.paying)
    draft = Draft(shard, now_ms)
    team, left, paying = draft.shard.teams[team_id], 0, found.paying
    for claim_id in unpaid if paying else ():
        claim = draft.shard.claims.get(claim_id)
        if claim is None or claim.team_id != team_id:
            continue
        if claim.state == "paying" and claim.seat == "1":
            draft.left(team_id, claim_id, "unpaid")
            left += 1
    if team.state != "closing":
        return draft.done(team.state)
    if paying:  # a rescue of the others comes before the end
        return draft.done("left", left)
    if team.kind == "crowd" and team.step:
        draft.end(team_id, "formed", "reached")
    elif is_honoured(shard, found):
        return say("honours", found.size - found.taken)
    else:
        is_cancelled = shard.offers[found.offer_id].state == "cancelled"
        draft.end(team_id, "failed", "cancelled" if is_cancelled else "deadline")
    return draft.done(team.state)


def team_move(shard: Shard, *, claim_id: str, team_id: str, now_ms: int) -> Outcome:
    """moved state | not_paid state | no_consent | no_seat | not_failing | unknown."""
    claim = shard.claims.get(claim_id)
    if claim is None:
        return say("unknown")
    if claim.state != "paid" or claim.seat != "1":
        return say("not_paid", claim.state)
    if claim.consent != "1":
        return say("no_consent")
    before, target = shard.teams[claim.team_id], shard.teams.get(team_id)
    if target is None:
        return say("unknown")
    if before.kind != "team" or before.state != "closing" or before.paying:
        return say("not_failing")
    if not _takes(shard, target, claim, now_ms):
        return say("no_seat")
    draft = Draft(shard, now_ms)
    draft.emit(
        SeatMoved,
        team_id=team_id,
        from_team_id=before.team_id,
        offer_id=claim.offer_id,
        claim_id=claim_id,
    )
    draft.left(before.team_id, claim_id, "moved")
    draft.filled(claim_id)
    return draft.done("moved", draft.shard.teams[team_id].state)


def _takes(shard: Shard, team: Team, claim: Claim, now_ms: int) -> bool:
    rules = shard.offers[claim.offer_id].config.team
    assert rules is not None
    open_now = team.is_open(now_ms) or (team.state == "closing" and team.paying == 0)
    return (
        team.team_id != claim.team_id
        and team.offer_id == claim.offer_id
        and open_now
        and team.has_seat
        and not (rules.newcomers_only and claim.newcomer != "1")
        and shard.offers[claim.offer_id].state != "cancelled"
        and (team.team_id, claim.buyer_id) not in shard.seats
    )


def team_subsidise(
    shard: Shard, *, team_id: str, command_id: str, seats: int, honour: bool = False, now_ms: int
) -> Outcome:
    """subsidised state | over_budget left | no_seat left | not_open state | done | unknown."""
    if command_id in shard.did:
        return say("done")
    team = shard.teams.get(team_id)
    if team is None or team.kind != "team":
        return say("unknown")
    fits = team.state == "closing" or (team.state == "forming" and not honour)
    if not fits or (honour and (team.paying or not is_honoured(shard, team))):
        return say("not_open", team.state)
    offer = shard.offers[team.offer_id]
    rules = offer.config.team
    assert rules is not None
    if seats > team.size - team.taken:
        return say("no_seat", team.size - team.taken)
    if seats > rules.subsidy_max - offer.subsidised and not honour:
        return say("over_budget", rules.subsidy_max - offer.subsidised)
    draft = Draft(shard, now_ms)
    draft.emit(
        TeamSubsidised,
        team_id=team_id,
        offer_id=team.offer_id,
        command_id=command_id,
        seats=seats,
        honour="1" if honour else "",
    )
    draft.form_if_full(team_id)
    return draft.done("subsidised", draft.shard.teams[team_id].state)
